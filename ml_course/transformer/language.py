r"""A decoder-only language model: a stack of layers with a causal mask, and nothing to look at but what came before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import MultiHeadAttention, causal_mask
from ml_course.rnn import Window, Windows
from ml_course.transformer.embedding import Embedding, LearnedEmbedding
from ml_course.transformer.layers import pre_norm_stack


@dataclass(frozen=True)
class LMConfig:
    r"""Sizes of a decoder-only language model, pre-norm with GELU as GPT-2 has them.

    >>> LMConfig.SMALL.d_model, LMConfig.SMALL.layers
    (256, 4)
    """

    vocab: int = 100  # tokens
    d_model: int = 64  # width of a token
    heads: int = 4
    d_ff: int = 256  # width inside the position-wise networks
    layers: int = 2
    positions: str = "learned"  # or "sinusoidal", or "none": the attention tells them, or nobody does
    context: int = 128  # how many positions are learned, so the longest input
    dropout: float = 0.0  # of what each branch adds, and of embeddings with their positions

    SMALL: ClassVar[LMConfig]  # what the chapter on decoding speeds up
    PAGE: ClassVar[LMConfig]  # what a page has time to train, see `small_language_model`
    TINY: ClassVar[LMConfig]


LMConfig.SMALL = LMConfig(vocab=256, d_model=256, heads=4, d_ff=1024, layers=4, context=1024)
LMConfig.PAGE = LMConfig(vocab=98, d_model=64, heads=4, d_ff=256, layers=2, context=512)
LMConfig.TINY = LMConfig(vocab=20, d_model=8, heads=2, d_ff=16, layers=1, context=16)


class TransformerLM(nn.Module):
    r"""P(x_{t+1} | x_1 … x_t) for every t at once: embedding with position, layers under a causal mask, softmax.

    config      sizes
    attention   attention(d_model, heads) makes each layer's attention: `MultiHeadAttention`, or one called like it
    The last linear layer is the embedding's own matrix. The layers' matrices start normal with deviation 0.02, those
    that end a branch with 0.02/√(2·layers), so that the sum of all branches does not grow with depth.
    Raises: ValueError for `positions` that are none of the three.
    Source: radford2018improving; radford2019language, section 2.3.

    >>> model = TransformerLM(LMConfig.TINY)
    >>> model(torch.zeros(2, 7, dtype=torch.long)).shape
    torch.Size([2, 7, 20])
    """

    def __init__(
        self,
        config: LMConfig = LMConfig.TINY,
        attention: Callable[[int, int], nn.Module] = MultiHeadAttention,
    ):
        super().__init__()
        self.config, width = config, config.d_model
        if config.positions == "sinusoidal":
            self.embedding = Embedding(config.vocab, width, dropout=config.dropout)
        elif config.positions in ("learned", "none"):
            context = config.context if config.positions == "learned" else None
            self.embedding = LearnedEmbedding(config.vocab, width, context, dropout=config.dropout)
        else:
            raise ValueError(f"positions = {config.positions!r}, expected 'learned', 'sinusoidal' or 'none'")
        self.decoder = pre_norm_stack(
            width, config.heads, config.d_ff, config.layers, dropout=config.dropout, attention=attention
        )
        self.output = nn.Linear(width, config.vocab, bias=False)
        self.output.weight = self.embedding.weight
        self._begin()

    def _begin(self) -> None:
        for linear in (module for module in self.decoder.modules() if isinstance(module, nn.Linear)):
            nn.init.normal_(linear.weight, std=0.02)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        for layer in self.decoder.layers:
            for last in (layer.attention.sublayer.output, layer.feed_forward.sublayer.narrower):
                nn.init.normal_(last.weight, std=0.02 / (2 * self.config.layers) ** 0.5)

    def forward(
        self, tokens: Int[Tensor, "batch time"], caches: Sequence[Any] | None = None
    ) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of what follows each token.

        caches   one for each layer, of what earlier calls saw: these tokens come after it (see the chapter on decoding)
        Raises: ValueError when the text is longer than the context.
        """
        start, time = 0 if caches is None else len(caches[0]), tokens.shape[1]
        # One newest token may look at everything there is: no mask, and so torch's quicker kernel.
        mask = causal_mask(time, start + time, device=tokens.device) if time > 1 else None
        return self.output(self.decoder(self.embedding(tokens, start), mask, caches=caches))


def next_token_loss(model: Callable[[Tensor], Tensor], window: Window) -> Float[Tensor, ""]:
    r"""Mean surprise at the next tokens in a window of text, in nats, for `ml_course.training.fit`.

    −1/n Σ log P(x_{t+1} | x_1 … x_t), where x_1 is the window's first token: nothing is carried from the one before.

    >>> import math
    >>> from ml_course.rnn import Windows
    >>> (window,) = Windows(torch.arange(5), batch=1, length=4)
    >>> next_token_loss(lambda tokens: torch.zeros(*tokens.shape, 8), window) / math.log(8)
    tensor(1.)
    """
    return F.cross_entropy(model(window.inputs).flatten(0, 1), window.targets.flatten())


@torch.no_grad()
def windowed_nats(model: Callable[[Tensor], Tensor], tokens: Int[Tensor, " time"], length: int) -> float:
    r"""Mean surprise at each token after the first, in nats, when the text is read in windows that know nothing of
    each other: what a model sees at worst. `ml_course.rnn.bits` and `perplexity` take the result.

    length   tokens in a window
    Raises: ValueError when there are fewer than two tokens. A model with dropout should be in evaluation mode.
    """
    total = 0.0
    for window in Windows(tokens, batch=1, length=length):
        total += next_token_loss(model, window).item() * window.inputs.numel()
    return total / (len(tokens) - 1)
