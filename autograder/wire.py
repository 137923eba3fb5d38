"""What may pass between a student's process and a judge's: plain arrays, numbers and text, never code.

`plain` turns what a probe returned into such values by exact type, so that a subclass with its own `__eq__` or a lazy
object arrives as nothing but its type's name. `pack` and `unpack` carry them as safetensors bytes: arrays in the body,
everything else as JSON in the header.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy

LARGEST_MESSAGE = 64 * 2**20  # bytes
LARGEST_OUTLINE = 8 * 2**20  # bytes of a message that are not array data: read into Python objects, one by one
LONGEST_TEXT = 20_000  # characters
LONGEST_NAME = 100
DEEPEST_NESTING = 8
SCALARS = (bool, int, float, type(None))


@dataclass(frozen=True, eq=False)
class Array:
    """Numbers with the name of the type they had: `float64` from NumPy, `torch.bfloat16` from torch."""

    data: np.ndarray
    dtype: str

    @property
    def described(self) -> str:
        return f"{self.dtype} {self.data.shape}"


@dataclass(frozen=True)
class Other:
    """Something that cannot pass; only its type's name does."""

    type_name: str


def plain(value: Any, depth: int = 0) -> Any:
    """`value` as something that can pass: scalars and text as they are, arrays as `Array`, containers of these."""
    kind = type(value)
    if kind in SCALARS or kind in (Array, Other):
        return value
    if kind is str:
        return value[:LONGEST_TEXT]
    if isinstance(value, np.generic) and kind.__module__ == "numpy":
        value, kind = np.asarray(value), np.ndarray
    if kind is np.ndarray:
        return Array(np.array(value, order="A"), str(value.dtype)) if value.dtype.kind in "biuf" else _other(value)
    if kind.__module__.startswith("torch"):
        return _from_torch(value)
    if depth < DEEPEST_NESTING:
        if kind in (list, tuple):
            return [plain(item, depth + 1) for item in value]
        if kind is dict:
            return {str(key): plain(item, depth + 1) for key, item in value.items()}
    return _other(value)


def _other(value: Any) -> Other:
    dtype = getattr(value, "dtype", None) if type(value).__module__ in ("numpy", "torch") else None
    return Other(type(value).__name__[:LONGEST_NAME] + (f" of {dtype}" if dtype is not None else ""))


def _from_torch(value: Any) -> Any:
    import torch

    if type(value) is torch.Size:
        return [int(size) for size in value]
    if type(value) is torch.dtype:
        return str(value)
    if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.layout != torch.strided or value.is_complex():
        return _other(value)
    label = str(value.dtype)
    data = value.detach().cpu()
    if data.dtype in (torch.bfloat16, torch.float16):
        data = data.float()  # NumPy has no bfloat16; float32 holds either exactly
    return Array(np.array(data.resolve_conj().resolve_neg().numpy(), order="C"), label)


def whole(text: str) -> str:
    """Text that can be written to a file: half characters (lone surrogates) become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def weight(value: Any) -> int:
    """Bytes of array data in a plain value."""
    if isinstance(value, Array):
        return value.data.nbytes
    if isinstance(value, list | dict):
        return sum(map(weight, value.values() if isinstance(value, dict) else value))
    return 0


def pack(values: dict[str, Any]) -> bytes:
    """Plain values as bytes: `ValueError` when they are larger than a message may be."""
    if weight(values) > LARGEST_MESSAGE:
        raise ValueError(f"the result is larger than {LARGEST_MESSAGE // 2**20} MB")
    arrays: dict[str, np.ndarray] = {}

    def outline(value: Any) -> Any:
        if isinstance(value, Array):
            turned = value.data.flags.f_contiguous and not value.data.flags.c_contiguous  # keep the memory order
            arrays[str(len(arrays))] = np.array(value.data.T if turned else value.data, order="C")
            return {"array": str(len(arrays) - 1), "dtype": value.dtype, "turned": turned}
        if isinstance(value, Other):
            return {"other": value.type_name}
        if isinstance(value, list):
            return {"list": [outline(item) for item in value]}
        if isinstance(value, dict):
            return {"dict": {key: outline(item) for key, item in value.items()}}
        return {"scalar": value}

    text = json.dumps({key: outline(value) for key, value in values.items()})
    return safetensors.numpy.save(arrays, metadata={"outline": text})


def unpack(message: bytes) -> dict[str, Any]:
    """The values again: `ValueError` when the bytes are not such a message."""
    if not 8 <= len(message) <= LARGEST_MESSAGE + 2**20:
        raise ValueError(f"a message of {len(message)} bytes")
    (length,) = struct.unpack("<Q", message[:8])
    if length > LARGEST_OUTLINE:
        raise ValueError(f"a message with an outline of {length} bytes")
    try:
        arrays = safetensors.numpy.load(message)
        outline = json.loads(json.loads(message[8 : 8 + length])["__metadata__"]["outline"])

        def restore(node: dict) -> Any:
            ((kind, value),) = ((key, node[key]) for key in ("array", "other", "list", "dict", "scalar") if key in node)
            match kind:
                case "array":
                    return Array(
                        arrays[value].T if node["turned"] else arrays[value], whole(str(node["dtype"])[:LONGEST_NAME])
                    )
                case "other":
                    return Other(whole(str(value)[:LONGEST_NAME]))
                case "list":
                    return [restore(item) for item in value]
                case "dict":
                    return {whole(str(key)): restore(item) for key, item in value.items()}
                case _:
                    if type(value) not in (*SCALARS, str):
                        raise ValueError(f"a scalar of type {type(value).__name__}")
                    return whole(value) if type(value) is str else value

        return {str(key): restore(node) for key, node in outline.items()}
    except (safetensors.SafetensorError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a message of plain values: {type(error).__name__}") from None
