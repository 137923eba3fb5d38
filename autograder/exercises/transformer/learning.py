"""The exercises on how a Transformer is taught: the schedule of its learning rate, and smoothed labels."""

import numpy as np
import torch

from autograder.exercise import GRADIENTS, Case, Exercise
from ml_course import transformer

# learning_rate


def rate_of_the_library(step, d_model, warmup):
    """The reference under the homework's signature."""
    return transformer.noam(d_model, warmup)(step)


learning_rate = Exercise(
    "transformer.learning_rate",
    reference=rate_of_the_library,
    facets={"warm-up": 1, "after it": 1},
    difficulty=1,
    minutes=10,
    equivalent_mutants={
        "return peak * step / warmup if step <= warmup else peak * math.sqrt(warmup / step) → "
        "return peak * step / warmup if step < warmup else peak * math.sqrt(warmup / step)": (
            "at step = warmup both branches are the peak"
        )
    },
)


@learning_rate.cases
def rate_cases(rng):
    d_model, warmup = int(rng.integers(4, 1024)), int(rng.integers(50, 5000))
    yield Case("the first step", step=1, d_model=d_model, warmup=warmup)
    yield Case("on the way up", step=int(rng.integers(2, warmup)), d_model=d_model, warmup=warmup)
    yield Case("at the top", step=warmup, d_model=d_model, warmup=warmup)
    yield Case("one step later", "after it", step=warmup + 1, d_model=d_model, warmup=warmup)
    late = int(rng.integers(2 * warmup, 20 * warmup))
    yield Case("long after", "after it", step=late, d_model=d_model, warmup=warmup)
    yield Case("no warm-up to speak of", "after it", step=late, d_model=d_model, warmup=1)


@learning_rate.probe
def ask_learning_rate(answer, step, d_model, warmup):
    return {"rate": float(answer(step, d_model, warmup))}


@learning_rate.alternative
def the_smaller_of_two(step, d_model, warmup):
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


@learning_rate.alternative
def two_branches(step, d_model, warmup):
    if step < warmup:
        return step / (d_model**0.5 * warmup * warmup**0.5)
    return 1 / (d_model * step) ** 0.5


@learning_rate.alternative
def by_the_peak(step, d_model, warmup):
    peak = (d_model * warmup) ** -0.5
    return peak * min(step / warmup, (warmup / step) ** 0.5)


learning_rate.slip(
    "the larger of the two",
    the_smaller_of_two,
    "min(",
    "max(",
    cause="The larger of the two branches is taken: the rate begins huge and grows without end.",
    hint="Which branch is smaller at step 1? The rate should begin near zero.",
)
learning_rate.slip(
    "step counted from 0",
    two_branches,
    "    if step < warmup:\n        return step /",
    "    if step < warmup:\n        return (step - 1) /",
    cause="The first step's rate is 0: the steps are counted from 0, here they count from 1.",
    hint="step comes in as 1 the first time. Nothing has to be added or subtracted.",
)
learning_rate.slip(
    "the width not inverted",
    the_smaller_of_two,
    "d_model**-0.5",
    "d_model**0.5",
    cause="The rate is multiplied by √d_model; it is divided by it.",
    hint="Wider models want smaller rates.",
)
learning_rate.slip(
    "warm-up to the power of one half",
    the_smaller_of_two,
    "warmup**-1.5",
    "warmup**-0.5",
    cause="The warm-up has the exponent −1/2, so the branches do not meet at step = warmup.",
    hint="At step = warmup both branches should be the same number.",
)
learning_rate.slip(
    "no warm-up",
    the_smaller_of_two,
    "min(step**-0.5, step * warmup**-1.5)",
    "step**-0.5",
    cause="The rate begins at its highest and only falls: there is no warm-up.",
    hint="One of the arguments is not used.",
)
learning_rate.slip(
    "stays at the top",
    by_the_peak,
    "min(step / warmup, (warmup / step) ** 0.5)",
    "min(step / warmup, 1.0)",
    cause="After the warm-up the rate stays where it is; it should fall with the root of the step.",
    hint="What should the rate be at 4 · warmup? Half the highest.",
)
learning_rate.slip(
    "falls with the step, not its root",
    by_the_peak,
    "(warmup / step) ** 0.5",
    "warmup / step",
    cause="After the warm-up the rate falls like 1/step; it should fall like 1/√step.",
    hint="What should the rate be at 4 · warmup? Half the highest, not a quarter.",
)

