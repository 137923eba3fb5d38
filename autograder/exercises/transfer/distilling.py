"""The exercise on what a student learns from its teacher."""

import numpy as np
import torch

from autograder.exercise import GRADIENTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import transfer


def loss_of_the_library(student, teacher, labels, temperature, alpha):
    """The reference under the homework's signature."""
    return transfer.distillation_loss(student, teacher, labels, temperature=temperature, alpha=alpha)


distillation_loss = Exercise(
    "transfer.distillation_loss",
    reference=loss_of_the_library,
    facets={"values": 2, "temperature": 1, "large logits": 0.5, GRADIENTS: 1},
    difficulty=2,
    minutes=25,
)


@distillation_loss.cases
def distillation_cases(rng):
    def case(label, facet=None, batch=4, classes=3, temperature=1.0, alpha=0.4, size=1.5, dtype=np.float64):
        student, teacher = (size * rng.normal(size=(batch, classes)).astype(dtype) for _ in range(2))
        labels = rng.integers(classes, size=batch)
        return Case(
            label, facet, student=student.astype(dtype), teacher=teacher.astype(dtype), labels=labels,
            temperature=temperature, alpha=alpha,
        )  # fmt: skip

    batch, classes = int(rng.integers(3, 7)), int(rng.integers(3, 6))
    hot = float(rng.uniform(2, 6))
    yield case("no temperature", None, batch, classes + 1)
    yield case("labels alone", None, batch, classes, alpha=1.0)
    yield case("the teacher alone", None, batch, classes, alpha=0.0)
    yield case("as many texts as classes", None, 4, 4)
    yield case("one text", None, 1, classes)
    yield case("two classes, float32", None, batch, 2, dtype=np.float32)
    yield case("a temperature", "temperature", batch, classes + 2, hot)
    yield case("the teacher alone, with a temperature", "temperature", batch, classes, hot, alpha=0.0)
    yield case("colder than 1", "temperature", batch, classes, 0.5)
    yield case("logits in the hundreds", "large logits", batch, classes, 2.0, size=700.0)


@distillation_loss.probe
def ask_distillation(answer, student, teacher, labels, temperature, alpha):
    import torch

    def call(student, teacher):
        loss = answer(student, teacher, torch.from_numpy(labels), temperature, alpha)
        # a teacher that takes no part in the sum would leave no gradient to speak of
        return {"loss": torch.tensor(loss, dtype=student.dtype) if isinstance(loss, float) else loss}

    found = with_gradients(call, student=student, teacher=teacher)
    slope = found.pop("gradient of teacher")
    found["gradient to the teacher"] = isinstance(slope, torch.Tensor) and bool((slope != 0).any())
    return found


@distillation_loss.alternative
def the_formula(student, teacher, labels, temperature, alpha):
    p = torch.softmax(teacher.detach() / temperature, dim=1)
    log_p = torch.log_softmax(teacher.detach() / temperature, dim=1)
    log_q = torch.log_softmax(student / temperature, dim=1)
    soft = (p * (log_p - log_q)).sum(dim=1).mean()
    hard = torch.nn.functional.cross_entropy(student, labels)
    return alpha * hard + (1 - alpha) * temperature**2 * soft


@distillation_loss.alternative
def with_kl_div(student, teacher, labels, temperature, alpha):
    with torch.no_grad():
        log_p = torch.nn.functional.log_softmax(teacher / temperature, -1)
    soft = torch.nn.functional.kl_div(
        torch.nn.functional.log_softmax(student / temperature, -1), log_p, log_target=True, reduction="none"
    ).sum() / len(student)
    hard = -torch.nn.functional.log_softmax(student, -1).gather(1, labels[:, None]).mean()
    return alpha * hard + (1 - alpha) * temperature * temperature * soft


@distillation_loss.alternative
def text_by_text(student, teacher, labels, temperature, alpha):
    teacher, losses = teacher.detach(), []
    for i in range(len(student)):
        log_p = teacher[i] / temperature - torch.logsumexp(teacher[i] / temperature, 0)
        log_q = student[i] / temperature - torch.logsumexp(student[i] / temperature, 0)
        hard = torch.logsumexp(student[i], 0) - student[i, labels[i]]
        losses.append(alpha * hard + (1 - alpha) * temperature**2 * (log_p.exp() * (log_p - log_q)).sum())
    return sum(losses) / len(losses)


