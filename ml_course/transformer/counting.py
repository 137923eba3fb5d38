r"""What a Transformer costs: parameters, multiplications and memory, by formula; and the memory of a run, measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ml_course.transformer.model import TransformerConfig


def parameters(config: TransformerConfig) -> dict[str, int]:
    r"""How many numbers are learned, by part: d = d_model, f = d_ff.

    attention 4d² + 4d,  feed_forward 2df + f + d,  a norm 2d;  an encoder layer has 1, 1 and 2 of them, a decoder
    layer 2, 1 and 3. Source: vaswani2017attention, section 3; table 3 rounds its two sizes to 65 and 213 million.

    >>> sum(parameters(TransformerConfig.BASE).values()), sum(parameters(TransformerConfig.BIG).values())
    (63082496, 214245376)
    """
    d, f = config.d_model, config.d_ff
    attention, network, norm = 4 * d * d + 4 * d, 2 * d * f + f + d, 2 * d
    tables = {"none": config.source_vocab + 2 * config.target_vocab, "all": config.target_vocab}
    return {
        "embeddings": d * tables.get(config.tie, config.source_vocab + config.target_vocab),
        "attention": (config.encoder_layers + 2 * config.decoder_layers) * attention,
        "feed_forward": (config.encoder_layers + config.decoder_layers) * network,
        "norms": (2 * config.encoder_layers + 3 * config.decoder_layers + 2 * config.pre_norm) * norm,
    }


def flops(config: TransformerConfig, source: int, target: int, batch: int = 1) -> dict[str, int]:
    r"""Floating point operations of one forward pass, by part: a multiplication and an addition are two.

    A matrix of a × b numbers costs 2ab for each token. Attention between n queries and m keys costs 4nmd more: 2nmd for
    the scores and as much for the averages. The last layer costs 2d·vocab. A backward pass costs twice a forward pass:
    each matrix product has two operands, and each wants its gradient. What is not a matrix product is left out, and a
    causal mask saves nothing, as `torch.utils.flop_counter` counts it too.

    source, target   tokens on each side
    """
    d, f = config.d_model, config.d_ff
    encoder, decoder = config.encoder_layers, config.decoder_layers
    of_self = encoder * source + decoder * target  # tokens that go through a self-attention
    return {
        "projections": 2 * batch * d * d * (4 * of_self + decoder * (2 * target + 2 * source)),
        "scores": 4 * batch * d * (encoder * source**2 + decoder * (target**2 + target * source)),
        "feed_forward": 4 * batch * d * f * of_self,
        "output": 2 * batch * target * d * config.target_vocab,
    }


def training_bytes(numbers: int, *, size: int = 4, moments: int = 2) -> int:
    r"""Memory in bytes that learning needs before the first example: weights, gradients, the optimiser's moments.

    size      bytes of a number: 4 for float32
    moments   numbers an optimiser keeps for each weight: 2 for Adam, 0 for plain SGD

    >>> round(training_bytes(sum(parameters(TransformerConfig.BASE).values())) / 2**30, 2)
    0.94
    """
    return numbers * size * (2 + moments)


def activation_bytes(run: Callable[[], Any], model: nn.Module) -> int:
    r"""Memory in bytes that `run()` keeps for its backward pass, the model's own weights not counted: measured.

    Every tensor an operation saves is noted; what shares a storage counts once. A fused attention kernel saves nothing
    that grows with query × key, the formula written out does.

    >>> import torch
    >>> layer, x = nn.Linear(4, 4), torch.randn(3, 4, requires_grad=True)
    >>> activation_bytes(lambda: layer(x), layer)  # x itself, 12 numbers of 4 bytes
    48
    """
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = tensor  # held, so that its place in memory is not used again
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()
        total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del result
    return total
