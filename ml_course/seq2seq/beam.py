r"""Beam search: of all ways to continue, keep the few best ones at every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ml_course.text import Vocabulary


class Beams(NamedTuple):
    r"""What a search found, for each row the best first."""

    tokens: Int[Tensor, "batch beam time"]  # without the prompt; the end token is the last, then filler
    log_probability: Float[Tensor, "batch beam"]  # of all these tokens after the prompt, in nats
    score: Float[Tensor, "batch beam"]  # log_probability / length^α; −∞ where there were fewer ways than places
    length: Int[Tensor, "batch beam"]  # tokens, the end token among them
    ended: Bool[Tensor, "batch beam"]  # False where the steps ran out before the end token came

    def best(self) -> list[list[int]]:
        r"""For each row the tokens of its best way, the end token among them."""
        pairs = zip(self.tokens[:, 0].tolist(), self.length[:, 0].tolist(), strict=True)
        return [tokens[:length] for tokens, length in pairs]


def length_normalised(
    log_probability: Float[Tensor, "*beams"], length: Int[Tensor, "*beams"], alpha: float
) -> Float[Tensor, "*beams"]:
    r"""What hypotheses are ranked by: log P(tokens) / length^α.

    alpha   0 ranks by probability, which favours what is short; 1 by the mean over the tokens
    Source: wu2016google, section 7, has ((5 + length)/6)^α for length^α.

    >>> length_normalised(torch.tensor([-2.0, -3.0]), torch.tensor([1, 3]), alpha=1.0)
    tensor([-2., -1.])
    """
    return log_probability / length.clamp(min=1) ** alpha


@torch.no_grad()
def beam_search(
    model: Callable[..., Any],
    prompt: Int[Tensor, "batch time"],
    steps: int,
    *,
    eos: int,
    beam: int = 5,
    alpha: float = 0.0,
    filler: int = 0,
    stateful: bool = False,
) -> Beams:
    r"""Continues each row of the prompt in the `beam` ways that score best, as far as the search can see.

    At every step each way is extended by every token, and of all extensions the `beam` best stay. A way that ended
    keeps its place while it is good enough, and is never extended. It stops when all ways have ended.

    model      as of `rnn.generation.generate`: model(tokens) → logits (rows, time, vocab); with `stateful`
               model(tokens, state) → logits, state, called with the prompt and None, then with the newest tokens. Its
               rows are batch·beam, those of one prompt side by side
    steps      how many tokens at most are added
    eos        the token that ends a way; it counts as one of its tokens
    beam       1 is greedy search; with as many places as there are ways the result is the best of all
    alpha      of `length_normalised`
    filler     the token that follows the end token in the result
    A state is a tensor or a tuple of tensors `layers batch hidden`, or has a method `rows(chosen)` that gives the state
    of the chosen rows. Raises: ValueError when beam or steps is below 1, the prompt is empty or eos is no token.
    Cost: steps · the model's on batch·beam rows. Source: graves2012transduction; sutskever2014sequence, section 3.2.

    >>> next_token = torch.tensor([[0, 0, 0.6, 0.4], [0, 1, 0, 0], [0, 0.4, 0.3, 0.3], [0, 1, 0, 0]]).log()
    >>> greedy, wide = (
    ...     beam_search(lambda tokens: next_token[tokens], torch.tensor([[0]]), 5, eos=1, beam=b) for b in (1, 2)
    ... )
    >>> greedy.best(), greedy.log_probability.exp(), wide.best(), wide.log_probability.exp()
    ([[2, 1]], tensor([[0.2400]]), [[3, 1]], tensor([[0.4000, 0.2400]]))
    """
    if beam < 1 or steps < 1:
        raise ValueError(f"beam = {beam}, steps = {steps}: expected at least 1")
    if prompt.shape[1] == 0:
        raise ValueError(f"prompt has shape {tuple(prompt.shape)}, expected at least one token to begin with")
    batch, start = prompt.shape
    tokens = new = prompt.repeat_interleave(beam, dim=0)
    state, ended = None, torch.zeros(batch, beam, dtype=torch.bool, device=prompt.device)
    length = torch.zeros(batch, beam, dtype=torch.long, device=prompt.device)
    first_rows = torch.arange(batch, device=prompt.device)[:, None] * beam
    total = None
    for _ in range(steps):
        if stateful:
            logits, state = model(new, state)
        else:
            logits = model(tokens)
        exact = torch.promote_types(logits.dtype, torch.float32)  # sums of many rounded numbers go astray
        step = logits[:, -1].log_softmax(-1, dtype=exact).unflatten(0, (batch, beam))
        vocab = step.shape[-1]
        if not 0 <= eos < vocab:
            raise ValueError(f"eos = {eos} is no token: the model has {vocab}")
        if total is None:  # at first all ways are the same one
            total = step.new_full((batch, beam), -torch.inf)
            total[:, 0] = 0
        # A way that ended has one continuation, itself: nothing is added to its probability or its length.
        itself = torch.full_like(step[0, 0], -torch.inf)
        itself[eos] = 0
        step = torch.where(ended[..., None], itself, step)
        extended = total[..., None] + step
        longer = (length + ~ended)[..., None].expand_as(extended)
        scores = length_normalised(extended, longer, alpha).flatten(1)
        chosen = scores.topk(beam, dim=1).indices
        origin, token = chosen // vocab, chosen % vocab
        total, length = extended.flatten(1).gather(1, chosen), longer.flatten(1).gather(1, chosen)
        before = ended.gather(1, origin)
        ended = before | (token == eos) | (total == -torch.inf)  # a place without a way waits for nothing
        rows = (first_rows + origin).flatten()
        new = token.masked_fill(before, filler).flatten()[:, None]
        tokens = torch.cat([tokens[rows], new], dim=1)
        state = None if state is None else rows_of(state, rows)
        if ended.all():
            break
    score = length_normalised(total, length, alpha)
    return Beams(tokens[:, start:].unflatten(0, (batch, beam)), total, score, length, ended)


def rows_of(state: Any, chosen: Int[Tensor, " rows"]) -> Any:
    r"""The state of the chosen rows of a batch, in their order: the second axis of `layers batch hidden`.

    Raises: TypeError for what is neither a tensor, nor a tuple of such, nor has `rows`.
    """
    if hasattr(state, "rows"):
        return state.rows(chosen)
    if isinstance(state, Tensor):
        return state.index_select(1, chosen)
    if isinstance(state, tuple):
        return tuple(rows_of(part, chosen) for part in state)
    raise TypeError(f"state is a {type(state).__name__}, expected tensors, tuples of them, or a method `rows`")


def times_over(tokens: Int[Tensor, "rows time"], source: Int[Tensor, "batch key"]) -> int:
    r"""How many ways of each source a search continues: rows / batch, those of one source side by side.

    Raises: ValueError for rows that are no multiple of the sources.

    >>> times_over(torch.zeros(6, 1, dtype=torch.long), torch.zeros(2, 5, dtype=torch.long))
    3
    """
    times, rest = divmod(len(tokens), len(source))
    if rest or not times:
        raise ValueError(f"tokens has {len(tokens)} rows, expected a multiple of the {len(source)} sources")
    return times


def translations(
    model: Callable[..., Any],
    source: Int[Tensor, "batch key"],
    steps: int,
    *,
    beam: int = 1,
    alpha: float = 0.0,
    stateful: bool = False,
) -> list[list[int]]:
    r"""The target tokens of each source as `beam_search` finds them from <bos> on, without <bos> and <eos>.

    model   the language model of the target given these sources; the other arguments are those of `beam_search`
    """
    prompt = torch.full((len(source), 1), Vocabulary.bos, device=source.device)
    found = beam_search(model, prompt, steps, eos=Vocabulary.eos, beam=beam, alpha=alpha, stateful=stateful)
    return [[token for token in row if token != Vocabulary.eos] for row in found.best()]
