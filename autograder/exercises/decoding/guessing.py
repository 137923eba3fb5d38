"""The exercises on guesses: which of them stay, and what replaces the first that does not."""

import numpy as np
import torch

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import decoding

# accept


def kept_in_the_library(p, q, drafted, coins):
    """The library's rule for a batch of one text."""
    return decoding.accepted(p[None], q[None], drafted[None], coins[None]).item()


accept = Exercise(
    "decoding.accept",
    reference=kept_in_the_library,
    facets={"values": 2, "after a rejection": 1, SIDE_EFFECTS: 1},
    difficulty=2,
    minutes=15,
    forbidden=("accepted", "verify"),
)


@accept.cases
def accept_cases(rng):
    def inputs(ahead, vocab, stays=None, near=1.0):
        """Coins that decide as `stays` says, with room on both sides; at random when it is None."""
        p = rng.dirichlet(np.full(vocab, near), size=ahead)
        q = rng.dirichlet(np.full(vocab, near), size=ahead)
        # The draft has drawn what it thinks likely and the target less so: else every guess would stay.
        drafted = np.array([int(np.argmax(b - a)) for a, b in zip(p, q, strict=True)])
        ratio = p[np.arange(ahead), drafted] / q[np.arange(ahead), drafted]
        stays = rng.random(ahead) < 0.5 if stays is None else np.array(stays)
        part = rng.uniform(0.1, 0.9, size=ahead)
        coins = np.where(stays, part * ratio, ratio + part * (1 - ratio))
        return dict(p=p, q=q, drafted=drafted, coins=coins)

    vocab = int(rng.integers(4, 8))
    yield Case("all stay", **inputs(4, vocab, [True] * 4))
    yield Case("the first goes", **inputs(3, vocab, [False, False, False]))
    yield Case("the third goes", **inputs(3, vocab, [True, True, False]))
    yield Case("one guess that stays", **inputs(1, vocab, [True]))
    yield Case("one guess that goes", **inputs(1, vocab, [False]))
    agree = inputs(3, vocab)
    yield Case("target and draft agree", **(agree | {"p": agree["q"], "coins": rng.uniform(0.9, 0.99, size=3)}))
    likely = inputs(3, vocab)
    p, q = likely["q"], likely["p"]  # the target thinks each guess likelier than the draft did
    yield Case("likelier for the target", **(likely | {"p": p, "q": q, "coins": rng.uniform(0.9, 0.99, size=3)}))
    halves = {"p": np.array([[0.5, 0.5], [0.25, 0.75]]), "q": np.array([[0.5, 0.5], [0.5, 0.5]])}
    yield Case("a coin that equals p/q", **halves, drafted=np.array([1, 0]), coins=np.array([0.5, 0.5]))
    never = {"p": np.array([[1.0, 0.0]]), "q": np.array([[0.25, 0.75]])}
    yield Case("impossible for the target", **never, drafted=np.array([1]), coins=np.array([0.0]))
    later = "after a rejection"
    yield Case("the second goes, the third would stay", later, **inputs(3, vocab, [True, False, True]))
    yield Case("the first goes, the others would stay", later, **inputs(5, vocab, [False, True, True, True, True]))
    yield Case("some go", later, **inputs(6, vocab, [True, True, False, True, False, True]))


@accept.probe
def ask_accept(answer, p, q, drafted, coins):
    import torch

    return {"guesses that stay": int(answer(*(torch.from_numpy(array) for array in (p, q, drafted, coins))))}


def one_by_one(p, q, drafted, coins):
    stay = 0
    for place, token in enumerate(drafted.tolist()):
        if coins[place] >= p[place, token] / q[place, token]:
            break
        stay += 1
    return stay


@accept.alternative
def without_dividing(p, q, drafted, coins):
    row = torch.arange(len(drafted))
    fits = coins * q[row, drafted] < p[row, drafted]
    return int(fits.int().cumprod(0).sum())


