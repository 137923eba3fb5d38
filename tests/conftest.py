"""What all tests share: few threads, one seed, the devices this machine has, one browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
import torch

matplotlib.use("Agg")  # no window, whatever the machine
BROWSER_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
BROWSER_REQUIRED = os.environ.get("CI") or os.environ.get("COURSE_REQUIRE_BROWSER") == "1"
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


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium, started once: Playwright allows one in a process. CHROMIUM may name the program."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)")
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with sync_api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        program = program or (own if Path(own).is_file() else None)
        if program is None:
            reason = "no Chromium here: `apt-get install chromium`, or name it in CHROMIUM"
            pytest.fail(reason) if BROWSER_REQUIRED else pytest.skip(reason)
        started = playwright.chromium.launch(executable_path=program, args=BROWSER_OPTIONS)
        yield started
        started.close()
