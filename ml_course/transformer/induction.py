r"""Induction heads: how two layers learn to go on as they have seen it before, and how one finds them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import MultiHeadAttention


def repeated_sequences(
    batch: int, half: int, vocab: int, generator: torch.Generator | None = None
) -> Int[Tensor, "batch time"]:
    r"""Random tokens, and the same once more: nobody can guess the first half, and the second can be looked up.

    x = r₁ … r_half r₁ … r_half,  r drawn uniformly from 0 … vocab − 1.  Source: olsson2022context.

    >>> x = repeated_sequences(2, half=3, vocab=10)
    >>> x.shape, torch.equal(x[:, :3], x[:, 3:])
    (torch.Size([2, 6]), True)
    """
    return torch.randint(vocab, (batch, half), generator=generator).repeat(1, 2)


def second_half_loss(model: Callable[[Tensor], Tensor], tokens: Int[Tensor, "batch time"]) -> Float[Tensor, ""]:
    r"""Mean surprise, in nats, at the tokens of the second half that can be looked up: all but its first."""
    half = tokens.shape[1] // 2
    logits = model(tokens[:, :-1])[:, half:]
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, half + 1 :].flatten())


@torch.no_grad()
def attention_maps(model: nn.Module, *inputs: Tensor) -> dict[str, Float[Tensor, "*batch heads query key"]]:
    r"""The weights of every `MultiHeadAttention` in the model while it reads these inputs, by the module's name.

    The model runs once as it is; then each attention is asked again for its weights, with what it was called with.

    >>> from ml_course.transformer.language import TransformerLM
    >>> maps = attention_maps(TransformerLM(), torch.zeros(1, 5, dtype=torch.long))
    >>> {name: weights.shape for name, weights in maps.items()}
    {'decoder.layers.0.attention.sublayer': torch.Size([1, 2, 5, 5])}
    """
    called, hooks = {}, []
    for name, module in model.named_modules():
        if isinstance(module, MultiHeadAttention):

            def remember(module: nn.Module, arguments: tuple, name: str = name) -> None:
                called[name] = (module, arguments)

            hooks.append(module.register_forward_pre_hook(remember))
    try:
        model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: module(*arguments, return_weights=True)[1] for name, (module, arguments) in called.items()}


def prefix_matching_score(weights: Float[Tensor, "*batch query key"], half: int) -> Float[Tensor, "*batch"]:
    r"""How much a head looks, from a token of the second half, at the token *after* its twin in the first half.

    mean over t = half … 2·half − 1 of weights[t, t − half + 1]: 1 for a perfect induction head.

    weights   of one sequence of `repeated_sequences`; Raises: ValueError when it is not of length 2·half, or half < 2.
    Source: olsson2022context, appendix.

    >>> look = torch.zeros(6, 6)
    >>> look[3, 1] = look[4, 2] = look[5, 3] = 1
    >>> prefix_matching_score(look, half=3)
    tensor(1.)
    """
    return _diagonal(weights, half, half - 1)


def previous_token_score(weights: Float[Tensor, "*batch query key"], half: int) -> Float[Tensor, "*batch"]:
    r"""How much a head looks, from a token of the second half, at the token just before it.

    mean over t = half … 2·half − 1 of weights[t, t − 1]. Arguments and errors as of `prefix_matching_score`.
    """
    return _diagonal(weights, half, 1)


def _diagonal(weights: Tensor, half: int, back: int) -> Tensor:
    if half < 2 or weights.shape[-2:] != (2 * half, 2 * half):
        raise ValueError(
            f"weights has shape {tuple(weights.shape)}, expected (…, {2 * half}, {2 * half}) for half = {half} of at "
            "least 2"
        )
    return weights.diagonal(-back, dim1=-2, dim2=-1)[..., half - back :].mean(-1)
