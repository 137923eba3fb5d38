"""The exercises on what a decoder learns from: the target shifted by one, and a loss that skips the filler."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import DTYPE, GRADIENTS, SIDE_EFFECTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import seq2seq
from ml_course.text import pad

# teacher_forcing


def shifted(sentences, bos, eos, filler):
    """The reference under the homework's signature."""
    padded = pad([[bos, *sentence, eos] for sentence in sentences], filler)
    reads, says, real = seq2seq.shift(padded.ids, padded.mask)
    return reads.masked_fill(~real, filler), says, real


teacher_forcing = Exercise(
    "seq2seq.teacher_forcing",
    reference=shifted,
    facets={"one length": 1, "padding": 1, DTYPE: 1, SIDE_EFFECTS: 1},
    difficulty=1,
    minutes=15,
    results=("reads", "says", "mask"),
)


@teacher_forcing.cases
def teacher_forcing_cases(rng):
    def sentences(*lengths):
        return [rng.integers(4, 30, size=length).tolist() for length in lengths]

    length = int(rng.integers(3, 7))
    yield Case("one sentence", sentences=sentences(length), bos=2, eos=3, filler=0)
    yield Case("two of one length", sentences=sentences(length, length), bos=2, eos=3, filler=0)
    yield Case("other special tokens", sentences=sentences(4, 4, 4), bos=31, eos=30, filler=1)
    yield Case("one token", sentences=sentences(1), bos=2, eos=3, filler=0)
    yield Case("different lengths", "padding", sentences=sentences(length, 2, length + 2, 1), bos=2, eos=3, filler=0)
    yield Case("an empty sentence among others", "padding", sentences=sentences(3, 0, length), bos=2, eos=3, filler=0)
    yield Case("another filler", "padding", sentences=sentences(1, length, 2), bos=2, eos=3, filler=31)
    yield Case("the filler is a word, too", "padding", sentences=[[5, 7], [7, 5, 7, 6]], bos=2, eos=3, filler=7)
    yield Case("only empty sentences", "padding", sentences=[[], []], bos=2, eos=3, filler=0)


@teacher_forcing.probe
def ask_teacher_forcing(answer, sentences, bos, eos, filler):
    import torch

    reads, says, mask = answer(sentences, bos, eos, filler)
    tensors = (reads, says, mask)
    if all(type(part) is torch.Tensor and part.shape == says.shape for part in tensors) and mask.dtype == torch.bool:
        # A cut through <bos> … <eos> leaves the end token where nothing is said any more: no harm, and not asked.
        reads = torch.where(~mask & (reads == eos), torch.full_like(reads, filler), reads)
    return {"reads": reads, "says": says, "mask": mask}


@teacher_forcing.alternative
def row_by_row(sentences, bos, eos, filler):
    time = max(map(len, sentences)) + 1
    reads, says = torch.full((len(sentences), time), filler), torch.full((len(sentences), time), filler)
    real = torch.zeros(len(sentences), time, dtype=torch.bool)
    for n, sentence in enumerate(sentences):
        reads[n, : len(sentence) + 1] = torch.tensor([bos, *sentence])
        says[n, : len(sentence) + 1] = torch.tensor([*sentence, eos])
        real[n, : len(sentence) + 1] = True
    return reads, says, real


@teacher_forcing.alternative
def by_lists(sentences, bos, eos, filler):
    time = 1 + max(len(sentence) for sentence in sentences)
    rest = [time - 1 - len(sentence) for sentence in sentences]
    reads = [[bos, *sentence] + [filler] * more for sentence, more in zip(sentences, rest, strict=True)]
    says = [[*sentence, eos] + [filler] * more for sentence, more in zip(sentences, rest, strict=True)]
    real = [[True] * (time - more) + [False] * more for more in rest]
    return torch.tensor(reads), torch.tensor(says), torch.tensor(real)


@teacher_forcing.alternative
def one_sequence_cut_twice(sentences, bos, eos, filler):
    time = 2 + max(map(len, sentences))
    whole = torch.tensor([[bos, *sentence, eos] + [filler] * (time - 2 - len(sentence)) for sentence in sentences])
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    return whole[:, :-1], whole[:, 1:], torch.arange(time - 1) <= lengths[:, None]


