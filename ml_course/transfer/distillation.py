r"""Distillation: a small model learns from a large one's probabilities, which say more than the labels do."""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ml_course.bert import BertConfig


def soft_targets(logits: Float[Tensor, "batch classes"], temperature: float | int) -> Float[Tensor, "batch classes"]:
    r"""What the teacher holds for possible, and how much: softmax(z / T). The higher T, the more of its doubts show.

    Raises: ValueError when the temperature is not positive. Source: hinton2015distilling, eq. 1.

    >>> import torch
    >>> soft_targets(torch.tensor([[0.0, 2.0]]), temperature=2)
    tensor([[0.2689, 0.7311]])
    """
    if not temperature > 0:
        raise ValueError(f"temperature = {temperature}, expected a positive number")
    return (logits / temperature).softmax(-1)


def distillation_loss(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"] | None = None,
    *,
    temperature: float | int = 2.0,
    alpha: float | int = 0.5,
) -> Float[Tensor, ""]:
    r"""What the student should learn: the labels, and the teacher's softened probabilities.

    α · CE(labels, z_s)  +  (1 − α) · T² · KL(softmax(z_t/T) ‖ softmax(z_s/T)),  the mean over the batch, in nats

    student, teacher   logits; no gradient goes to the teacher's
    labels             None when there are none: then alpha must be 0, as for texts nobody labelled
    temperature        T
    alpha              α, the share of the labels
    The slope of the second term by a student's logit is T·(q_s − q_t), and the difference of the softened
    probabilities shrinks like 1/T: so without T² its say would shrink like 1/T².
    Raises: ValueError when the temperature is not positive, alpha not in 0 ≤ α ≤ 1, or labels are missing for it.
    Source: hinton2015distilling, section 2; there the cross-entropy, which differs from KL by a constant.

    >>> import torch
    >>> z = torch.tensor([[0.0, 2.0]])
    >>> distillation_loss(z, z, alpha=0, temperature=4)
    tensor(0.)
    """
    if not temperature > 0 or not 0 <= alpha <= 1:
        raise ValueError(f"temperature = {temperature}, alpha = {alpha}: expected positive, and 0 to 1")
    if labels is None and alpha > 0:
        raise ValueError(f"alpha = {alpha} needs labels; without them it must be 0")
    of_student = (student / temperature).log_softmax(-1)
    of_teacher = (teacher.detach() / temperature).log_softmax(-1)
    soft = F.kl_div(of_student, of_teacher, log_target=True, reduction="batchmean")
    loss = (1 - alpha) * temperature**2 * soft
    return loss if labels is None else loss + alpha * F.cross_entropy(student, labels)


def student_config(teacher: BertConfig, *, vocab: int, d_model: int, layers: int, d_head: int = 16) -> BertConfig:
    r"""Sizes of a smaller BERT that reads as many tokens as its teacher: a narrow one, with its own vocabulary.

    d_head   width of a head; d_ff is 4·d_model, as in the teacher
    Raises: ValueError when d_model is not divisible by d_head.

    >>> student_config(BertConfig.BASE, vocab=4928, d_model=48, layers=12).heads
    3
    """
    if d_model % d_head:
        raise ValueError(f"d_model = {d_model} is not divisible by d_head = {d_head}")
    return replace(
        teacher, vocab=vocab, d_model=d_model, layers=layers, heads=d_model // d_head, d_ff=4 * d_model, dropout=0.0
    )


def bert_parameters(config: BertConfig) -> int:
    r"""How many numbers `Bert(config)` learns, with d = d_model and f = d_ff.

    (vocab + context + segments + 2)·d  +  layers·(4d² + 2df + 9d + f)  +  d² + d

    >>> bert_parameters(BertConfig.BASE)
    109482240
    """
    d, f = config.d_model, config.d_ff
    tables = (config.vocab + config.context + config.segments + 2) * d
    return tables + config.layers * (4 * d * d + 2 * d * f + 9 * d + f) + d * d + d


def bert_flops(config: BertConfig, time: int, batch: int = 1) -> int:
    r"""Floating point operations of one reading: a multiplication and an addition are two; matrix products alone.

    batch·layers·(time·(8d² + 4df) + 4·time²·d), for texts of `time` tokens; without the pooler and the tables, which
    are looked up

    >>> round(bert_flops(BertConfig.BASE, 128) / 1e9, 1)
    22.3
    """
    d, f = config.d_model, config.d_ff
    return batch * config.layers * (time * (8 * d * d + 4 * d * f) + 4 * time * time * d)