@accept.alternative
def first_that_goes(p, q, drafted, coins):
    chosen = drafted.unsqueeze(1)
    ratio = (p.gather(1, chosen) / q.gather(1, chosen)).squeeze(1).clamp(max=1)
    goes = torch.nonzero(coins >= ratio)
    return goes[0].item() if len(goes) else len(drafted)


accept.slip(
    "p and q exchanged",
    one_by_one,
    "p[place, token] / q[place, token]",
    "q[place, token] / p[place, token]",
    cause="The ratio is q/p: guesses that the target likes are rejected and those it dislikes are kept.",
    hint="The target gives a guess probability 0. Should it stay?",
)
accept.slip(
    "goes on after a rejection",
    one_by_one,
    "break",
    "continue",
    cause="Guesses behind a rejected one are judged too; but they continue a text that is no longer written.",
    hint="The second guess is rejected and replaced. What was the third one a continuation of?",
)
accept.slip(
    "no coin",
    one_by_one,
    "coins[place] >= p[place, token] / q[place, token]",
    "p[place, token] < q[place, token]",
    cause="Every guess likelier for the draft than for the target is rejected; it should stay with probability p/q.",
    hint="With p = 0.4 and q = 0.5, how often should the guess stay?",
)
accept.slip(
    "only the likeliest token stays",
    one_by_one,
    "coins[place] >= p[place, token] / q[place, token]",
    "p[place].argmax() != token",
    cause="A guess stays only when it is the target's likeliest token: the rule of greedy decoding.",
    hint="Where do the coins come in?",
)
accept.slip(
    "coin against p",
    one_by_one,
    "p[place, token] / q[place, token]",
    "p[place, token]",
    cause="A guess stays with probability p; but it was already drawn with probability q.",
    hint="Draft and target agree. How often should a guess stay then?",
)
accept.slip(
    "coin read the wrong way round",
    one_by_one,
    ">=",
    "<",
    cause="A guess is rejected with probability min(1, p/q) instead of being kept with it.",
    hint="If p is larger than q, may the guess ever be rejected?",
)
accept.slip(
    "the rejected one is counted",
    one_by_one,
    "            break\n        stay += 1",
    "            return stay + 1\n        stay += 1",
    cause="The guess that was rejected is counted among those that stay.",
    hint="The first guess is rejected. How many stay?",
)


@accept.mistake(hint="Each guess has its own coin, and what came before it has already been accepted.")
def by_the_chance_of_the_whole_beginning(p, q, drafted, coins):
    """The ratios are multiplied up to each place, so a guess pays for those before it once more."""
    row = torch.arange(len(drafted))
    ratio = (p[row, drafted] / q[row, drafted]).cumprod(0)
    return int((coins < ratio).int().cumprod(0).sum())


# residual_distribution

residual_distribution = Exercise(
    "decoding.residual_distribution",
    reference=decoding.residual_distribution,
    facets={"values": 2, "batches": 1, "equal distributions": 1},
    difficulty=1,
    minutes=10,
    forbidden=("residual_distribution",),
)


