r"""From a language model to an assistant: answers that were shown, and answers that were preferred."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ml_course.objectives.tasks import causal_shift
from ml_course.seq2seq import masked_cross_entropy
from ml_course.text import pad


class Conversation(NamedTuple):
    r"""Prompts with an answer each, in one array."""

    tokens: Int[Tensor, "batch time"]  # prompt, answer, end; then filler
    answer: Bool[Tensor, "batch time"]  # True at the answer's tokens and its end


def conversation(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], end: int) -> Conversation:
    r"""Puts each answer, and the token that ends it, after its prompt, and remembers which is which.

    Raises: ValueError when there is not one answer a prompt, or a prompt is empty.

    >>> conversation([[5, 6], [7]], [[8], [9, 9]], end=1)
    Conversation(tokens=tensor([[5, 6, 8, 1],
            [7, 9, 9, 1]]), answer=tensor([[False, False,  True,  True],
            [False,  True,  True,  True]]))
    """
    if len(prompts) != len(answers) or not all(map(len, prompts)):
        raise ValueError(
            f"prompts has {len(prompts)}, answers {len(answers)}: expected one answer a prompt, and none empty"
        )
    batch = pad([[*prompt, *answer, end] for prompt, answer in zip(prompts, answers, strict=True)])
    starts = torch.tensor([len(prompt) for prompt in prompts])
    return Conversation(batch.ids, batch.mask & (torch.arange(batch.ids.shape[1]) >= starts[:, None]))


def sft_loss(model: Callable[[Tensor], Tensor], batch: Conversation) -> Float[Tensor, ""]:
    r"""Supervised fine-tuning: the mean surprise at the answers' tokens, in nats; prompts are read, not learned.

    −Σ_{t in the answer} log P(x_t | x_1 … x_{t−1}) / how many there are

    model   tokens → logits of what follows each
    Source: ouyang2022training, section 3.5, step 1; radford2018improving's way to fine-tune.

    >>> import math
    >>> batch = conversation([[5, 6], [7]], [[2], [3, 3]], end=1)
    >>> sft_loss(lambda tokens: torch.zeros(*tokens.shape, 8), batch) / math.log(8)
    tensor(1.)
    """
    reads, says = causal_shift(batch.tokens)
    return masked_cross_entropy(model(reads), says, batch.answer[:, 1:])


def answer_log_probability(model: Callable[[Tensor], Tensor], batch: Conversation) -> Float[Tensor, " batch"]:
    r"""log P(answer | prompt) of each row, its end included: Σ_{t in the answer} log P(x_t | x_1 … x_{t−1}).

    Not divided by the length: it is the probability of the whole answer.
    """
    reads, says = causal_shift(batch.tokens)
    each = model(reads).float().log_softmax(-1).gather(-1, says[..., None])[..., 0]
    return each.masked_fill(~batch.answer[:, 1:], 0).sum(1)


def bradley_terry_loss(chosen: Float[Tensor, " batch"], rejected: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    r"""How badly rewards explain that one answer was preferred: −mean log σ(r_chosen − r_rejected).

    What a reward model is trained with in RLHF. Source: ouyang2022training, eq. 1; bradley1952rank.

    >>> bradley_terry_loss(torch.tensor([0.0]), torch.tensor([0.0]))
    tensor(0.6931)
    """
    return -F.logsigmoid(chosen - rejected).mean()


def dpo_loss(
    chosen: Float[Tensor, " batch"],
    rejected: Float[Tensor, " batch"],
    reference_chosen: Float[Tensor, " batch"],
    reference_rejected: Float[Tensor, " batch"],
    beta: float | int = 0.1,
) -> Float[Tensor, ""]:
    r"""Direct preference optimisation: raise the preferred answer above the other, measured from where one began.

    −mean log σ(β (log π(y_w)/π_ref(y_w) − log π(y_l)/π_ref(y_l)))

    It is `bradley_terry_loss` of the rewards r(y) = β log π(y)/π_ref(y), which the best policy under a penalty of β
    times the Kullback–Leibler divergence from π_ref has, up to a number for each prompt that cancels.

    chosen, rejected                       log probability of each answer under the model that learns
    reference_chosen, reference_rejected   the same under the model it began as; no gradient is wanted for them
    beta                                   the larger, the less it may move away from that model
    Raises: ValueError when beta is not above 0. Source: rafailov2023direct, eq. 7.

    >>> same = torch.tensor([-3.0, -4.0])
    >>> dpo_loss(same, same, same, same)
    tensor(0.6931)
    """
    if not beta > 0:
        raise ValueError(f"beta = {beta}, expected above 0")
    return bradley_terry_loss(beta * (chosen - reference_chosen), beta * (rejected - reference_rejected))


def dpo_step_weight(
    chosen: Float[Tensor, " batch"],
    rejected: Float[Tensor, " batch"],
    reference_chosen: Float[Tensor, " batch"],
    reference_rejected: Float[Tensor, " batch"],
    beta: float | int = 0.1,
) -> Float[Tensor, " batch"]:
    r"""How strongly DPO pulls at each pair: β σ(−β · margin), large where the rewards order the pair wrongly.

    ∂loss/∂(log π(y_w)) = −this / batch,  ∂loss/∂(log π(y_l)) = +this / batch. Source: rafailov2023direct, section 4.
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return beta * torch.sigmoid(-beta * margin)