def wrong(label, old, new, cause, hint):
    """A slip in the formula."""
    distillation_loss.slip(label, the_formula, old, new, cause=cause, hint=hint)


wrong(
    "temperature squared forgotten",
    "(1 - alpha) * temperature**2 * soft",
    "(1 - alpha) * soft",
    "T² is missing before the soft part: the hotter, the less the teacher has to say.",
    "By what power of T does the slope of the soft part shrink?",
)
wrong(
    "temperature once",
    "temperature**2",
    "temperature",
    "The soft part is multiplied by T; it is T².",
    "The slope has one 1/T from the chain rule, and another because soft probabilities differ less.",
)
wrong(
    "divergence the wrong way round",
    "(p * (log_p - log_q))",
    "(log_q.exp() * (log_q - log_p))",
    "The divergence is taken from student to teacher; it is KL(teacher ‖ student).",
    "Whose probabilities weigh the logarithms?",
)
wrong(
    "the student is not softened",
    "log_softmax(student / temperature, dim=1)",
    "log_softmax(student, dim=1)",
    "Only the teacher is softened; with the same logits the loss would not be 0.",
    "What should the soft part be when student and teacher have the same logits?",
)
wrong(
    "labels at the temperature",
    "torch.nn.functional.cross_entropy(student, labels)",
    "torch.nn.functional.cross_entropy(student / temperature, labels)",
    "The part of the labels is softened, too; it is taken at T = 1.",
    "The temperature belongs to the teacher's part alone.",
)
wrong(
    "shares swapped",
    "alpha * hard + (1 - alpha) * temperature**2 * soft",
    "(1 - alpha) * hard + alpha * temperature**2 * soft",
    "α weighs the teacher's part; it is the share of the labels.",
    "What should be left with alpha = 1?",
)
wrong(
    "mean over the classes as well",
    ".sum(dim=1).mean()",
    ".mean()",
    "The divergence is averaged over the classes, which it is a sum over. torch's kl_div does so by default.",
    "A divergence sums over the classes; only the texts are averaged.",
)
wrong(
    "summed over the texts",
    ".sum(dim=1).mean()",
    ".sum()",
    "The divergence is summed over the texts; the loss is their mean.",
    "Twice the batch should not be twice the loss.",
)
wrong(
    "cross-entropy for the divergence",
    "(p * (log_p - log_q))",
    "(p * -log_q)",
    "The soft part is a cross-entropy; the divergence is this minus the teacher's own entropy.",
    "With the same logits on both sides, the soft part is 0.",
)
wrong(
    "a plain number",
    "return alpha * hard + (1 - alpha) * temperature**2 * soft",
    "return (alpha * hard + (1 - alpha) * temperature**2 * soft).item()",
    "The loss is right, but a number of Python's has no gradient: nothing can learn from it.",
    "item() forgets where a number came from.",
)


@distillation_loss.mistake(hint="The exponential of 700 is more than a number can hold. log_softmax knows a way.")
def overflows(student, teacher, labels, temperature, alpha):
    """The softmax is written with plain exponentials, which overflow."""
    p = (teacher.detach() / temperature).exp()
    p = p / p.sum(1, keepdim=True)
    q = (student / temperature).exp()
    q = q / q.sum(1, keepdim=True)
    soft = (p * (p.log() - q.log())).sum(1).mean()
    return alpha * torch.nn.functional.cross_entropy(student, labels) + (1 - alpha) * temperature**2 * soft


@distillation_loss.mistake(hint="The teacher does not learn: teacher.detach().")
def the_teacher_learns(student, teacher, labels, temperature, alpha):
    """The gradient flows into the teacher as well, which would move towards its student."""
    log_p = torch.log_softmax(teacher / temperature, dim=1)
    log_q = torch.log_softmax(student / temperature, dim=1)
    soft = (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()
    return alpha * torch.nn.functional.cross_entropy(student, labels) + (1 - alpha) * temperature**2 * soft
