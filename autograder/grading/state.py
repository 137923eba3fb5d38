"""What an answer may leave behind in a session: seen before and after it was asked.

Asking an answer in a fork of its own is what keeps its faults from the next, and is most of what a submission costs.
Where nothing it could have changed has changed, the next answer may be asked in the same process. What cannot be seen
into (an open file, a random generator, a million numbers) counts as changed. Nothing here is a wall: a process that
lies about itself only spoils its own next answers.
"""

from __future__ import annotations

import contextlib
import gc
import operator
import os
import re
import signal
import sys
import threading
import types
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

MOST = 4_000  # objects looked into
LARGEST = 2**20  # bytes of an array that is read
SHELLS = re.compile(r"_+|_i+\d*|_\d+|_[iod]h|__\w+__|In|Out|exit|quit|get_ipython|open")  # names IPython itself keeps
ATOMS = (int, float, complex, str, bytes, bool, range, types.NoneType, np.generic, np.dtype, types.CodeType)
# Known by what they are: nothing that runs in them can change what they do next.
FIXED = (types.ModuleType, types.BuiltinFunctionType, types.EllipsisType, types.GenericAlias, slice)
FIXED += (np.ufunc, type(np.vander))
PATCHABLE = ("builtins", "math", "numpy", "numpy.linalg", "torch", "torch.linalg", "torch.nn", "torch.nn.functional")


class Unseen(Exception):
    """There is something that cannot be seen into."""


class Snapshot:
    """The state of a session at one moment; `unchanged` says whether it still is the same. Raises `Unseen`."""

    def __init__(self, namespace: dict[str, Any]):
        self.namespace = namespace
        self.kept: list[Any] = []  # so that no other object gets one's identity
        self.tokens = self._walked()
        self.patchable = [(names, dict(names)) for names in _patchable()]
        self.settings = _settings()

    def unchanged(self) -> bool:
        """Whether all that could be seen is as it was."""
        try:
            same = self.settings == _settings() and self.tokens == self._walked()
        except Unseen:
            return False
        return same and not any(_patched(now, before) for now, before in self.patchable)

    def _walked(self) -> list[Any]:
        own = {name: value for name, value in self.namespace.items() if not SHELLS.fullmatch(name)}
        tokens, todo, met = [*own], list(own.values()), set()
        while todo:
            value = todo.pop()
            tokens.append(id(value))
            if id(value) in met:
                continue
            met.add(id(value))
            self.kept.append(value)
            if len(met) > MOST:
                raise Unseen
            content, inner = self._looked_into(value)
            tokens.append(content)
            todo.extend(inner)
        return tokens

    def _looked_into(self, value: Any) -> tuple[Any, Iterable[Any]]:
        """What can be told of a value at once, and the objects that make up the rest of it."""
        kind = type(value)
        if isinstance(value, FIXED) or kind in ATOMS or isinstance(value, np.generic | np.dtype):
            return None, ()
        if kind in (list, tuple):
            return len(value), value
        if kind in (dict, OrderedDict):
            return [id(key) for key in value], value.values()
        if kind in (set, frozenset):
            return len(value), sorted(value, key=id)
        if kind is np.ndarray:
            return _bytes_of(value), ()
        if kind is types.FunctionType:
            if value.__globals__ is not self.namespace:
                return None, ()
            return id(value.__code__), [value.__defaults__, value.__kwdefaults__, vars(value), *_closed_over(value)]
        if kind in (staticmethod, classmethod):
            return None, (value.__func__,)
        if kind is property:
            return None, (value.fget, value.fset)
        torch = sys.modules.get("torch")
        if torch and kind in (torch.Tensor, torch.nn.Parameter):
            return _bytes_of(_as_numpy(value)), [value.grad] if value.is_leaf else ()
        if torch and kind in (torch.dtype, torch.device, torch.Size):
            return None, ()
        if isinstance(value, type):
            return None, _own_parts(value) if value.__module__ == "__main__" else ()
        if _is_plain(kind):
            return None, [vars(value)]
        raise Unseen


def _closed_over(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty one
            yield cell.cell_contents


def _as_numpy(tensor: Any) -> np.ndarray:
    try:
        return tensor.detach().numpy()
    except (TypeError, RuntimeError):  # a type NumPy does not have, or no plain block of numbers
        raise Unseen from None


def _bytes_of(array: np.ndarray) -> Any:
    if array.nbytes > LARGEST or array.dtype.hasobject:
        raise Unseen
    return array.shape, array.dtype.str, zlib.crc32(np.ascontiguousarray(array))


def _own_parts(kind: type) -> Iterator[Any]:
    """A class's attributes, but for those that Python makes."""
    made = (types.GetSetDescriptorType, types.MemberDescriptorType, types.MappingProxyType)
    yield from kind.__bases__
    yield from (part for name, part in vars(kind).items() if name != "_abc_impl" and not isinstance(part, made))


def _is_plain(kind: type) -> bool:
    """Whether an instance is what its `__dict__` holds: of a student's class or of torch's modules."""
    own = ("__main__", "torch.nn.modules")
    bases = [base for base in kind.__mro__ if base is not object]
    return all(base.__module__.startswith(own) and "__slots__" not in vars(base) for base in bases)


def _patchable() -> list[Mapping[str, Any]]:
    """The names by which everybody reaches Python, NumPy and torch."""
    modules = [vars(sys.modules[name]) for name in PATCHABLE if name in sys.modules]
    return [*modules, *([vars(sys.modules["torch"].Tensor)] if "torch" in sys.modules else [])]


def _patched(now: Mapping[str, Any], before: dict[str, Any]) -> bool:
    """Whether a name means something else now, or is new; a package may have loaded another of its modules."""
    if len(now) == len(before) and all(map(operator.is_, now.values(), before.values())):
        return False  # the usual case, found fast
    new = (value for name, value in now.items() if name not in before)
    changed = (now.get(name) is not value for name, value in before.items() if name != "_")  # `_` is IPython's
    return any(changed) or not all(isinstance(value, types.ModuleType) for value in new)


def _settings() -> list[Any]:
    """What else an answer could have changed for the next."""
    torch = sys.modules.get("torch")
    handlers = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGPROF, signal.SIGINT, signal.SIGTERM)]
    return [
        threading.active_count(),
        sorted(os.listdir("/proc")) if os.getpid() == 1 else None,
        sorted(os.listdir("/tmp")),
        sorted(os.listdir("/proc/self/fd")),
        os.getcwd(),
        dict(os.environ),
        handlers,
        [sys.gettrace(), sys.getprofile(), sys.getrecursionlimit(), gc.isenabled(), list(sys.path)],
        np.geterr(),
        torch and [torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()],
    ]
