"""The exercise on direct preference optimisation: one loss from four log probabilities."""

import numpy as np
import torch

from autograder.exercise import DTYPE, GRADIENTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import objectives


def loss_of_the_library(chosen, rejected, reference_chosen, reference_rejected, beta):
    """The reference: the references are constants, whatever they came from."""
    return objectives.dpo_loss(chosen, rejected, reference_chosen.detach(), reference_rejected.detach(), beta)


dpo_loss = Exercise(
    "objectives.dpo_loss",
    reference=loss_of_the_library,
    facets={"values": 2, "large margins": 1, GRADIENTS: 1, DTYPE: 0.5},
    difficulty=2,
    minutes=20,
)


@dpo_loss.cases
def preference_cases(rng):
    def inputs(batch, beta, size=2.0, dtype=np.float64, **given):
        names = ("chosen", "rejected", "reference_chosen", "reference_rejected")
        made = {name: (rng.normal(scale=size, size=batch) - 9).astype(dtype) for name in names}
        return made | given | {"beta": beta}

    batch = int(rng.integers(3, 7))
    yield Case("a few pairs", **inputs(batch, 0.5))
    yield Case("one pair", **inputs(1, 1.0))
    yield Case("the usual beta", **inputs(batch, 0.1, 6.0))
    same = rng.normal(size=(2, batch)) - 5
    start = dict(chosen=same[0], rejected=same[1], reference_chosen=same[0].copy(), reference_rejected=same[1].copy())
    yield Case("at the start, both models the same", **inputs(batch, 0.3, **start))
    yield Case("float32", **inputs(batch, 0.2, dtype=np.float32))
    far = np.full(3, 2000.0)
    yield Case(
        "wrong by far", "large margins", **inputs(3, 1.0, chosen=-far, rejected=-far / 4, reference_chosen=-far / 2)
    )
    yield Case("right by far", "large margins", **inputs(3, 1.0, chosen=-far / 4, rejected=-far))


@dpo_loss.probe
def ask_dpo_loss(answer, chosen, rejected, reference_chosen, reference_rejected, beta):
    def call(**given):
        return {"loss": answer(**given, beta=beta)}

    return with_gradients(
        call,
        chosen=chosen,
        rejected=rejected,
        reference_chosen=reference_chosen,
        reference_rejected=reference_rejected,
    )


@dpo_loss.alternative
def by_logsigmoid(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_chosen.detach()) - (rejected - reference_rejected.detach())
    return -torch.nn.functional.logsigmoid(beta * margin).mean()


@dpo_loss.alternative
def by_softplus(chosen, rejected, reference_chosen, reference_rejected, beta):
    reference_chosen, reference_rejected = reference_chosen.detach(), reference_rejected.detach()
    reward_chosen = beta * (chosen - reference_chosen)
    reward_rejected = beta * (rejected - reference_rejected)
    return torch.nn.functional.softplus(reward_rejected - reward_chosen).mean()


@dpo_loss.alternative
def as_two_classes(chosen, rejected, reference_chosen, reference_rejected, beta):
    with torch.no_grad():
        before = torch.stack([reference_chosen, reference_rejected], 1)
    rewards = beta * (torch.stack([chosen, rejected], 1) - before)
    return torch.nn.functional.cross_entropy(rewards, torch.zeros(len(rewards), dtype=torch.long))


dpo_loss.slip(
    "no reference",
    by_logsigmoid,
    "margin = (chosen - reference_chosen.detach()) - (rejected - reference_rejected.detach())",
    "margin = chosen - rejected",
    cause="The reference model is not used: long answers, and those that were rare before, always look bad.",
    hint="Two of the arguments are not used.",
)
dpo_loss.slip(
    "the rejected answer is raised",
    by_softplus,
    "torch.nn.functional.softplus(reward_rejected - reward_chosen)",
    "torch.nn.functional.softplus(reward_chosen - reward_rejected)",
    cause="The sign is wrong: the loss falls when the rejected answer becomes more probable.",
    hint="What should the loss do when `chosen` grows?",
)
dpo_loss.slip(
    "without beta",
    by_logsigmoid,
    "beta * margin",
    "margin",
    cause="beta is not used.",
    hint="One of the arguments is not used.",
)
dpo_loss.slip(
    "beta outside",
    by_logsigmoid,
    "-torch.nn.functional.logsigmoid(beta * margin).mean()",
    "-beta * torch.nn.functional.logsigmoid(margin).mean()",
    cause="beta stands before the logarithm; it belongs inside, to the rewards.",
    hint="Compare with the formula: what is multiplied by β?",
)
dpo_loss.slip(
    "divided by beta",
    by_logsigmoid,
    "beta * margin",
    "margin / beta",
    cause="The margin is divided by beta; a reward is β times a log ratio.",
    hint="Compare with the formula: what is multiplied by β?",
)
dpo_loss.slip(
    "summed up",
    by_softplus,
    ".mean()",
    ".sum()",
    cause="The losses of the pairs are summed up; the mean is asked for.",
    hint="With twice the pairs, what should become of the loss?",
)
dpo_loss.slip(
    "references added",
    by_logsigmoid,
    "(chosen - reference_chosen.detach()) - (rejected - reference_rejected.detach())",
    "(chosen - reference_chosen.detach()) - (rejected + reference_rejected.detach())",
    cause="The rejected answer's reference has the wrong sign.",
    hint="Each answer is compared with what it was: a difference of two logarithms, for both.",
)
dpo_loss.slip(
    "the minus forgotten",
    by_logsigmoid,
    "-torch.nn.functional.logsigmoid",
    "torch.nn.functional.logsigmoid",
    cause="The loss is negative: the minus before the logarithm is missing.",
    hint="The logarithm of a probability is below 0, a loss is above.",
)
dpo_loss.slip(
    "overflow",
    by_logsigmoid,
    "-torch.nn.functional.logsigmoid(beta * margin).mean()",
    "-torch.log(1 / (1 + torch.exp(-beta * margin))).mean()",
    cause="Where the margin is far below 0 the exponential overflows, and the loss is infinite.",
    hint="log σ(z) has a form of its own in torch, which never overflows.",
)
dpo_loss.slip(
    "the reference learns too",
    by_logsigmoid,
    "(chosen - reference_chosen.detach()) - (rejected - reference_rejected.detach())",
    "(chosen - reference_chosen) - (rejected - reference_rejected)",
    cause="A gradient flows into the reference, which would then move away from where one began.",
    hint="Which method of a tensor gives the same numbers and lets no gradient through?",
)
