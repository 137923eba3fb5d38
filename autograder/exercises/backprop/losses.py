"""The exercise on softmax and cross-entropy in one."""

import numpy as np

from autograder.exercise import AUTOGRAD, Case, Exercise
from ml_course import backprop


def loss_of_the_engine(logits, labels):
    """The library's loss and what comes back through it, with the answer's signature."""
    tensor = backprop.Tensor(logits, requires_grad=True)
    loss = backprop.cross_entropy(tensor, labels)
    loss.backward()
    return loss.item(), tensor.grad


softmax_cross_entropy = Exercise(
    "backprop.softmax_cross_entropy",
    difficulty=2,
    minutes=20,
    reference=loss_of_the_engine,
    facets={"values": 1, "gradients": 2, "stability": 1},
    forbidden=(*AUTOGRAD, "softmax", "log_softmax", "cross_entropy", "CrossEntropyLoss", "nll_loss", "logsumexp"),
)


@softmax_cross_entropy.cases
def softmax_cross_entropy_cases(rng):
    def inputs(samples, classes, scale=1.0):
        return {"logits": scale * rng.normal(size=(samples, classes)), "labels": rng.integers(0, classes, size=samples)}

    samples, classes = map(int, rng.integers(2, 9, size=2))
    yield Case("random sizes", **inputs(samples, classes))
    yield Case("as many samples as classes", **inputs(4, 4))
    yield Case("one sample", **inputs(1, 5))
    yield Case("no idea at all", logits=np.zeros((3, 7)), labels=rng.integers(0, 7, size=3))
    yield Case("logits of some hundreds", "stability", **inputs(5, 3, 300.0))
    sure = inputs(3, 4)
    sure["logits"][np.arange(3), sure["labels"]] -= rng.uniform(1000, 3000, size=3)
    yield Case("very sure and very wrong", "stability", **sure)
    far = inputs(4, 3)
    far["logits"] += np.array([[-2000.0], [0.0], [2000.0], [5000.0]])
    yield Case("rows far apart", "stability", **far)


@softmax_cross_entropy.probe
def softmax_cross_entropy_probe(answer, logits, labels):
    import numpy as np

    loss, gradient = answer(logits, labels)
    return {"loss": np.asarray(loss, dtype=float), "gradient": gradient}


@softmax_cross_entropy.alternative
def with_one_hot_rows(logits, labels):
    shifted = logits - logits.max(axis=1)[:, None]
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1))[:, None]
    one_hot = np.eye(logits.shape[1])[labels]
    return -(one_hot * log_probabilities).sum() / len(labels), (np.exp(log_probabilities) - one_hot) / len(labels)


@softmax_cross_entropy.alternative
def row_by_row(logits, labels):
    loss, gradient = 0.0, []
    for row, label in zip(logits, labels, strict=True):
        log_total = np.logaddexp.reduce(row)
        loss += (log_total - row[label]) / len(labels)
        error = np.exp(row - log_total)
        error[label] -= 1
        gradient.append(error / len(labels))
    return loss, np.array(gradient)


def right_loss(logits, labels):
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    return -log_p[rows, labels].mean(), gradient / len(labels)


softmax_cross_entropy.slip(
    "gradient of the sum",
    right_loss,
    "gradient / len(labels)",
    "gradient",
    cause="The gradient belongs to the sum of the losses, but the loss is their mean.",
    hint="Repeat every sample twice: the mean loss stays the same. Does each row of your gradient?",
)
softmax_cross_entropy.slip(
    "sum instead of mean",
    right_loss,
    "-log_p[rows, labels].mean(), gradient / len(labels)",
    "-log_p[rows, labels].sum(), gradient",
    cause="The losses of the samples are added up instead of averaged.",
    hint="Should the loss of a batch of a hundred be a hundred times that of one?",
)
softmax_cross_entropy.slip(
    "probabilities alone",
    right_loss,
    "    gradient[rows, labels] -= 1\n",
    "",
    cause="The gradient is p/n: what should have been said, y, is not subtracted.",
    hint="If the prediction is perfect, what should the gradient be?",
)
softmax_cross_entropy.slip(
    "uphill and downhill confused",
    right_loss,
    "gradient / len(labels)",
    "-gradient / len(labels)",
    cause="This is y − p, the way downhill; the gradient p − y points uphill.",
    hint="Raising the logit of the true class lowers the loss. Which sign has its gradient?",
)
softmax_cross_entropy.slip(
    "one subtracted in every row",
    right_loss,
    "gradient[rows, labels] -= 1",
    "gradient[:, labels] -= 1",
    cause="`gradient[:, labels]` picks those columns in *all* rows, not one entry in each row.",
    hint="How many entries of each row does your line change?",
)
softmax_cross_entropy.slip(
    "softmax over the samples",
    right_loss,
    "np.exp(shifted).sum(axis=1, keepdims=True)",
    "np.exp(shifted).sum(axis=0, keepdims=True)",
    cause="The probabilities add up to one over the samples, not over the classes.",
    hint="Sum your probabilities along each axis. Which sums should be 1?",
)
softmax_cross_entropy.slip(
    "exponentials overflow",
    right_loss,
    "logits - logits.max(axis=1, keepdims=True)",
    "logits",
    cause="The logits go into the exponential as they are, and e¹⁰⁰⁰ is infinite.",
    hint="What may be subtracted from all logits of a row without changing its probabilities?",
)
softmax_cross_entropy.slip(
    "one maximum for all rows",
    right_loss,
    "logits.max(axis=1, keepdims=True)",
    "logits.max()",
    cause="The largest logit of the whole batch is subtracted, so a row far below it becomes log 0.",
    hint="Each row has its own softmax. Should one row's size matter to another's?",
)


@softmax_cross_entropy.mistake(hint="How small can a probability be before the computer calls it zero? log p − log Σ …")
def logarithm_of_a_rounded_probability(logits, labels):
    """The probability is computed first and may round to 0, whose logarithm is −∞."""
    rows = np.arange(len(labels))
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = grown / grown.sum(axis=1, keepdims=True)
    error = p.copy()
    error[rows, labels] -= 1
    with np.errstate(divide="ignore"):
        return -np.log(p[rows, labels]).mean(), error / len(labels)
