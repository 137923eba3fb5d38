r"""Speculative decoding: a cheap draft guesses several tokens ahead, the target judges all of them in one pass.

Whatever the draft guesses, the text is distributed exactly as the target alone would write it: each guess is accepted
with the probability min(1, p/q), and the first that is not is replaced by a draw from what p has more of than q.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ml_course.decoding.cache import KVCache
from ml_course.decoding.grouped import can_cache, grouped
from ml_course.rnn import NGram, temperature, top_k, top_p
from ml_course.transformer import TransformerLM

Distribution = Callable[[Tensor], Tensor]
Draft = Callable[[Tensor, int, torch.Generator | None], tuple[Tensor, Tensor]]


def distribution(degree: float | int = 1.0, *, k: int | None = None, p: float | int | None = None) -> Distribution:
    r"""Makes the function from logits to the probabilities of which `rnn.sampling` draws with the same arguments.

    degree   of the temperature; 0 is the limit, greedy: all probability at the largest logit

    >>> distribution(0)(torch.tensor([0.1, 3.0, 0.2]))
    tensor([0., 1., 0.])
    >>> distribution(k=2)(torch.tensor([0.5, 0.3, 0.2]).log())
    tensor([0.6250, 0.3750, 0.0000])
    """

    def probabilities(logits: Tensor) -> Tensor:
        exact = torch.promote_types(logits.dtype, torch.float32)
        if degree == 0:
            return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(exact)
        logits = temperature(logits, degree)
        logits = logits if k is None else top_k(logits, k)
        logits = logits if p is None else top_p(logits, p)
        return logits.softmax(-1, dtype=exact)

    return probabilities


def acceptance(p: Float[Tensor, "*batch vocab"], q: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch"]:
    r"""How likely the target p accepts a token that the draft q has drawn.

    α = Σ q(x) min(1, p(x)/q(x)) = Σ min(p(x), q(x)) = 1 − ½ Σ |p(x) − q(x)|

    Source: leviathan2023fast, theorem 3.5.

    >>> acceptance(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.5, 0.25]))
    tensor(0.7500)
    """
    return torch.minimum(p, q).sum(-1)


def residual_distribution(
    p: Float[Tensor, "*batch vocab"], q: Float[Tensor, "*batch vocab"]
) -> Float[Tensor, "*batch vocab"]:
    r"""What is drawn from after a rejection: where p has more than q, by how much it has more.

    max(0, p(x) − q(x)) / Σ max(0, p − q)

    Where p = q nothing is ever rejected, and p is returned. With q = 0 everywhere it is p.
    Source: leviathan2023fast, algorithm 1; chen2023accelerating, algorithm 2.

    >>> residual_distribution(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.2, 0.3, 0.5]))
    tensor([0.6000, 0.4000, 0.0000])
    """
    more = (p - q).clamp(min=0)
    total = more.sum(-1, keepdim=True)
    return torch.where(total > 0, more / total.masked_fill(total == 0, 1), p)


def accepted(
    p: Float[Tensor, "batch ahead vocab"],
    q: Float[Tensor, "batch ahead vocab"],
    drafted: Int[Tensor, "batch ahead"],
    coins: Float[Tensor, "batch ahead"],
) -> Int[Tensor, " batch"]:
    r"""How many guesses stay: token i does if all before it do and u < pᵢ(xᵢ)/qᵢ(xᵢ), u its coin.

    coins   uniform in 0 ≤ u < 1
    Source: leviathan2023fast, algorithm 1.

    >>> p, q = torch.tensor([[[0.2, 0.8], [0.4, 0.6]]]), torch.tensor([[[0.4, 0.6], [0.4, 0.6]]])
    >>> guesses = torch.tensor([[0, 0]])
    >>> [accepted(p, q, guesses, torch.tensor([[u, 0.9]])).item() for u in (0.4, 0.6)]
    [2, 0]
    """
    of_p, of_q = (x.gather(2, drafted[..., None])[..., 0] for x in (p, q))
    stays = coins * of_q < of_p  # u < p/q, without dividing
    return stays.long().cumprod(1).sum(1)


class Verdict(NamedTuple):
    r"""What becomes of a draft: how many of its tokens stay, and the one that follows them."""

    accepted: Int[Tensor, " batch"]  # 0 to ahead
    token: Int[Tensor, " batch"]  # the replacement of the first rejected one, or the bonus after all


def verify(
    p: Float[Tensor, "batch places vocab"],
    q: Float[Tensor, "batch ahead vocab"],
    drafted: Int[Tensor, "batch ahead"],
    generator: torch.Generator | None = None,
) -> Verdict:
    r"""Judges tokens that were drawn from q so that the result is a draw from p.

    Which of them stay: `accepted`. The first that does not is replaced by a draw from the residual of pᵢ and qᵢ; if all
    stay, one more is drawn from the last p, a bonus.

    p   the target's probabilities at each of the drafted tokens' places and at the one after: ahead + 1 places
    q   the draft's, from which `drafted` was drawn
    Raises: ValueError when p has not one place more than q. Cost: O(batch·ahead·vocab).
    Source: leviathan2023fast, algorithm 1; chen2023accelerating, algorithm 2.

    >>> certain = torch.eye(3)  # the target wants 0, then 1, then 2
    >>> verify(certain[None], certain[None, [0, 2]], torch.tensor([[0, 2]]))
    Verdict(accepted=tensor([1]), token=tensor([1]))
    """
    batch, ahead = drafted.shape
    if p.shape[1] != ahead + 1:
        raise ValueError(f"p has {p.shape[1]} places for {ahead} drafted tokens, expected {ahead + 1}: one more")
    coins = torch.rand(batch, ahead, generator=generator, device=p.device, dtype=p.dtype)
    stay = accepted(p[:, :ahead], q, drafted, coins)
    # A draft that says nothing stands behind the last guess: the residual of p and 0 is p, the bonus token's.
    q = F.pad(q, (0, 0, 0, 1))
    row = torch.arange(batch, device=p.device)
    left = residual_distribution(p[row, stay], q[row, stay])
    return Verdict(stay, torch.multinomial(left, 1, generator=generator)[:, 0])


class Reader:
    r"""A model that reads one text, of which the end may be taken back: it reads again only what is new.

    model   a language model; one with `MultiHeadAttention` is copied, see `grouped`

    >>> from ml_course.transformer import LMConfig
    >>> reader, text = Reader(TransformerLM(LMConfig.TINY)), torch.arange(6)
    >>> reader(text[:4], kept=0).shape, reader(torch.tensor([0, 1, 7, 8]), kept=2).shape
    (torch.Size([4, 20]), torch.Size([2, 20]))
    """

    def __init__(self, model: TransformerLM, capacity: int | None = None):
        self.model = model if can_cache(model.decoder.layers) else grouped(model)
        self.caches = tuple(KVCache(capacity) for _ in self.model.decoder.layers)

    def __call__(self, tokens: Int[Tensor, " time"], kept: int) -> Float[Tensor, "new vocab"]:
        r"""Logits after each token that had not been read; what was read from position `kept` on is forgotten.

        tokens   the whole text, the first `kept` of them as at the last call
        Raises: ValueError when nothing is new.
        """
        kept = min(kept, len(self.caches[0]))
        if not 0 <= kept < len(tokens):
            raise ValueError(f"kept = {kept} of {len(tokens)} tokens, expected at least one to read")
        for cache in self.caches:
            cache.rewind(kept)
        return self.model(tokens[None, kept:], self.caches)[0]


class ModelDraft:
    r"""Guesses with a smaller language model, one token after the other; its cache follows what was accepted.

    draft(tokens, count, generator) → the guesses (count,), and the probabilities (count, vocab) they were drawn from.

    model     of the same vocabulary as the target
    choosing  from logits to probabilities, as `distribution` makes it. Any will do, the result stays exact; the
              target's own accepts most
    """

    def __init__(self, model: TransformerLM, choosing: Distribution, capacity: int | None = None):
        self.reader, self.choosing = Reader(model, capacity), choosing

    def __call__(
        self, tokens: Int[Tensor, " time"], count: int, generator: torch.Generator | None = None
    ) -> tuple[Int[Tensor, " count"], Float[Tensor, "count vocab"]]:
        start, seen = len(tokens), []
        for _ in range(count):
            # The last token is always new: a replacement, a bonus, or the guess just made.
            seen.append(self.choosing(self.reader(tokens, len(tokens) - 1)[-1]))
            tokens = torch.cat([tokens, torch.multinomial(seen[-1], 1, generator=generator)])
        return tokens[start:], torch.stack(seen)


class NGramDraft:
    r"""Guesses with counts: no network at all, so a guess costs next to nothing.

    Called as `ModelDraft`. The probabilities after a context are worked out once and kept.

    model     counts of the target's tokens
    choosing  of the logarithms of its probabilities
    """

    def __init__(self, model: NGram, choosing: Distribution):
        self.model, self.choosing = model, choosing
        self._known: dict[tuple[int, ...], Tensor] = {}

    def __call__(
        self, tokens: Int[Tensor, " time"], count: int, generator: torch.Generator | None = None
    ) -> tuple[Int[Tensor, " count"], Float[Tensor, "count vocab"]]:
        reach = self.model.order - 1
        context, guesses, seen = tokens[len(tokens) - min(reach, len(tokens)) :].tolist(), [], []
        for _ in range(count):
            key = tuple(context[max(0, len(context) - reach) :])
            if key not in self._known:
                found = torch.from_numpy(self.model.distribution(np.array(key, dtype=np.int64)))
                self._known[key] = self.choosing(found.float().log()).to(tokens.device)
            seen.append(self._known[key])
            guesses.append(torch.multinomial(seen[-1], 1, generator=generator))
            context.append(int(guesses[-1]))
        return torch.cat(guesses), torch.stack(seen)


class Speculated(NamedTuple):
    r"""A text, and what it took to write it."""

    tokens: Int[Tensor, " time"]  # with the prompt
    calls: int  # passes of the target
    drafted: int  # guesses that the target has judged
    accepted: int  # guesses that stayed

    @property
    def acceptance(self) -> float:
        r"""The share of judged guesses that stayed; a guess behind a rejected one was not judged."""
        return self.accepted / self.drafted if self.drafted else float("nan")


@torch.no_grad()
def speculate(
    target: TransformerLM,
    draft: Draft,
    prompt: Int[Tensor, " time"],
    steps: int,
    *,
    ahead: int = 4,
    choosing: Distribution | None = None,
    generator: torch.Generator | None = None,
    eos: int | None = None,
) -> Speculated:
    r"""Continues one text as the target would alone, with fewer passes of the target.

    Each round the draft guesses `ahead` tokens, the target reads them in one pass, `verify` keeps a beginning and adds
    a token of the target's own, and the caches forget what was not kept.

    target    a model in evaluation mode
    draft     `ModelDraft`, `NGramDraft`, or anything called as they are
    steps     tokens to add
    ahead     guesses in a round; fewer in the last
    choosing  from the target's logits to probabilities; greedy, `distribution(0)`, when None
    generator of the random numbers, on the prompt's device
    eos       the token that ends the text; nothing follows it. None: nothing ends it
    Raises: ValueError when the prompt is empty, steps is negative or ahead below 1.
    Cost: at most `steps` passes of the target, at best steps/(ahead + 1), each over ahead + 1 tokens.
    Source: leviathan2023fast, algorithm 1; chen2023accelerating, algorithm 2.

    >>> from ml_course.transformer import LMConfig
    >>> model, greedy = TransformerLM(LMConfig.TINY), distribution(0)
    >>> result = speculate(model, ModelDraft(model, greedy), torch.tensor([1, 2]), steps=10, ahead=4)
    >>> len(result.tokens), result.calls, result.acceptance  # its own draft: all accepted, five tokens a pass
    (12, 2, 1.0)
    """
    if steps < 0 or ahead < 1:
        raise ValueError(f"steps = {steps}, ahead = {ahead}: expected steps from 0 and ahead from 1 on")
    if len(prompt) == 0:
        raise ValueError("prompt is empty, expected at least one token to begin with")
    choosing = distribution(0) if choosing is None else choosing
    stop, tokens, reader = len(prompt) + steps, prompt, Reader(target, len(prompt) + steps + 1)
    calls = judged = stayed = 0
    while len(tokens) < stop:
        count = min(ahead, stop - len(tokens) - 1)
        if count:
            guesses, q = draft(tokens, count, generator)
        else:  # one token is left to write: nothing to guess ahead of
            guesses, q = tokens[:0], None
        logits = reader(torch.cat([tokens, guesses]), len(tokens) - 1)[-count - 1 :]
        p = choosing(logits)
        q = p[:0] if q is None else q.to(p)
        verdict = verify(p[None], q[None], guesses[None], generator)
        kept = int(verdict.accepted)
        calls, judged, stayed = calls + 1, judged + min(kept + 1, count), stayed + kept
        new = torch.cat([guesses[:kept], verdict.token])
        if eos is not None and (new == eos).any():
            end = int((new == eos).nonzero()[0])
            return Speculated(torch.cat([tokens, new[: end + 1]]), calls, judged, stayed)
        tokens = torch.cat([tokens, new])
    return Speculated(tokens, calls, judged, stayed)
