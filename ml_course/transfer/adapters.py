r"""Adapters: small networks with a bottleneck, put between the layers of a frozen model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.transfer.freezing import freeze, trainable

WHERE = ("attention.sublayer.output", "feed_forward.sublayer.narrower")  # the end of both branches of a layer


class Adapter(nn.Module):
    r"""A detour through a bottleneck, added to what comes in.

    x + f(x Dᵀ + d) Uᵀ + u,  U = 0 and u = 0 at the start, so that it begins as the identity

    d_model      width of what comes in
    bottleneck   width between the two matrices
    activation   f
    Has 2·d_model·bottleneck + d_model + bottleneck numbers. D starts normal with deviation 0.01.
    Raises: ValueError when a width is below 1. Source: houlsby2019parameter, section 2.1 and figure 2; there both
    matrices start near zero, so near the identity.

    >>> import torch
    >>> x = torch.randn(3, 5, 8)
    >>> torch.equal(Adapter(8, 2)(x), x), sum(p.numel() for p in Adapter(8, 2).parameters())
    (True, 42)
    """

    def __init__(self, d_model: int, bottleneck: int, *, activation: Callable[[Tensor], Tensor] = F.gelu):
        super().__init__()
        if d_model < 1 or bottleneck < 1:
            raise ValueError(f"d_model = {d_model}, bottleneck = {bottleneck}: expected at least 1")
        self.down, self.up = nn.Linear(d_model, bottleneck), nn.Linear(bottleneck, d_model)
        self.activation = activation
        nn.init.normal_(self.down.weight, std=0.01)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return x + self.up(self.activation(self.down(x)))


def add_adapters(
    model: nn.Module, bottleneck: int = 16, names: Sequence[str] = WHERE, *, but: Sequence[str] = ()
) -> int:
    r"""Freezes the model and puts an `Adapter` behind each linear layer of these names; returns how many learn.

    names   last parts of names of linear layers, or whole ones; in a Transformer where each branch ends, before it is
            added to the road around it
    but     names of what goes on learning beside it, as `freeze` takes them: norms, a new head
    Unlike LoRA's changes, adapters stay: nothing linear can take in what has an activation inside.
    Raises: ValueError when a name fits no linear layer. Source: houlsby2019parameter, section 2.1.

    >>> network = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> add_adapters(network, 2, ["0"], but=["2"])
    32
    """
    chosen = []
    for name in names:
        found = [
            whole
            for whole, part in model.named_modules()
            if isinstance(part, nn.Linear) and (whole == name or whole.endswith(f".{name}"))
        ]
        if not found:
            raise ValueError(f"names has {name!r}, which fits no linear layer of the model")
        chosen += [whole for whole in found if whole not in chosen]
    freeze(model, but)
    for whole in chosen:
        above, _, last = whole.rpartition(".")
        linear = model.get_submodule(whole)
        adapter = Adapter(linear.weight.shape[0], bottleneck).to(linear.weight)
        setattr(model.get_submodule(above), last, nn.Sequential(linear, adapter))
    return trainable(model)
