"""What an answer leaves behind is seen; what leaves nothing behind is not suspected."""

import functools
import os
import signal
import sys
import threading
from types import ModuleType

import numpy as np
import pytest
import torch

from autograder.grading import state
from autograder.grading.state import Snapshot, Unseen

SESSION = """
import math
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

numbers = [1, [2, 3]]
table = {"a": {"b": [1]}}
seen = {1, 2}
_hidden = []
array = np.zeros(3)
tensor = torch.zeros(3)
weight = torch.zeros(3, requires_grad=True)
half = 0.5

def double(x, kept=[]):
    return 2 * x

def counter():
    count = [0]
    def step():
        count[0] += 1
        return count[0]
    return step

step = counter()

class Thing:
    made = 0
    def __init__(self):
        self.parts = []

    @property
    def size(self):
        return len(self.parts)

    @staticmethod
    def nothing(kept={}):
        return kept

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)

thing, layer = Thing(), Layer()
"""
HARMLESS = [
    "double(3)",
    "double(torch.ones(3, requires_grad=True)).sum().backward()",
    "Thing().parts.append(1)",
    "layer.inner(torch.ones(1, 2))",
    "sorted(numbers[1]), table.get('c'), array + 1, tensor.exp(), thing.size",
    "np.random.rand(2), torch.rand(2)",
    "__import__('colorsys')",
]
CHANGES = [
    "numbers.append(1)",
    "numbers[1][0] = 5",
    "table['a']['b'].append(2)",
    "seen.add(3)",
    "_hidden.append(1)",
    "array[1] = 1",
    "tensor.add_(1)",
    "tensor.data[0] = 1",
    "tensor.numpy()[2] = 4",
    "weight.sum().backward()",
    "double.__defaults__[0].append(1)",
    "double.calls = 1",
    "double.__code__ = (lambda x, kept=0: x).__code__",
    "step()",
    "setattr(Thing, 'made', 1)",
    "Thing.nothing.__defaults__[0].update(a=1)",
    "thing.parts.append(1)",
    "thing.__dict__.update(new=1)",
    "layer.inner.weight.data.zero_()",
    "layer.train(False)",
    "globals().update(added=1)",
    "globals().update(half=0.25)",
    "globals().pop('half')",
    "globals().update(double=lambda x: x)",
    "setattr(torch, 'softmax', None)",
    "setattr(torch.Tensor, 'exp', None)",
    "setattr(F, 'softmax', max)",
    "delattr(math, 'exp')",
    "setattr(__import__('builtins'), 'sum', max)",
    "torch.set_default_dtype(torch.float64)",
    "torch.set_grad_enabled(False)",
    "np.seterr(all='raise')",
    "__import__('os').environ.update(LEFT='1')",
    "__import__('os').chdir('/')",
    "open('/tmp/left-by-an-answer', 'w').close()",
    "__import__('os').dup(0)",
    "__import__('sys').setrecursionlimit(12345)",
    "__import__('signal').signal(__import__('signal').SIGALRM, print)",
    "__import__('gc').disable()",
    "__import__('threading').Timer(5, print).start()",
]
UNSEEN = [
    "stream = open('/dev/null')",
    "generator = np.random.default_rng(0)",
    "large = np.zeros(10**6)",
    "many = [[] for _ in range(10_000)]",
    "strange = torch.zeros(2, dtype=torch.bfloat16)",
    "objects = np.array([[], {}], dtype=object)",
    "import functools\n@functools.cache\ndef slow(x):\n    return x",
    "ongoing = iter([1, 2])",
    "import collections\nqueue = collections.deque([1])",
    "class Slots:\n    __slots__ = ('a', '__dict__')\nslots = Slots()",
    "class Number(int):\n    pass\nnumber = Number(3)",
]


@pytest.fixture
def namespace(monkeypatch):
    """A session's names, and everything of this process put back as it was afterwards."""
    names = {"__name__": "__main__"}
    exec(SESSION, names)
    patched = [(vars(sys.modules[name]), dict(vars(sys.modules[name]))) for name in state.PATCHABLE]
    alarm, recursion, environment = signal.getsignal(signal.SIGALRM), sys.getrecursionlimit(), dict(os.environ)
    monkeypatch.chdir("/tmp")
    descriptors, errors = set(os.listdir("/proc/self/fd")), np.geterr()
    yield names
    for now, before in patched:
        for name in [name for name, value in now.items() if name not in before and not isinstance(value, ModuleType)]:
            del now[name]
        now.update(before)
    if "exp" in vars(torch.Tensor):
        del torch.Tensor.exp
    signal.signal(signal.SIGALRM, alarm)
    sys.setrecursionlimit(recursion)
    os.environ.clear()
    os.environ.update(environment)
    np.seterr(**errors)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    __import__("gc").enable()
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()
            thread.join()
    for handle in set(os.listdir("/proc/self/fd")) - descriptors:
        try:
            os.close(int(handle))
        except OSError:
            continue
    if os.path.exists("/tmp/left-by-an-answer"):
        os.remove("/tmp/left-by-an-answer")


@pytest.mark.parametrize("code", HARMLESS)
def test_what_leaves_no_trace_is_not_suspected(namespace, code):
    before = Snapshot(namespace)
    exec(f"def answer():\n    return {code}", made := dict(namespace))
    function = type(namespace["double"])(made["answer"].__code__, namespace)
    function()
    assert before.unchanged()


@pytest.mark.parametrize("code", CHANGES)
def test_every_trace_is_seen(namespace, code):
    before = Snapshot(namespace)
    exec(code, namespace)
    assert not before.unchanged()


@pytest.mark.parametrize("code", UNSEEN)
def test_what_cannot_be_seen_into_is_said(namespace, code):
    exec(code, namespace)
    with pytest.raises(Unseen):
        Snapshot(namespace)


def test_a_growing_object_is_not_followed_for_ever(namespace):
    namespace["ring"] = ring = []
    ring.append(ring)
    assert Snapshot(namespace).unchanged()


def test_a_library_function_is_not_looked_into(namespace):
    namespace["reduced"] = functools.reduce
    namespace["vander"] = np.vander
    assert Snapshot(namespace).unchanged()
