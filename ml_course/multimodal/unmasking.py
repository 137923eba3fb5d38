r"""Masked parallel decoding, as in MaskGIT and Muse: all tokens are guessed at once, the surest stay, and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.transformer import pre_norm_stack


def still_masked(step: int, steps: int, count: int) -> int:
    r"""How many of `count` masked tokens are still masked after this step of so many: few go at first, many at last.

    min(⌊count · cos(π/2 · step/steps)⌋, count − step), and 0 from the last step on: in each at least one is settled

    Raises: ValueError unless steps is at least 1, and step and count at least 0.
    Source: chang2022maskgit, section 3.3; chang2023muse, section 2.7.

    >>> [still_masked(step, 4, 16) for step in range(5)]
    [16, 14, 11, 6, 0]
    """
    if step < 0 or steps < 1 or count < 0:
        raise ValueError(f"step = {step}, steps = {steps}, count = {count}: expected at least 0, 1 and 0")
    share = math.cos(math.pi / 2 * min(step / steps, 1))
    return max(0, min(math.floor(count * share), count - step))


def unmask(
    predict: Callable[[Tensor], Tensor],
    tokens: Int[Tensor, "batch time"],
    mask_token: int,
    *,
    steps: int,
    temperature: float | int = 1.0,
    doubt: float | int = 0.0,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "batch time"]:
    r"""Fills in every masked token, many at a time, the surest first; what was there stays: the last of `unmasking`.

    predict       predict(tokens) → logits (batch, time, vocab); of any step, of all tokens at once
    temperature   of drawing the tokens; 0 takes the likeliest
    doubt         how much chance has a say in which tokens are the surest, at first; it falls to 0 by the last step
    Raises: ValueError when steps is not positive or temperature or doubt are negative. Cost: `steps` calls of predict,
    whatever the number of tokens. Source: chang2022maskgit, section 3.2; chang2023muse, section 2.7.

    >>> likes_sevens = lambda tokens: F.one_hot(torch.full_like(tokens, 7), 10).float() * 50
    >>> unmask(likes_sevens, torch.tensor([[3, 9, 9, 5]]), mask_token=9, steps=2)
    tensor([[3, 7, 7, 5]])
    """
    *_, last = unmasking(
        predict, tokens, mask_token, steps=steps, temperature=temperature, doubt=doubt, generator=generator
    )
    return last


def unmasking(
    predict: Callable[[Tensor], Tensor],
    tokens: Int[Tensor, "batch time"],
    mask_token: int,
    *,
    steps: int,
    temperature: float | int = 1.0,
    doubt: float | int = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[Int[Tensor, "batch time"]]:
    r"""As `unmask`, and yields the tokens before the first step and after each one, masks among them.

    Each step: predict all, draw a token wherever a mask is, take as confidence the probability of what was drawn, and
    put the least confident back under their masks, as many as `still_masked` says of each row.
    """
    if steps < 1 or temperature < 0 or doubt < 0:
        raise ValueError(f"steps = {steps}, temperature = {temperature}, doubt = {doubt}: expected ≥ 1, ≥ 0 and ≥ 0")
    counts = (tokens == mask_token).sum(-1).tolist()
    yield tokens
    for step in range(1, steps + 1):
        masked = tokens == mask_token
        if not masked.any():
            return
        with torch.no_grad():  # not around the yield, where other people's code runs
            logits = predict(tokens)
        no_answer = torch.arange(logits.shape[-1], device=logits.device) == mask_token
        drawn, confidence = _draw(logits.masked_fill(no_answer, -torch.inf), temperature, generator)
        if doubt:
            gumbel = -torch.empty_like(confidence).exponential_(generator=generator).log()
            confidence = confidence + doubt * (1 - step / steps) * gumbel
        confidence = confidence.masked_fill(~masked, torch.inf)  # what is known is certain
        left = torch.tensor([still_masked(step, steps, count) for count in counts], device=tokens.device)
        rank = confidence.argsort(dim=-1, stable=True).argsort(-1)  # 0 for the least confident
        tokens = torch.where(masked & (rank >= left[:, None]), drawn, tokens)
        yield tokens


def _draw(logits: Tensor, temperature: float | int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """A token for each place, and the logarithm of its probability."""
    log_p = (logits / (temperature or 1)).log_softmax(-1)
    if temperature == 0:
        drawn = log_p.argmax(-1)
    else:
        flat = log_p.exp().flatten(0, -2)
        drawn = torch.multinomial(flat, 1, generator=generator).reshape(log_p.shape[:-1])
    return drawn, log_p.gather(-1, drawn[..., None])[..., 0]


def random_mask(
    tokens: Int[Tensor, "batch time"], generator: torch.Generator | None = None
) -> Bool[Tensor, "batch time"]:
    r"""Which tokens to hide while learning: in each row a share cos(π/2 · u), u even from 0 to 1, and at least one.

    So the network sees all that it will meet on the way from all masked to none, and much of what is almost all masked.
    Source: chang2022maskgit, section 3.1 and 3.3.

    >>> random_mask(torch.zeros(2, 5, dtype=torch.long)).any(-1)
    tensor([True, True])
    """
    batch, time = tokens.shape
    made = dict(generator=generator, device=tokens.device)
    share = torch.cos(math.pi / 2 * torch.rand(batch, **made))
    count = (share * time).ceil().clamp(1, time)
    rank = torch.rand(batch, time, **made).argsort(-1).argsort(-1)
    return rank < count[:, None]


@dataclass(frozen=True)
class MaskedPictureConfig:
    r"""Sizes of a network that guesses hidden tokens of pictures."""

    vocab: int = 32  # words of the codebook; the mask is one more, the next number
    places: int = 16  # tokens of a picture
    classes: int = 10  # what can be asked for; `no_label`, the next number, asks for nothing
    d_model: int = 64
    heads: int = 4
    d_ff: int = 256
    layers: int = 2

    TINY: ClassVar[MaskedPictureConfig]

    @property
    def mask_token(self) -> int:
        r"""The token that hides another."""
        return self.vocab

    @property
    def no_label(self) -> int:
        r"""The label that says nothing."""
        return self.classes


MaskedPictureConfig.TINY = MaskedPictureConfig(6, 4, 3, d_model=8, heads=2, d_ff=16, layers=1)


class MaskedPicture(nn.Module):
    r"""P(token at each place | the tokens that are not masked, the label): BERT for pictures.

    The label is one more token, in front. (Muse reads a text instead, which its layers look at by cross-attention.)
    Source: chang2022maskgit, figure 3; here pre-norm, and learned positions.

    >>> model = MaskedPicture(MaskedPictureConfig.TINY)
    >>> model(torch.tensor([[0, 6, 6, 5]]), torch.tensor([2])).shape
    torch.Size([1, 4, 6])
    """

    def __init__(self, config: MaskedPictureConfig = MaskedPictureConfig.TINY):
        super().__init__()
        self.config, width = config, config.d_model
        self.tokens, self.labels = nn.Embedding(config.vocab + 1, width), nn.Embedding(config.classes + 1, width)
        self.positions = nn.Parameter(0.02 * torch.randn(config.places, width))
        self.layers = pre_norm_stack(width, config.heads, config.d_ff, config.layers)
        self.output = nn.Linear(width, config.vocab)

    def forward(
        self, tokens: Int[Tensor, "batch places"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch places vocab"]:
        if tokens.shape[1] != self.config.places:
            raise ValueError(f"tokens has {tokens.shape[1]} places, expected {self.config.places}")
        x = torch.cat([self.labels(labels)[:, None], self.tokens(tokens) + self.positions], dim=1)
        return self.output(self.layers(x)[:, 1:])


def masked_picture_loss(
    model: Callable[[Tensor, Tensor], Tensor],
    tokens: Int[Tensor, "batch time"],
    labels: Int[Tensor, " batch"],
    *,
    mask_token: int,
    no_label: int,
    drop: float | int = 0.1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    r"""How surprising the hidden tokens are, in nats a token: cross-entropy at the masks of `random_mask` alone.

    drop   the share of pictures whose label is left out, as in `diffusion_loss`
    Raises: ValueError when drop is not from 0 to 1. Source: chang2022maskgit, eq. 1.
    """
    if not 0 <= drop <= 1:
        raise ValueError(f"drop = {drop}, expected 0 to 1")
    hidden = random_mask(tokens, generator)
    gone = torch.rand(len(tokens), generator=generator, device=tokens.device) < drop
    logits = model(tokens.masked_fill(hidden, mask_token), torch.where(gone, no_label, labels))
    return F.cross_entropy(logits[hidden], tokens[hidden])
