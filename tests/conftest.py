"""What all tests share: few threads, one seed, and the devices this machine has."""

import matplotlib
import pytest
import torch

matplotlib.use("Agg")  # no window, whatever the machine
torch.set_num_threads(1)  # the tests' matrices are small, and several workers share the cores


@pytest.fixture(autouse=True)
def same_seed():
    """Every test starts from the same random state, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> torch.device:
    """The processor, and the graphics card where there is one."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)
