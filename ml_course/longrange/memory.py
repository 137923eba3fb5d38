r"""How much memory a computation takes: at its peak, and kept between the way forward and the way back."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile


def peak_bytes(run: Callable[[], Any], device: torch.device | str = "cpu") -> int:
    r"""The most bytes of tensors that `run()` held at any one time, above what was held before.

    On the processor the profiler reports every block that torch's allocator gives and takes back, so temporary tensors
    inside of an operation count too, and what other programs do does not. On a graphics card the allocator keeps count
    itself. What is returned by `run` is counted: it was held.

    Cost: `run` once, somewhat slower than alone.

    >>> peak_bytes(lambda: torch.ones(1000).exp())  # the ones and their exponentials, 4,000 bytes each
    8000
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler writes to the terminal that it starts and stops
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        run()
    # One event for each block taken (positive) or given back (negative).
    events = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def saved_bytes(run: Callable[[], Any], *, but: tuple[Tensor, ...] = ()) -> int:
    r"""Bytes that autograd keeps for the way back while `run()` computes forward: activations, counted once each.

    but   tensors not to count, such as parameters, which are there anyway

    >>> x = torch.randn(10, requires_grad=True)
    >>> saved_bytes(lambda: x.exp().exp())  # exp keeps its result: two times ten numbers of four bytes
    80
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in but}
    kept: dict[int, Tensor] = {}  # holding them keeps their addresses from being given to others

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in known:
            kept[place] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