# smoothed_loss


def loss_of_the_library(logits, target, mask, epsilon):
    """The reference: ε over the other tokens is ε·vocab/(vocab − 1) over all."""
    vocab = logits.shape[-1]
    return transformer.smoothed_cross_entropy(logits, target, mask, epsilon * vocab / (vocab - 1), fused=False)


smoothed_loss = Exercise(
    "transformer.smoothed_loss",
    reference=loss_of_the_library,
    facets={"values": 2, "masking": 1, "stability": 1, GRADIENTS: 1},
    difficulty=2,
    minutes=25,
    forbidden=("cross_entropy", "cross_entropy_loss", "CrossEntropyLoss", "nll_loss", "NLLLoss", "kl_div", "KLDivLoss"),
)


@smoothed_loss.cases
def loss_cases(rng):
    def inputs(batch, time, vocab, epsilon=0.1, size=2.0, dtype=np.float64):
        logits = (size * rng.normal(size=(batch, time, vocab))).astype(dtype)
        target = rng.integers(vocab, size=(batch, time))
        return dict(logits=logits, target=target, mask=np.ones((batch, time), bool), epsilon=epsilon)

    batch, time, vocab = (int(size) for size in rng.integers(3, 7, size=3))
    yield Case("no padding", **inputs(batch, time, vocab))
    yield Case("half of it spread", **inputs(batch, time, vocab, epsilon=float(rng.uniform(0.3, 0.7))))
    yield Case("no smoothing", **inputs(batch, time, vocab, epsilon=0.0))
    yield Case("two tokens in all", **inputs(batch, time, 2))
    yield Case("as many texts as tokens", **inputs(vocab, vocab, vocab))
    yield Case("float32", **inputs(batch, time, vocab, dtype=np.float32))
    lengths = rng.integers(1, time, size=batch)
    padded = inputs(batch, time, vocab)
    padded["mask"] = np.arange(time) < lengths[:, None]
    yield Case("padding at the end", "masking", **padded)
    holes = inputs(batch, time, vocab)
    holes["mask"] = rng.random((batch, time)) < 0.5
    holes["mask"][0, 0], holes["mask"][-1, -1] = False, True
    yield Case("padding anywhere", "masking", **holes)
    yield Case("huge logits", "stability", **inputs(batch, time, vocab, size=800.0))


@smoothed_loss.probe
def ask_smoothed_loss(answer, logits, target, mask, epsilon):
    import torch

    given = torch.from_numpy(logits).requires_grad_()
    loss = answer(given, torch.from_numpy(target), torch.from_numpy(mask), epsilon)
    slope = "none: the loss does not depend on the logits any more"
    if isinstance(loss, torch.Tensor) and loss.requires_grad and loss.numel() == 1:
        (slope,) = torch.autograd.grad(loss.sum(), [given], allow_unused=True)
    return {"loss": loss, "gradient of logits": slope}


@smoothed_loss.alternative
def targets_as_distributions(logits, target, mask, epsilon):
    vocab = logits.shape[-1]
    wanted = torch.full_like(logits, epsilon / (vocab - 1))
    wanted.scatter_(-1, target.unsqueeze(-1), 1 - epsilon)
    surprise = -(wanted * torch.log_softmax(logits, dim=-1)).sum(-1)
    return surprise[mask].mean()


