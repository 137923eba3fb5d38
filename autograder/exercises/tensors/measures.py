"""The exercise on precision and recall."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import tensors


def both_shares(labels, predicted, classes):
    """The library's two functions under the homework's signature."""
    return tensors.precision(labels, predicted, classes), tensors.recall(labels, predicted, classes)


precision_recall = Exercise(
    "tensors.precision_recall",
    reference=both_shares,
    facets={"values": 2, "empty classes": 1},
    difficulty=1,
    minutes=15,
    forbidden=(
        "precision_score",
        "recall_score",
        "precision_recall_fscore_support",
        "classification_report",
        "confusion_matrix",
        "multilabel_confusion_matrix",
    ),
    equivalent_mutants={
        "precision[k] = right / max((predicted == k).sum(), 1) → "
        "precision[k] = right / max(1, (predicted == k).sum())": "the larger of two numbers, in either order",
        "recall[k] = right / max((labels == k).sum(), 1) → "
        "recall[k] = right / max(1, (labels == k).sum())": "the larger of two numbers, in either order",
    },
)


@precision_recall.cases
def precision_recall_cases(rng):
    def answers(samples, classes):
        """Every class occurs and is called, and class 0 is called too often."""
        labels = np.concatenate([np.arange(classes), rng.integers(0, classes, size=samples)])
        predicted = np.where(rng.random(len(labels)) < 0.3, 0, labels)
        predicted[: classes + 1] = np.append(np.roll(np.arange(classes), 1), 0)
        labels[classes] = classes - 1
        order = rng.permutation(len(labels))
        return {"labels": labels[order], "predicted": predicted[order], "classes": classes}

    yield Case("two classes", **answers(20, 2))
    yield Case("three classes", **answers(30, 3))
    yield Case("ten classes", **answers(60, int(rng.integers(8, 11))))
    labels = rng.permutation([0, 0, 1, 2])
    yield Case("nothing but right answers", labels=labels, predicted=labels.copy(), classes=3)
    yield Case("nothing but wrong answers", labels=labels, predicted=(labels + 1) % 3, classes=3)
    some = answers(20, 3)
    never = np.where(some["predicted"] == 1, 2, some["predicted"])
    yield Case("a class that is never called", "empty classes", **(some | {"predicted": never}))
    absent = np.where(some["labels"] == 1, 2, some["labels"])
    yield Case("a class that does not occur", "empty classes", **(some | {"labels": absent}))
    yield Case("the last class is in neither", "empty classes", **(some | {"classes": 4}))


@precision_recall.probe
def ask_precision_recall(answer, labels, predicted, classes):
    import numpy as np

    precision, recall = answer(labels, predicted, classes)
    return {"precision": np.asarray(precision, dtype=float), "recall": np.asarray(recall, dtype=float)}


@precision_recall.alternative
def from_the_table(labels, predicted, classes):
    table = np.zeros((classes, classes))
    np.add.at(table, (labels, predicted), 1)
    right = np.diag(table)
    return right / np.maximum(table.sum(axis=0), 1), right / np.maximum(table.sum(axis=1), 1)


@precision_recall.alternative
def by_counting_with_lists(labels, predicted, classes):
    precision, recall = [], []
    for k in range(classes):
        hits = sum(1 for y, p in zip(labels, predicted, strict=True) if y == p == k)
        called, there = list(predicted).count(k), list(labels).count(k)
        precision.append(hits / called if called else 0.0)
        recall.append(hits / there if there else 0.0)
    return np.array(precision), np.array(recall)


@precision_recall.alternative
def with_one_hot_columns(labels, predicted, classes):
    is_k, called_k = (np.eye(classes)[numbers] for numbers in (labels, predicted))
    right, called, there = (is_k * called_k).sum(axis=0), called_k.sum(axis=0), is_k.sum(axis=0)
    zeros = np.zeros(classes)
    return (
        np.divide(right, called, out=zeros.copy(), where=called > 0),
        np.divide(right, there, out=zeros.copy(), where=there > 0),
    )


def right_shares(labels, predicted, classes):
    every = np.arange(classes)[:, None]
    right = ((labels == every) & (predicted == every)).sum(axis=1)
    called, there = (predicted == every).sum(axis=1), (labels == every).sum(axis=1)
    return right / np.maximum(called, 1), right / np.maximum(there, 1)


precision_recall.slip(
    "the two exchanged",
    right_shares,
    "return right / np.maximum(called, 1), right / np.maximum(there, 1)",
    "return right / np.maximum(there, 1), right / np.maximum(called, 1)",
    cause="Precision and recall are exchanged.",
    hint="Whoever calls everything k finds all of class k. Which of the two is then 1?",
)
precision_recall.slip(
    "the two exchanged, and nothing divided by nothing",
    right_shares,
    "return right / np.maximum(called, 1), right / np.maximum(there, 1)",
    "return right / there, right / called",
    cause="Precision and recall are exchanged; besides, 0/0 gives NaN where the task asks for 0.",
    hint="Whoever calls everything k finds all of class k. Which of the two is then 1?",
)
precision_recall.slip(
    "divided by all samples",
    right_shares,
    "right / np.maximum(called, 1), right / np.maximum(there, 1)",
    "right / len(labels), right / len(labels)",
    cause="The right answers are divided by the number of all samples.",
    hint="Precision is a share of the samples that were *called* k. How many are these?",
)
precision_recall.slip(
    "nothing divided by nothing",
    right_shares,
    "right / np.maximum(called, 1), right / np.maximum(there, 1)",
    "right / called, right / there",
    cause="Where a class is never called, or does not occur, 0/0 gives NaN; the task asks for 0.",
    hint="What is the denominator for a class that nobody ever calls?",
)
precision_recall.slip(
    "right to wrong",
    right_shares,
    "right / np.maximum(called, 1), right / np.maximum(there, 1)",
    "right / np.maximum(called - right, 1), right / np.maximum(there - right, 1)",
    cause="The right ones are divided by the wrong ones; a share is the right ones divided by *all* of their kind.",
    hint="Can your result be larger than 1?",
)
precision_recall.slip(
    "classes that nobody has are left out",
    right_shares,
    "np.arange(classes)[:, None]",
    "np.unique(labels)[:, None]",
    cause="Only classes that occur among the labels get a number, so the rest of them is shifted.",
    hint="How many numbers should come out when `classes` is 4?",
)


@precision_recall.mistake(
    hint="A test for a rare disease is right about nearly all healthy people. Should that help its recall?"
)
def right_about_the_others_counted(labels, predicted, classes):
    """Samples that are not k and were not called k are counted as right: that is an accuracy."""
    every = np.arange(classes)[:, None]
    agreed = ((labels == every) == (predicted == every)).mean(axis=1)
    return agreed, agreed


@precision_recall.mistake(hint="Compute the two for class 0 alone, then for class 1 alone. Are they equal?")
def one_number_for_all(labels, predicted, classes):
    """The share of right answers over all classes is given for every class."""
    share = np.full(classes, (labels == predicted).mean())
    return share, share