@residual_distribution.cases
def residual_cases(rng):
    def inputs(*shape, zeros=False, dtype=np.float64):
        def rows():
            weights = rng.random(shape) + 0.05
            if zeros:
                weights *= rng.random(shape) > 0.4
                weights[..., int(rng.integers(shape[-1]))] += 0.2
            return (weights / weights.sum(-1, keepdims=True)).astype(dtype)

        return dict(p=rows(), q=rows())

    vocab = int(rng.integers(4, 9))
    yield Case("two distributions", **inputs(vocab))
    yield Case("some tokens impossible", **inputs(vocab + 3, zeros=True))
    yield Case("nothing in common", p=np.array([0.0, 0.3, 0.7, 0.0]), q=np.array([0.5, 0.0, 0.0, 0.5]))
    yield Case("a target that is certain", p=np.eye(vocab)[1], q=inputs(vocab)["q"])
    yield Case("nearly the same", p=np.array([0.5, 0.5]), q=np.array([0.5 + 2**-30, 0.5 - 2**-30]))
    yield Case("float32", **inputs(vocab, dtype=np.float32))
    yield Case("rows of a batch", "batches", **inputs(3, vocab))
    yield Case("as many rows as tokens", "batches", **inputs(2, 4, 4))
    yield Case("a draft that says nothing", "equal distributions", p=inputs(vocab)["p"], q=np.zeros(vocab))
    same = inputs(vocab)["p"]
    yield Case("target and draft agree", "equal distributions", p=same, q=same.copy())
    both = inputs(3, vocab)
    both["q"][1] = both["p"][1]
    yield Case("they agree in one row", "equal distributions", **both)


@residual_distribution.probe
def ask_residual(answer, p, q):
    import torch

    return {"distribution": answer(torch.from_numpy(p), torch.from_numpy(q))}


def what_is_left(p, q):
    more = (p - q).clamp(min=0)
    total = more.sum(-1, keepdim=True)
    return torch.where(total > 0, more / total, p)


@residual_distribution.alternative
def row_by_row(p, q):
    result = p.clone()
    for row, target, draft in zip(
        result.view(-1, p.shape[-1]), p.view(-1, p.shape[-1]), q.view(-1, p.shape[-1]), strict=True
    ):
        more = [max(a - b, 0.0) for a, b in zip(target.tolist(), draft.tolist(), strict=True)]
        if sum(more) > 0:
            row.copy_(torch.tensor(more, dtype=torch.float64) / sum(more))
    return result


@residual_distribution.alternative
def from_the_smaller_of_both(p, q):
    left = p - torch.minimum(p, q)
    none = left.sum(-1, keepdim=True) == 0
    left = left + none * p
    return left / left.sum(-1, keepdim=True)


residual_distribution.slip(
    "not clipped at zero",
    what_is_left,
    ".clamp(min=0)",
    "",
    cause="Where the draft has more than the target the difference is negative; these tokens must get probability 0.",
    hint="Print your result. Can a probability be negative?",
)
residual_distribution.slip(
    "not renormalised",
    what_is_left,
    "more / total",
    "more",
    cause="What is left does not sum to one.",
    hint="Sum your result. From what should one be able to draw?",
)
residual_distribution.slip(
    "p and q exchanged",
    what_is_left,
    "p - q",
    "q - p",
    cause="This is what the draft has too much of; drawn shall be what the target still lacks.",
    hint="A token that the draft never proposes: how does it ever get written?",
)
residual_distribution.slip(
    "distance instead of surplus",
    what_is_left,
    "(p - q).clamp(min=0)",
    "(p - q).abs()",
    cause="The sign of the difference is lost, so tokens of which the draft has too much are drawn too.",
    hint="Which tokens were proposed too rarely, and which too often? Only one kind needs making up for.",
)
residual_distribution.slip(
    "not a number where they agree",
    what_is_left,
    "torch.where(total > 0, more / total, p)",
    "more / total",
    cause="Where p and q are equal nothing is left, and 0/0 is no number.",
    hint="Try p = q. What should the result be according to the text?",
)
residual_distribution.slip(
    "drawn from the target itself",
    what_is_left,
    "torch.where(total > 0, more / total, p)",
    "p",
    cause="After a rejection the target's whole distribution is used; what the draft brings already is brought twice.",
    hint="A token has p = q = 0.5: guessed, it always stays. May it also come as a replacement?",
)
residual_distribution.slip(
    "normalised over the whole batch",
    what_is_left,
    "more.sum(-1, keepdim=True)",
    "more.sum()",
    cause="What is left is divided by the sum over all rows; each row is a distribution of its own.",
    hint="Along which axis do the probabilities of one place stand?",
)
