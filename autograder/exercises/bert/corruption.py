"""The exercises on the masked language model: what is hidden or changed, and the loss at what was chosen."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import DTYPE, GRADIENTS, SIDE_EFFECTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import bert

# corrupt_tokens


def corrupted_by_the_library(tokens, maskable, choice, fate, others, mask):
    """The reference under the homework's signature."""
    result = bert.change(tokens, maskable & (choice < 0.15), fate, others, mask=mask)
    return result.tokens, result.labels


corrupt_tokens = Exercise(
    "bert.corrupt_tokens",
    reference=corrupted_by_the_library,
    facets={"which are chosen": 1, "what becomes of them": 2, "labels": 0.5, DTYPE: 0.5, SIDE_EFFECTS: 0.5},
    difficulty=2,
    minutes=20,
    results=("corrupted", "labels"),
)


@corrupt_tokens.cases
def corrupt_cases(rng):
    def case(label, facet=None, batch=3, time=12, maskable=None, choice=None, fate=None):
        shape = (batch, time)
        mask = int(rng.integers(1, 5))
        tokens = rng.integers(10, 60, size=shape)
        return Case(
            label,
            facet,
            tokens=tokens,
            maskable=np.ones(shape, dtype=bool) if maskable is None else maskable,
            choice=rng.random(shape) if choice is None else choice,
            fate=rng.random(shape) if fate is None else fate,
            others=tokens + 100,  # so that nothing is replaced by itself
            mask=mask,
        )

    batch, time = int(rng.integers(2, 5)), int(rng.integers(8, 15))
    few = np.where(
        rng.random((batch, time)) < 0.4, rng.uniform(0, 0.15, (batch, time)), rng.uniform(0.15, 1, (batch, time))
    )
    few[:, 0], few[:, 1] = rng.uniform(0, 0.149, batch), rng.uniform(0.15, 1, batch)
    hide = np.full((batch, time), 0.3)
    some = rng.random((batch, time)) < 0.5
    some[:, 0], some[:, 2] = False, True
    yield case("all chosen are hidden", None, batch, time, choice=few, fate=hide)
    yield case("some may not be chosen", None, batch, time, maskable=some, choice=few * 0.1, fate=hide)
    yield case("nothing is chosen", None, 1, time, choice=rng.uniform(0.15, 1, (1, time)))
    edges = np.array([[0.0, 0.149, 0.15, 0.151, 0.5, 0.85, 0.9, 0.999]])
    yield case("at the border of 15 %", None, 1, 8, choice=edges, fate=np.full((1, 8), 0.3))
    fates = np.array([[0.0, 0.5, 0.799, 0.8, 0.85, 0.899, 0.9, 0.95, 0.999]])
    yield case("all fates", "what becomes of them", 1, 9, choice=np.full((1, 9), 0.1), fate=fates)
    yield case("random fates of all", "what becomes of them", batch, time, choice=np.full((batch, time), 0.05))
    yield case("a long text", "what becomes of them", 4, 200)
    yield case("hidden ones", "labels", batch, time, choice=few, fate=hide)
    yield case("kept ones are asked for as well", "labels", batch, time, choice=few, fate=np.full((batch, time), 0.95))


@corrupt_tokens.probe
def ask_corrupt_tokens(answer, tokens, maskable, choice, fate, others, mask):
    import torch

    given = [torch.from_numpy(array) for array in (tokens, maskable, choice, fate, others)]
    corrupted, labels = answer(*given, mask)
    return {"tokens": corrupted, "labels": labels}


@corrupt_tokens.alternative
def by_where(tokens, maskable, choice, fate, others, mask):
    chosen = maskable & (choice < 0.15)
    corrupted = torch.where(chosen & (fate < 0.8), mask, tokens)
    corrupted = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), others, corrupted)
    return corrupted, torch.where(chosen, tokens, -100)


@corrupt_tokens.alternative
def by_assignment(tokens, maskable, choice, fate, others, mask):
    corrupted, labels = tokens.clone(), tokens.clone()
    chosen = torch.logical_and(maskable, choice < 0.15)
    labels[~chosen] = -100
    changed = chosen & (fate < 0.9)
    corrupted[changed] = others[changed]
    corrupted[chosen & (fate < 0.8)] = mask
    return corrupted, labels


@corrupt_tokens.alternative
def by_a_table_of_fates(tokens, maskable, choice, fate, others, mask):
    becomes = torch.stack([torch.full_like(tokens, mask), others, tokens])
    kind = torch.bucketize(fate, torch.tensor([0.8, 0.9], dtype=fate.dtype), right=True)
    kind[~maskable | (choice >= 0.15)] = 2
    return becomes.gather(0, kind[None])[0], tokens.masked_fill(~maskable | (choice >= 0.15), -100)


