"""The wire carries plain values and nothing else."""

import json

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from autograder import wire
from autograder.wire import Array, Other, pack, plain, unpack

dtypes = st.sampled_from(["bool", "uint8", "int32", "int64", "float16", "float32", "float64"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
arrays = npst.arrays(dtypes, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
values = st.recursive(scalars | arrays, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


def equal(a, b):
    if isinstance(a, Array):
        return isinstance(b, Array) and a.dtype == b.dtype and np.array_equal(a.data, b.data, a.data.dtype.kind == "f")
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@given(st.dictionaries(st.text(), values, max_size=4))
def test_what_is_packed_comes_back(sent):
    sent = plain(sent)
    assert equal(unpack(pack(sent)), sent)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool]
)
def test_torch_keeps_the_name_of_its_type(dtype):
    back = unpack(pack({"x": plain(torch.ones(2, 3, dtype=dtype).T)}))["x"]
    assert back.dtype == str(dtype) and back.data.shape == (3, 2) and (back.data == 1).all()


class Liar(np.ndarray):
    pass


class Lazy:
    def __array__(self, *args, **kwargs):
        raise AssertionError("nothing of a foreign object may run")


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2).view(Liar),
        Lazy(),
        lambda: 0,
        np.array([object()]),
        np.zeros(2, dtype=complex),
        torch.zeros(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(),
        (x for x in ()),
        {1, 2},
        type("MyStr", (str,), {})("text"),
        type("MyTensor", (torch.Tensor,), {})(),
    ],
)
def test_what_is_not_plain_arrives_as_the_name_of_its_type(value):
    back = unpack(pack({"x": plain(value)}))["x"]
    assert isinstance(back, Other) and type(value).__name__ in back.type_name


def test_deep_nesting_and_long_text_are_cut():
    nested = []
    nested.append(nested)
    unpack(pack({"x": plain(nested)}))
    assert len(unpack(pack({"x": plain("a" * 10**6)}))["x"]) == wire.LONGEST_TEXT


def test_large_results_are_refused():
    with pytest.raises(ValueError, match="larger than 64 MB"):
        pack({"x": plain(np.zeros(9 * 2**20))})


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(message):
    with pytest.raises(ValueError, match="message"):
        unpack(message)


@pytest.mark.parametrize(
    "outline", ["[]", '{"x": {"array": "7", "dtype": "f"}}', '{"x": {"scalar": {}}}', "{", '{"x": 3}']
)
def test_crafted_headers_are_refused(outline):
    message = safetensors.numpy.save({"0": np.zeros(2)}, metadata={"outline": outline})
    with pytest.raises(ValueError, match="message"):
        unpack(message)


def test_the_header_is_json_that_anyone_can_read():
    message = pack({"x": plain(np.zeros(2)), "n": 3})
    header = json.loads(message[8 : 8 + int.from_bytes(message[:8], "little")])
    assert header["0"]["dtype"] == "F64" and json.loads(header["__metadata__"]["outline"])["n"] == {"scalar": 3}


def test_the_order_in_memory_is_kept():
    turned = unpack(pack({"x": plain(np.arange(6.0).reshape(2, 3).T)}))["x"].data
    assert turned.tolist() == [[0, 3], [1, 4], [2, 5]] and not turned.flags.c_contiguous and turned.flags.f_contiguous