@smoothed_loss.alternative
def right_one_and_the_rest(logits, target, mask, epsilon):
    logs = logits - torch.logsumexp(logits, dim=-1, keepdim=True)
    right = logs.gather(-1, target[..., None])[..., 0]
    rest = logs.sum(-1) - right
    loss = -(1 - epsilon) * right - epsilon * rest / (logits.shape[-1] - 1)
    return (loss * mask).sum() / mask.sum()


@smoothed_loss.alternative
def one_token_after_the_other(logits, target, mask, epsilon):
    losses = []
    for row in range(target.shape[0]):
        for t in range(target.shape[1]):
            if mask[row, t]:
                logs = torch.log_softmax(logits[row, t], dim=0)
                others = [logs[k] for k in range(len(logs)) if k != target[row, t]]
                losses.append(-(1 - epsilon) * logs[target[row, t]] - epsilon * sum(others) / len(others))
    return torch.stack(losses).mean()


smoothed_loss.slip(
    "spread over all tokens",
    targets_as_distributions,
    "    wanted = torch.full_like(logits, epsilon / (vocab - 1))\n"
    "    wanted.scatter_(-1, target.unsqueeze(-1), 1 - epsilon)\n",
    "    wanted = torch.full_like(logits, epsilon / vocab)\n"
    "    wanted.scatter_(-1, target.unsqueeze(-1), 1 - epsilon + epsilon / vocab)\n",
    cause="ε is spread over all tokens, the right one among them, as torch does it; here over the others alone.",
    hint="How many tokens share ε? One fewer than there are.",
)
smoothed_loss.slip(
    "the shares do not sum to one",
    targets_as_distributions,
    "epsilon / (vocab - 1))",
    "epsilon / vocab)",
    cause="Each wrong token gets ε/vocab, but there are only vocab − 1 of them: the targets do not sum to one.",
    hint="Sum your distribution over the tokens.",
)
smoothed_loss.slip(
    "every wrong token gets all of epsilon",
    targets_as_distributions,
    "epsilon / (vocab - 1))",
    "epsilon)",
    cause="Each wrong token gets the whole ε instead of its share.",
    hint="Sum your distribution over the tokens.",
)
smoothed_loss.slip(
    "padding counted",
    targets_as_distributions,
    "surprise[mask].mean()",
    "surprise.mean()",
    cause="Padding takes part in the loss.",
    hint="One of the arguments is not used.",
)
smoothed_loss.slip(
    "divided by all places",
    right_one_and_the_rest,
    "/ mask.sum()",
    "/ mask.numel()",
    cause="The sum over the real tokens is divided by the number of all places, padding among them.",
    hint="The mean over n tokens divides by n. How many are real?",
)
smoothed_loss.slip(
    "a sum instead of a mean",
    right_one_and_the_rest,
    " / mask.sum()",
    "",
    cause="The losses are summed; asked for is their mean.",
    hint="Twice as many tokens should not give twice the loss.",
)
smoothed_loss.slip(
    "no smoothing",
    right_one_and_the_rest,
    "-(1 - epsilon) * right - epsilon * rest / (logits.shape[-1] - 1)",
    "-right",
    cause="The loss is the plain cross-entropy: ε is not used.",
    hint="The wrong tokens have a share in the loss, too.",
)


@smoothed_loss.mistake(hint="What is the exponential of 1000? torch.log_softmax knows a way around it.")
def overflows(logits, target, mask, epsilon):
    """The logarithm of a softmax in two steps: where a probability underflows to 0, the loss is infinite."""
    probability = logits.exp() / logits.exp().sum(-1, keepdim=True)
    logs = probability.log()
    right = logs.gather(-1, target[..., None])[..., 0]
    rest = logs.sum(-1) - right
    loss = -(1 - epsilon) * right - epsilon * rest / (logits.shape[-1] - 1)
    return (loss * mask).sum() / mask.sum()