def right_forcing(sentences, bos, eos, filler):
    time = max(map(len, sentences)) + 1
    reads, says, real = [], [], []
    for sentence in sentences:
        more = [filler] * (time - len(sentence) - 1)
        reads.append([bos, *sentence, *more])
        says.append([*sentence, eos, *more])
        real.append([True] * (time - len(more)) + [False] * len(more))
    return torch.tensor(reads), torch.tensor(says), torch.tensor(real)


teacher_forcing.slip(
    "no shift",
    right_forcing,
    "says.append([*sentence, eos, *more])",
    "says.append([bos, *sentence, *more])",
    cause="The decoder shall say what it has just read: it learns to copy its input, and says nothing on its own.",
    hint="When the decoder has read `<bos>` and nothing else, which token should it say?",
)
teacher_forcing.slip(
    "the wrong one is shifted",
    right_forcing,
    "reads.append([bos, *sentence, *more])\n        says.append([*sentence, eos, *more])",
    "reads.append([*sentence, eos, *more])\n        says.append([bos, *sentence, *more])",
    cause="Input and target are swapped: the decoder reads a token and shall say the one before it.",
    hint="What does the decoder know when it says the first word? And what follows `<bos>`?",
)
teacher_forcing.slip(
    "end token forgotten",
    right_forcing,
    "says.append([*sentence, eos, *more])",
    "says.append([*sentence, filler, *more])",
    cause="The target lacks the end token, so the decoder never learns to stop.",
    hint="What should the decoder say after the last word?",
)
teacher_forcing.slip(
    "end token not real",
    right_forcing,
    "[True] * (time - len(more)) + [False] * len(more)",
    "[True] * len(sentence) + [False] * (time - len(sentence))",
    cause="The mask leaves out the end token: nothing is learned from it, and the decoder never stops.",
    hint="How many tokens does the decoder have to say for a sentence of three words?",
)
teacher_forcing.slip(
    "end token behind the padding",
    right_forcing,
    "says.append([*sentence, eos, *more])",
    "says.append([*sentence, *more, eos])",
    cause="The end token stands at the end of the row, behind the filler; it belongs right after the last word.",
    hint="Write out what a short sentence of a long batch should say.",
)
teacher_forcing.slip(
    "the filler is real",
    right_forcing,
    "[False] * len(more)",
    "[True] * len(more)",
    cause="The mask is True at the filler as well, so the decoder would learn to say it.",
    hint="How many True should a row have whose sentence has two words?",
)
teacher_forcing.slip(
    "mask found by the filler's number",
    right_forcing,
    "return torch.tensor(reads), torch.tensor(says), torch.tensor(real)",
    "return torch.tensor(reads), torch.tensor(says), torch.tensor(says) != filler",
    cause="The mask asks which tokens differ from the filler; but a real token may have the same number.",
    hint="Make the mask from the lengths, not from the tokens.",
)
teacher_forcing.slip(
    "mask of numbers",
    right_forcing,
    "torch.tensor(real)",
    "torch.tensor(real).long()",
    cause="The mask holds 0 and 1 instead of False and True.",
    hint="A list of True and False makes a tensor of the right type.",
)
teacher_forcing.slip(
    "begin token forgotten",
    right_forcing,
    "reads.append([bos, *sentence, *more])",
    "reads.append([*sentence, filler, *more])",
    cause="The decoder does not read the begin token: at every place it reads the very token that it shall say.",
    hint="What has the decoder read when it says the first word?",
)


@teacher_forcing.mistake(hint="How many places does a sentence of three words need: three words to say, and the end?")
def neither_begin_nor_end(sentences, bos, eos, filler):
    """The sentence alone is cut twice: nothing tells the decoder to begin, and it never learns to end."""
    time = max(map(len, sentences))
    rows = [[*sentence, *[filler] * (time - len(sentence))] for sentence in sentences]
    real = [[place < len(sentence) for place in range(time)] for sentence in sentences]
    reads, says = torch.tensor([row[:-1] for row in rows]), torch.tensor([row[1:] for row in rows])
    return reads, says, torch.tensor([row[1:] for row in real])


