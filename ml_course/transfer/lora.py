r"""LoRA: the change of a large matrix as a product of two thin ones, which alone learn."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.transfer.freezing import freeze, trainable


class LoraLinear(nn.Module):
    r"""A frozen linear layer, and beside it a change of low rank that learns.

    y = x Wᵀ + b + strength · α/r · x Aᵀ Bᵀ,  W frozen, A (rank, inputs) random, B (outputs, rank) zero at the start

    linear    the layer; its weight and bias are frozen in place and kept, not copied
    rank      r
    alpha     α; the change is scaled by α/r, so that the rate need not be tuned anew for each rank. 2·rank when None
    dropout   of what A reads
    `strength` is 1 while it learns; later any number: 0 is the layer as it was, 0.5 half the change.
    With B = 0 the layer begins as the one it wraps, bit for bit, and its first gradient goes to B alone (A's is 0).
    Adds rank·(inputs + outputs) weights. A starts as torch's linear layers do.
    Raises: ValueError when the rank is not from 1 to the smaller side of W, or a dropout is not in 0 ≤ p < 1.
    Cost: rank·(inputs + outputs) multiplications a token beside inputs·outputs; none after `merge`.
    Source: hu2022lora, section 4.1, eq. 3.

    >>> plain, x = nn.Linear(6, 4), torch.randn(3, 6)
    >>> torch.equal(LoraLinear(plain, rank=2)(x), plain(x))
    True
    """

    def __init__(self, linear: nn.Linear, rank: int, *, alpha: float | int | None = None, dropout: float | int = 0.0):
        super().__init__()
        outputs, inputs = linear.weight.shape
        if not 1 <= rank <= min(inputs, outputs):
            raise ValueError(f"rank = {rank}, expected 1 to {min(inputs, outputs)}, the smaller side of the matrix")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout = {dropout}, expected 0 ≤ dropout < 1")
        self.linear = linear.requires_grad_(False)
        self.rank, self.alpha, self.strength = rank, float(2 * rank if alpha is None else alpha), 1.0
        self.dropout = nn.Dropout(float(dropout))
        self.a = nn.Parameter(linear.weight.new_empty(rank, inputs))
        self.b = nn.Parameter(linear.weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)
        self._before: Tensor | None = None

    @property
    def merged(self) -> bool:
        r"""Whether the change is inside W at present."""
        return self._before is not None

    def change(self) -> Float[Tensor, "outputs inputs"]:
        r"""ΔW = strength · α/r · B A."""
        return (self.strength * self.alpha / self.rank) * (self.b @ self.a)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        y = self.linear(x)
        if self.merged or self.strength == 0:
            return y
        thin = F.linear(F.linear(self.dropout(x), self.a), self.b)
        return torch.add(y, thin, alpha=self.strength * self.alpha / self.rank)

    @torch.no_grad()
    def merge(self) -> LoraLinear:
        r"""Adds the change to W: the same function at the cost of the plain layer. The old W is kept for `unmerge`.

        Raises: RuntimeError when it is merged already; a second time would add the change twice.
        """
        if self.merged:
            raise RuntimeError("merge: the change is inside the weight already; unmerge first")
        self._before = self.linear.weight.detach().clone()
        self.linear.weight += self.change()
        return self

    @torch.no_grad()
    def unmerge(self) -> LoraLinear:
        r"""Puts the old W back, every bit of it: W + ΔW − ΔW would have been rounded twice.

        Raises: RuntimeError when it is not merged.
        """
        if self._before is None:
            raise RuntimeError("unmerge: the change is not inside the weight; merge first")
        self.linear.weight.copy_(self._before)
        self._before = None
        return self

    @torch.no_grad()
    def plain(self) -> nn.Linear:
        r"""A new linear layer with weight W + ΔW, which nothing tells from one that was fine-tuned."""
        outputs, inputs = self.linear.weight.shape
        layer = nn.Linear(inputs, outputs, self.linear.bias is not None, device="meta")
        weight = self.linear.weight.clone() if self.merged else self.linear.weight + self.change()
        layer.weight = nn.Parameter(weight)
        if self.linear.bias is not None:
            layer.bias = nn.Parameter(self.linear.bias.clone())
        return layer

    def extra_repr(self) -> str:
        return f"rank={self.rank}, alpha={self.alpha:g}, strength={self.strength:g}, merged={self.merged}"


def add_lora(
    model: nn.Module,
    names: Sequence[str] = ("query", "value"),
    rank: int = 8,
    *,
    alpha: float | int | None = None,
    dropout: float | int = 0.0,
    but: Sequence[str] = (),
) -> int:
    r"""Freezes the model and puts a `LoraLinear` in place of each linear layer of these names; returns how many learn.

    names   last names, as "query" for every layer's, or whole names, as "encoder.layers.5.attention.sublayer.query":
            *you* choose where the changes may be, LoRA does not
    but     names of what goes on learning beside it, as `freeze` takes them: a new head
    rank, alpha, dropout   as of `LoraLinear`
    Raises: ValueError when a name fits no linear layer (or one that has a change already).
    Source: hu2022lora, section 4.2 and 7.1: query and value in the paper.

    >>> network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> add_lora(network, ["0"], rank=2), add_lora(network, ["2"], rank=1)
    (32, 42)
    """
    inside = {f"{name}.linear" for name, _ in lora_layers(model)}
    chosen = []
    for name in names:
        found = [
            whole
            for whole, part in model.named_modules()
            if isinstance(part, nn.Linear) and whole not in inside and (whole == name or whole.endswith(f".{name}"))
        ]
        if not found:
            raise ValueError(f"names has {name!r}, which fits no linear layer without a change in the model")
        chosen += [whole for whole in found if whole not in chosen]
    learning = [f"{name}.{matrix}" for name, _ in lora_layers(model) for matrix in "ab"]
    freeze(model, [*but, *learning])
    for whole in chosen:
        above, _, last = whole.rpartition(".")
        linear = model.get_submodule(whole)
        setattr(model.get_submodule(above), last, LoraLinear(linear, rank, alpha=alpha, dropout=dropout))
    return trainable(model)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    r"""The changed layers of a model with their names, in the model's order."""
    return ((name, part) for name, part in model.named_modules() if isinstance(part, LoraLinear))


def lora_parameters(shapes: Sequence[tuple[int, int]], rank: int) -> int:
    r"""How many numbers LoRA learns in matrices of these shapes: Σ rank·(outputs + inputs).

    >>> lora_parameters([(12_288, 12_288)] * 2 * 96, rank=4)  # query and value of GPT-3, hu2022lora section 7.1
    18874368
    """
    return sum(rank * (outputs + inputs) for outputs, inputs in shapes)


def merge_lora(model: nn.Module) -> nn.Module:
    r"""Replaces every `LoraLinear` by the plain layer of the same function, in place; a copy keeps the original.

    Raises: ValueError when there is none. Source: hu2022lora, section 4.1: no additional inference latency.

    >>> network, x = nn.Sequential(nn.Linear(8, 2)), torch.randn(3, 8)
    >>> _ = add_lora(network, ["0"], rank=2)
    >>> type(merge_lora(network)[0]).__name__
    'Linear'
    """
    found = list(lora_layers(model))
    if not found:
        raise ValueError("model has no LoraLinear, expected at least one: add_lora puts them in")
    for name, layer in found:
        above, _, last = name.rpartition(".")
        setattr(model.get_submodule(above), last, layer.plain())
    return model


def set_strength(model: nn.Module, strength: float | int) -> None:
    r"""How much of the change takes part: 0 is the model as it was, 1 as it was taught; between and beyond is a dial.

    Raises: RuntimeError when a layer is merged: there the change is no longer apart.
    """
    for name, layer in lora_layers(model):
        if layer.merged:
            raise RuntimeError(f"set_strength: {name} is merged; unmerge first")
        layer.strength = float(strength)


def save_lora(model: nn.Module, path: str | os.PathLike, also: Sequence[str] = ()) -> int:
    r"""Writes A and B of every changed layer, and parameters below the names in `also` (a head), as safetensors.

    Returns how many numbers were written: all the rest is the model that others have already.
    Raises: ValueError when there is no change to save, or a name fits nothing.
    """
    layers = dict(lora_layers(model))
    if not layers:
        raise ValueError("model has no LoraLinear, expected at least one: add_lora puts them in")
    kept = {f"{name}.{matrix}": getattr(layer, matrix) for name, layer in layers.items() for matrix in "ab"}
    for name in also:
        found = {key: tensor for key, tensor in model.named_parameters() if key == name or key.startswith(f"{name}.")}
        if not found:
            raise ValueError(f"also has {name!r}, which fits no parameter of the model")
        kept |= found
    scales = {name: [layer.rank, layer.alpha] for name, layer in layers.items()}
    tensors = {name: tensor.detach().contiguous() for name, tensor in kept.items()}
    save_file(tensors, path, metadata={"format": "pt", "lora": json.dumps(scales)})
    return sum(tensor.numel() for tensor in tensors.values())


def load_lora(model: nn.Module, path: str | os.PathLike) -> nn.Module:
    r"""Puts a saved change on a model: layers that have one get the new numbers, plain linear layers are changed.

    Whatever else the file holds (a head) is loaded too; the rest of the model is frozen and stays as it is, so one
    model in memory can take on one change after another. Raises: ValueError when the file holds no change, the model
    has no such layer, or shapes differ.
    """
    with safe_open(path, framework="pt") as file:
        scales = json.loads((file.metadata() or {}).get("lora", "{}"))
        names = list(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
    if not scales:
        raise ValueError(f"{path} holds no change: expected a file that save_lora wrote")
    for name, layer in list(lora_layers(model)):
        if name not in scales:
            raise ValueError(f"model has a change at {name}, the file has none there: expected the same layers")
        if layer.merged:
            raise ValueError(f"model has merged its change at {name}; unmerge first")
    _install(model, scales)
    _fill(model, tensors, path)
    return model


def _install(model: nn.Module, scales: Mapping[str, Sequence[float | int]]) -> None:
    """A layer with the right rank and scale at each name."""
    for name, (rank, alpha) in scales.items():
        try:
            part = model.get_submodule(name)
        except AttributeError:
            part = None
        if isinstance(part, LoraLinear):
            part = part.linear
        if not isinstance(part, nn.Linear):
            raise ValueError(f"model has no linear layer {name}, but the file has a change for it")
        above, _, last = name.rpartition(".")
        setattr(model.get_submodule(above), last, LoraLinear(part, int(rank), alpha=alpha))


@torch.no_grad()
def _fill(model: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """The numbers of the file into the parameters of these names."""
    own = dict(model.named_parameters())
    for name, tensor in tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            here = tuple(own[name].shape) if name in own else "nothing"
            raise ValueError(f"{path} has {tuple(tensor.shape)} for {name}, the model has {here}")
        own[name].copy_(tensor)
    for name, parameter in own.items():
        parameter.requires_grad_(name in tensors)