corrupt_tokens.slip(
    "special tokens chosen too",
    by_where,
    "chosen = maskable & (choice < 0.15)",
    "chosen = choice < 0.15",
    cause="`maskable` is not used: [CLS], [SEP] and filler are chosen as well.",
    hint="Which tokens may never be hidden?",
)
corrupt_tokens.slip(
    "80/10/10 of all tokens",
    by_where,
    "    corrupted = torch.where(chosen & (fate < 0.8), mask, tokens)\n"
    "    corrupted = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), others, corrupted)",
    "    corrupted = torch.where(maskable & (fate < 0.8), mask, tokens)\n"
    "    corrupted = torch.where(maskable & (fate >= 0.8) & (fate < 0.9), others, corrupted)",
    cause="80 % of all tokens are hidden and 10 % replaced; these are shares of the chosen ones only.",
    hint="A token that is not chosen stays as it is, whatever its fate would be.",
)
corrupt_tokens.slip(
    "all chosen are hidden",
    by_where,
    "    corrupted = torch.where(chosen & (fate < 0.8), mask, tokens)\n"
    "    corrupted = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), others, corrupted)",
    "    corrupted = torch.where(chosen, mask, tokens)",
    cause="Every chosen token becomes [MASK]; a tenth should become another token, and a tenth stay.",
    hint="What will the model never see once it is put to use?",
)
corrupt_tokens.slip(
    "labels everywhere",
    by_where,
    "torch.where(chosen, tokens, -100)",
    "tokens.clone()",
    cause="Every token has a label, so the loss would be over all tokens; only the chosen ones are asked for.",
    hint="−100 says: not asked.",
)
corrupt_tokens.slip(
    "kept ones not asked for",
    by_where,
    "torch.where(chosen, tokens, -100)",
    "torch.where(chosen & (fate < 0.9), tokens, -100)",
    cause="The chosen tokens that stay have no label; they are asked for as well.",
    hint="If kept tokens were never asked for, the model would learn that only [MASK] and odd words matter.",
)
corrupt_tokens.slip(
    "labels of the corrupted text",
    by_where,
    "torch.where(chosen, tokens, -100)",
    "torch.where(chosen, corrupted, -100)",
    cause="The labels are what stands there after the corruption; they should be what stood there before.",
    hint="What is the model to guess at a [MASK]? Surely not [MASK].",
)
corrupt_tokens.slip(
    "replaced and kept swapped with hidden",
    by_where,
    "chosen & (fate < 0.8), mask, tokens)\n"
    "    corrupted = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), others, corrupted)",
    "chosen & (fate < 0.1), mask, tokens)\n"
    "    corrupted = torch.where(chosen & (fate >= 0.1) & (fate < 0.9), others, corrupted)",
    cause="A tenth is hidden and most are replaced by random tokens; it should be the other way round.",
    hint="80 % [MASK], 10 % another token, 10 % as they were, in this order.",
)


@corrupt_tokens.mistake(hint="Where do `tokens` point after your line that assigns?")
def in_place(tokens, maskable, choice, fate, others, mask):
    """The tokens given are themselves overwritten; the caller still needs them."""
    chosen = maskable & (choice < 0.15)
    labels = torch.where(chosen, tokens, -100)
    tokens[chosen & (fate < 0.8)] = mask
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    tokens[replaced] = others[replaced]
    return tokens, labels


# masked_loss


def loss_of_torch(logits, labels):
    """The reference: torch's own cross-entropy leaves out −100 by itself; 0 where nothing is asked."""
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)


masked_loss = Exercise(
    "bert.masked_loss",
    reference=loss_of_torch,
    facets={"values": 2, "large logits": 1, "nothing asked": 0.5, GRADIENTS: 0.5, SIDE_EFFECTS: 0.5},
    difficulty=2,
    minutes=20,
    forbidden=("cross_entropy", "CrossEntropyLoss", "nll_loss", "NLLLoss"),
)