@teacher_forcing.mistake(hint="append and insert change the list that you were given. Which line makes a new one?")
def written_into_the_sentences(sentences, bos, eos, filler):
    """The begin token, the end token and the filler are put into the lists that were given: the caller finds them."""
    lengths = [len(sentence) for sentence in sentences]
    for sentence in sentences:
        sentence.insert(0, bos)
        sentence.append(eos)
        sentence.extend([filler] * (max(lengths) + 2 - len(sentence)))
    whole = torch.tensor(sentences)
    return whole[:, :-1], whole[:, 1:], torch.arange(max(lengths) + 1) <= torch.tensor(lengths)[:, None]


# masked_cross_entropy

masked_cross_entropy = Exercise(
    "seq2seq.masked_cross_entropy",
    reference=lambda logits, target, mask: seq2seq.masked_cross_entropy(logits, target, mask),
    facets={"values": 2, "padding": 1, "stability": 1, GRADIENTS: 1, DTYPE: 1},
    difficulty=2,
    minutes=20,
    forbidden=("cross_entropy", "cross_entropy_loss", "nll_loss", "nll_loss_nd", "CrossEntropyLoss", "NLLLoss"),
)


@masked_cross_entropy.cases
def masked_cross_entropy_cases(rng):
    def inputs(batch=3, time=4, vocab=6, lengths=None, scale=1.0, dtype=np.float64):
        lengths = [time] * batch if lengths is None else lengths
        return dict(
            logits=(scale * rng.normal(size=(batch, time, vocab))).astype(dtype),
            target=rng.integers(0, vocab, size=(batch, time)),
            mask=np.arange(time) < np.array(lengths)[:, None],
        )

    batch, time, vocab = (int(n) for n in rng.integers(2, 6, size=3))
    yield Case("all tokens are real", **inputs(batch, time, vocab))
    yield Case("all axes of one size", **inputs(4, 4, 4))
    yield Case("one sentence of one token", **inputs(1, 1, 5))
    yield Case("float32", **inputs(dtype=np.float32))
    yield Case("not contiguous", **(inputs(3, 4, 5) | {"logits": rng.normal(size=(5, 4, 3)).T}))
    yield Case("different lengths", "padding", **inputs(4, 5, 6, lengths=[5, 2, 1, 4]))
    loud = inputs(3, 5, 6, lengths=[1, 5, 2])
    loud["logits"][~loud["mask"]] *= 20
    yield Case("large logits at the filler", "padding", **loud)
    yield Case("a sentence of filler alone", "padding", **inputs(3, 4, 5, lengths=[4, 0, 2]))
    gaps = inputs(3, 5, 6)
    gaps["mask"] = rng.random((3, 5)) < 0.6
    gaps["mask"][:, 1], gaps["mask"][0, 0] = True, False
    yield Case("filler between the tokens", "padding", **gaps)
    far = inputs(2, 3, 5, scale=2000.0)
    yield Case("logits of thousands", "stability", **far)
    far = inputs(2, 3, 5)
    far["logits"] -= 1500
    yield Case("all logits below −1000", "stability", **far)


@masked_cross_entropy.probe
def ask_masked_cross_entropy(answer, logits, target, mask):
    import torch

    def call(logits):
        return {"loss": answer(logits, torch.tensor(target), torch.tensor(mask))}

    return with_gradients(call, logits=logits)


@masked_cross_entropy.alternative
def of_the_real_ones(logits, target, mask):
    chosen = torch.log_softmax(logits[mask], dim=-1)
    return -chosen[torch.arange(len(chosen)), target[mask]].mean()


@masked_cross_entropy.alternative
def log_sum_minus_score(logits, target, mask):
    right = torch.gather(logits, 2, target.unsqueeze(2)).squeeze(2)
    surprise = torch.logsumexp(logits, dim=2) - right
    return torch.where(mask, surprise, torch.zeros_like(surprise)).sum() / mask.sum()


@masked_cross_entropy.alternative
def token_by_token(logits, target, mask):
    total, count = logits.new_zeros(()), 0
    for n, t in mask.nonzero().tolist():
        scores = logits[n, t] - logits[n, t].max()
        total = total + scores.exp().sum().log() - scores[target[n, t]]
        count += 1
    return total / count


def right_loss(logits, target, mask):
    log_chance = F.log_softmax(logits, dim=-1)
    surprise = -log_chance.gather(-1, target[..., None]).squeeze(-1)
    return (surprise * mask).sum() / mask.sum()


