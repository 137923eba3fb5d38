r"""Weights to and from `torch.nn.Transformer`: the layers, without embeddings and last linear layer, which it lacks."""

from __future__ import annotations

from torch import nn

from ml_course.attention import MultiHeadAttention
from ml_course.transformer.layers import DecoderLayer, EncoderLayer, FeedForward, LayerNorm, Stack

ATTENTIONS = {"attention": "self_attn", "cross_attention": "multihead_attn"}  # our names and torch's
NORMS = {"encoder": ("attention", "feed_forward"), "decoder": ("attention", "cross_attention", "feed_forward")}


def stacks_from_torch(theirs: nn.Transformer) -> tuple[Stack, Stack]:
    r"""Encoder and decoder with the weights of torch's Transformer, post-norm or pre-norm, in evaluation mode.

    torch puts a LayerNorm after each stack in both forms, the paper after none; here it is kept where there is one.
    torch's masks are True where one may *not* attend: `~mask` of ours. Its dropout inside the attention is left out.

    >>> import torch
    >>> theirs = nn.Transformer(8, 2, 1, 1, dim_feedforward=16, batch_first=True).eval()
    >>> (encoder, decoder), x, y = stacks_from_torch(theirs), torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    >>> torch.allclose(decoder(y, encoder(x)), theirs(x, y), atol=1e-5)
    True
    """
    encoder, decoder = (
        _stack_from_torch(stack, decoder) for stack, decoder in ((theirs.encoder, False), (theirs.decoder, True))
    )
    return encoder.eval(), decoder.eval()


def stacks_to_torch(encoder: Stack, decoder: Stack) -> nn.Transformer:
    r"""torch's Transformer (batch first, without dropout) with the weights of these stacks, in evaluation mode.

    Where a stack has no final norm, torch's has none. Raises: ValueError for layers that torch's have no room for:
    attention that is no `MultiHeadAttention`, or a network that is no `FeedForward`.

    >>> import torch
    >>> from ml_course.transformer.model import Transformer
    >>> ours, x, y = Transformer(), torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    >>> theirs = stacks_to_torch(ours.encoder, ours.decoder)
    >>> torch.allclose(ours.decoder(y, ours.encoder(x)), theirs(x, y), atol=1e-5)
    True
    """
    for stack in (encoder, decoder):
        for layer in stack.layers:
            _check(layer)
    first = encoder.layers[0]
    attention, network = first.attention.sublayer, first.feed_forward.sublayer
    width = attention.query.in_features
    options = dict(
        dim_feedforward=network.wider.out_features,
        dropout=0.0,
        activation=network.activation,
        layer_norm_eps=first.attention.norm.epsilon,
        batch_first=True,
        norm_first=first.attention.pre_norm,
        bias=network.wider.bias is not None,
    )
    # Built first, because torch warns of a shortcut for padding that it cannot take with every setting.
    layer = nn.TransformerEncoderLayer(width, attention.heads, **options)
    norm = nn.LayerNorm(width, options["layer_norm_eps"], bias=options["bias"])
    their_encoder = nn.TransformerEncoder(layer, len(encoder.layers), norm, enable_nested_tensor=False)
    theirs = nn.Transformer(
        width,
        attention.heads,
        num_decoder_layers=len(decoder.layers),
        custom_encoder=their_encoder,
        **options,
    ).to(attention.query.weight)
    for stack, mine in ((theirs.encoder, encoder), (theirs.decoder, decoder)):
        for layer, own in zip(stack.layers, mine.layers, strict=True):
            _give(own, layer)
        if isinstance(mine.norm, LayerNorm):
            _give_norm(mine.norm, stack.norm)
        else:
            stack.norm = None
    return theirs.eval()


def _stack_from_torch(stack: nn.TransformerEncoder | nn.TransformerDecoder, decoder: bool) -> Stack:
    kind, layers = DecoderLayer if decoder else EncoderLayer, []
    for layer in stack.layers:
        attentions = [
            MultiHeadAttention.from_torch(getattr(layer, name))
            for name in (ATTENTIONS.values() if decoder else ("self_attn",))
        ]
        network = FeedForward(
            layer.linear1.in_features,
            layer.linear1.out_features,
            activation=layer.activation,
            dropout=layer.dropout.p,
            bias=layer.linear1.bias is not None,
        ).to(layer.linear1.weight)  # the dtype first, so that no copy rounds
        network.wider.load_state_dict(layer.linear1.state_dict())
        network.narrower.load_state_dict(layer.linear2.state_dict())
        ours = kind(
            layer.linear1.in_features, *attentions, network, pre_norm=layer.norm_first, dropout=layer.dropout1.p
        ).to(layer.linear1.weight)
        for number, name in enumerate(NORMS["decoder" if decoder else "encoder"], start=1):
            _copy_norm(getattr(layer, f"norm{number}"), getattr(ours, name).norm)
        layers.append(ours)
    built = Stack(layers, layers[0].attention.norm.weight.numel(), final_norm=stack.norm is not None)
    built.to(stack.layers[0].linear1.weight)
    if stack.norm is not None:
        _copy_norm(stack.norm, built.norm)
    return built


def _copy_norm(theirs: nn.LayerNorm, ours: LayerNorm) -> None:
    ours.epsilon = theirs.eps
    shift = ours.bias.data.zero_() if theirs.bias is None else theirs.bias.data
    ours.load_state_dict({"weight": theirs.weight.data, "bias": shift})


def _give(ours: EncoderLayer | DecoderLayer, theirs: nn.Module) -> None:
    """Copies one layer's weights to torch's."""
    decoder = isinstance(ours, DecoderLayer)
    for mine, name in ATTENTIONS.items():
        if mine == "attention" or decoder:
            getattr(theirs, name).load_state_dict(getattr(ours, mine).sublayer.to_torch().state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.sublayer.wider.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.sublayer.narrower.state_dict())
    for number, name in enumerate(NORMS["decoder" if decoder else "encoder"], start=1):
        _give_norm(getattr(ours, name).norm, getattr(theirs, f"norm{number}"))


def _give_norm(ours: LayerNorm, theirs: nn.LayerNorm) -> None:
    theirs.weight.data.copy_(ours.weight.data)
    if theirs.bias is not None:
        theirs.bias.data.copy_(ours.bias.data)


def _check(layer: nn.Module) -> None:
    """Complains about what torch's layers have no room for."""
    wanted = {"attention": MultiHeadAttention, "cross_attention": MultiHeadAttention, "feed_forward": FeedForward}
    for name, kind in wanted.items():
        if hasattr(layer, name) and not isinstance(getattr(layer, name).sublayer, kind):
            found = type(getattr(layer, name).sublayer).__name__
            raise ValueError(f"{name} is a {found}, expected {kind.__name__}: torch has no other")
