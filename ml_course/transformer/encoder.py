r"""An encoder alone, and the masks that make one and the same stack of layers a reader, a writer, or both."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ml_course.attention import causal_mask
from ml_course.transformer.embedding import Embedding
from ml_course.transformer.language import LMConfig
from ml_course.transformer.layers import pre_norm_stack

FAMILIES = ("encoder-only", "decoder-only", "encoder-decoder")


def family_mask(family: str, source: int, target: int) -> Bool[Tensor, "time time"]:
    r"""Who may see whom in `source` tokens that are given, followed by `target` tokens that are to be written.

    encoder-only      everybody sees everybody
    decoder-only      each sees itself and those before it
    encoder-decoder   the source sees all of the source; each of the target all of the source, itself and the target
                      before it. Two stacks in the paper; in one stack, with this mask, it is called a prefix language
                      model
    Raises: ValueError for another name. Source: raffel2020exploring, figures 3 and 4.

    >>> family_mask("encoder-decoder", 2, 2).int()
    tensor([[1, 1, 0, 0],
            [1, 1, 0, 0],
            [1, 1, 1, 0],
            [1, 1, 1, 1]], dtype=torch.int32)
    """
    if family not in FAMILIES:
        raise ValueError(f"family = {family!r}, expected one of {', '.join(FAMILIES)}")
    time = source + target
    if family == "encoder-only":
        return torch.ones(time, time, dtype=torch.bool)
    mask = causal_mask(time)
    if family == "encoder-decoder":
        mask[:, :source] = True
    return mask


class TransformerEncoder(nn.Module):
    r"""Reads a text and says something about each token: embedding with sinusoids, layers, a linear layer.

    config   sizes; `positions` and `context` are not used
    says     how many logits each token gets; `config.vocab` when None, to guess tokens that were hidden
    Pre-norm with GELU. Source: devlin2019bert is the best known of the kind, with more around it.

    >>> model, tokens = TransformerEncoder(LMConfig.TINY), torch.tensor([[4, 5, 6], [7, 8, 0]])
    >>> model(tokens, (tokens > 0)[:, None]).shape
    torch.Size([2, 3, 20])
    """

    def __init__(self, config: LMConfig = LMConfig.TINY, says: int | None = None):
        super().__init__()
        self.config, width = config, config.d_model
        self.embedding = Embedding(config.vocab, width, dropout=config.dropout)
        self.encoder = pre_norm_stack(width, config.heads, config.d_ff, config.layers, dropout=config.dropout)
        self.output = nn.Linear(width, config.vocab if says is None else says)

    def forward(
        self, tokens: Int[Tensor, "batch time"], mask: Bool[Tensor, "*#batch #time key"] | None = None
    ) -> Float[Tensor, "batch time says"]:
        r"""Logits for each token. `mask` says who sees whom; (batch, 1, time) hides filler from all, None nothing."""
        return self.output(self.encoder(self.embedding(tokens), mask))