masked_cross_entropy.slip(
    "filler counted",
    right_loss,
    "(surprise * mask).sum() / mask.sum()",
    "surprise.mean()",
    cause="The filler's surprise is averaged in: the loss depends on tokens that mean nothing.",
    hint="Which of your arguments is never used?",
)
masked_cross_entropy.slip(
    "divided by all places",
    right_loss,
    "(surprise * mask).sum() / mask.sum()",
    "(surprise * mask).mean()",
    cause="The sum over the real tokens is divided by the number of all places, so filler makes the loss smaller.",
    hint="A batch gets twice as much padding. Should its loss change?",
)
masked_cross_entropy.slip(
    "not divided",
    right_loss,
    "(surprise * mask).sum() / mask.sum()",
    "(surprise * mask).sum()",
    cause="The loss is the sum, so a batch with more tokens has a larger loss and larger steps.",
    hint="Asked for is the mean over the real tokens.",
)
masked_cross_entropy.slip(
    "mean of the sentences' means",
    right_loss,
    "(surprise * mask).sum() / mask.sum()",
    "((surprise * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()",
    cause="Each sentence is averaged by itself first, so a token of a short sentence weighs more than one of a long.",
    hint="Every real token should have the same weight. How many are there in the whole batch?",
)
masked_cross_entropy.slip(
    "mean of the sentences' means, one of them of nothing",
    right_loss,
    "(surprise * mask).sum() / mask.sum()",
    "((surprise * mask).sum(1) / mask.sum(1)).mean()",
    cause="Each sentence is averaged by itself first; one without a real token even gives 0/0.",
    hint="Every real token should have the same weight. How many are there in the whole batch?",
)
masked_cross_entropy.slip(
    "mask inverted",
    right_loss,
    "(surprise * mask).sum() / mask.sum()",
    "(surprise * ~mask).sum() / (~mask).sum().clamp(min=1)",
    cause="The loss is that of the filler; here True means a real token.",
    hint="What is the loss of a batch in which every token is real?",
)
masked_cross_entropy.slip(
    "softmax over the time",
    right_loss,
    "F.log_softmax(logits, dim=-1)",
    "F.log_softmax(logits, dim=1)",
    cause="The softmax runs over the times, not over the tokens of the vocabulary.",
    hint="At one time, the chances of which things sum to one?",
)
masked_cross_entropy.slip(
    "logarithm after the softmax",
    right_loss,
    "F.log_softmax(logits, dim=-1)",
    "torch.log(torch.softmax(logits, dim=-1))",
    cause="A chance that is too small for the computer becomes 0, and its logarithm −∞.",
    hint="Try logits of 0 and 2000. Is there a function that takes the logarithm before it can vanish?",
)
masked_cross_entropy.slip(
    "softmax by hand",
    right_loss,
    "F.log_softmax(logits, dim=-1)",
    "torch.log(logits.exp() / logits.exp().sum(-1, keepdim=True))",
    cause="The exponentials of large logits are infinite, those of very small ones all 0: their quotient is NaN.",
    hint="Try logits of 2000 and of −2000. Is there a function that takes softmax and logarithm at once?",
)
masked_cross_entropy.slip(
    "float64 whatever the logits are",
    right_loss,
    "(surprise * mask).sum() / mask.sum()",
    "(surprise * mask.double()).sum() / mask.sum()",
    cause="The loss is float64, also where the logits are float32: float64 makes float64 of all that it meets.",
    hint="Which line of yours names a type, or makes a tensor without saying of which?",
)
masked_cross_entropy.slip(
    "mask on the logits",
    right_loss,
    "(surprise * mask).sum() / mask.sum()",
    "(-F.log_softmax(logits * mask[..., None], dim=-1).gather(-1, target[..., None]).squeeze(-1)).mean()",
    cause="The filler's logits are set to zero, but its surprise, then log of the vocabulary, is still averaged in.",
    hint="What is the surprise of a token whose logits are all zero?",
)
masked_cross_entropy.slip(
    "gradient cut off",
    right_loss,
    "(surprise * mask).sum() / mask.sum()",
    "((surprise * mask).sum() / mask.sum()).detach()",
    cause="The loss is cut out of the graph, so nothing can be learned from it.",
    hint="detach, .item() and torch.tensor(…) forget where a number came from.",
)
