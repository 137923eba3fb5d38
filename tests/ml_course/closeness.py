"""What tests against torch share: how near is near in each dtype, and gradients of any output."""

import pytest
import torch

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 3e-2}
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def assert_close(ours, theirs, dtype=None):
    tolerance = TOLERANCE[dtype or ours.dtype]
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def gradients(output, *inputs):
    """Gradients of a fixed weighted sum of the output."""
    towards = torch.linspace(-1, 1, output.numel(), device=output.device, dtype=output.dtype).reshape(output.shape)
    return torch.autograd.grad((output * towards).sum(), inputs)