@masked_loss.cases
def loss_cases(rng):
    def case(label, facet=None, batch=2, time=5, vocab=7, share=0.4, size=1.0, at_least=1):
        logits = rng.normal(scale=size, size=(batch, time, vocab))
        labels = rng.integers(0, vocab, size=(batch, time))
        asked = rng.random((batch, time)) < share
        asked.ravel()[rng.permutation(asked.size)[:at_least]] = True
        return Case(label, facet, logits=logits, labels=np.where(asked, labels, -100))

    batch, time, vocab = int(rng.integers(2, 5)), int(rng.integers(4, 8)), int(rng.integers(5, 12))
    yield case("some are asked", None, batch, time, vocab)
    yield case("all are asked", None, batch, time, vocab, share=1)
    yield case("one is asked", None, batch, time, vocab, share=0)
    uneven = case("rows with different numbers of questions", None, 2, 6, vocab, share=1)
    uneven.inputs["labels"][1, 1:] = -100
    yield uneven
    yield case("a row without questions", None, 1, time, vocab)
    yield case("logits around 1,000", "large logits", batch, time, vocab, size=1000.0)
    yield case("nothing is asked", "nothing asked", batch, time, vocab, share=0, at_least=0)


@masked_loss.probe
def ask_masked_loss(answer, logits, labels):
    import torch

    return with_gradients(lambda logits: {"loss": answer(logits, torch.from_numpy(labels))}, logits=logits)


@masked_loss.alternative
def by_log_softmax(logits, labels):
    asked = labels != -100
    logs = torch.log_softmax(logits, -1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return -(logs * asked).sum() / asked.sum().clamp(min=1)


@masked_loss.alternative
def only_the_asked_rows(logits, labels):
    asked = labels != -100
    rows, right = logits[asked], labels[asked]
    if len(right) == 0:
        return (logits * 0).sum()
    return (rows.logsumexp(1) - rows[torch.arange(len(right)), right]).mean()


@masked_loss.alternative
def one_by_one(logits, labels):
    losses = [
        torch.logsumexp(logits[b, t], 0) - logits[b, t, labels[b, t]]
        for b in range(labels.shape[0])
        for t in range(labels.shape[1])
        if labels[b, t] >= 0
    ]
    return torch.stack(losses).mean() if losses else 0.0 * logits.sum()


masked_loss.slip(
    "mean over all tokens",
    by_log_softmax,
    "asked.sum().clamp(min=1)",
    "labels.numel()",
    cause="The sum over the chosen tokens is divided by the number of all tokens.",
    hint="How many tokens have a loss at all?",
)
masked_loss.slip(
    "loss on all tokens",
    by_log_softmax,
    "-(logs * asked).sum() / asked.sum().clamp(min=1)",
    "-logs.mean()",
    cause="Tokens that were not chosen count too, as if their label were 0.",
    hint="−100 is no token; what is not asked has no loss.",
)
masked_loss.slip(
    "0/0 where nothing is asked",
    by_log_softmax,
    "asked.sum().clamp(min=1)",
    "asked.sum()",
    cause="Where no token is chosen the loss is 0/0, NaN; it should be 0.",
    hint="What does a batch without a question teach? Nothing, so its loss is 0.",
)
masked_loss.slip(
    "sum instead of mean",
    by_log_softmax,
    " / asked.sum().clamp(min=1)",
    "",
    cause="The losses are summed; they should be averaged over the chosen tokens.",
    hint="Should the loss grow when more tokens are chosen?",
)
masked_loss.slip(
    "sign forgotten",
    by_log_softmax,
    "-(logs * asked)",
    "(logs * asked)",
    cause="The result is the mean log-probability, which is negative; the loss is its negative.",
    hint="A loss is never below 0 here.",
)
masked_loss.slip(
    "logarithm of the softmax",
    by_log_softmax,
    "torch.log_softmax(logits, -1)",
    "torch.log(logits.exp() / logits.exp().sum(-1, keepdim=True))",
    cause="exp of a large logit is infinite, so that the loss becomes NaN.",
    hint="torch has a function that does both steps at once and never overflows.",
)


@masked_loss.mistake(hint="Two rows with 9 and 1 questions: does each of the 10 tokens weigh the same?")
def mean_of_the_rows_means(logits, labels):
    """Each text's loss is averaged first, then the texts; every chosen token of the batch should weigh the same."""
    asked = labels != -100
    logs = torch.log_softmax(logits, -1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    rows = -(logs * asked).sum(1) / asked.sum(1).clamp(min=1)
    return rows.sum() / (asked.sum(1) > 0).sum().clamp(min=1)


@masked_loss.mistake(
    hint="`clamp`, `where` and `masked_fill` make a *new* tensor, with another number in place of −100."
)
def labels_overwritten(logits, labels):
    """The −100 in the labels that were given are overwritten; the caller still needs them."""
    asked = labels != -100
    labels[~asked] = 0
    logs = torch.log_softmax(logits, -1).gather(-1, labels[..., None])[..., 0]
    return -(logs * asked).sum() / asked.sum().clamp(min=1)
