"""How ratios are made: turns, intervals, equal results first; and the same on another device."""

from functools import partial

import numpy as np
import pytest
import torch

from benchmarks import attention, cnn, device, gated, longrange, ratios


def stub_clock(seconds=1.0):
    def clock(run):
        run()
        return seconds

    return clock


@pytest.fixture
def here():
    """The processor with a clock that always says a second."""
    with ratios.on(ratios.Place(clock=stub_clock())):
        yield


def test_all_take_a_turn_in_each_round_in_changing_order(here):
    called = []
    seconds = ratios.interleaved({name: partial(called.append, name) for name in "abc"}, 4, warm_up=1)
    assert called[:3] == list("abc")  # warm-up
    rounds = ["".join(called[3 + 3 * i :][:3]) for i in range(4)]
    assert rounds == ["abc", "bca", "cab", "abc"]
    assert seconds == {name: [1.0] * 4 for name in "abc"}


def test_the_rubbish_is_collected_again_after_a_failure(here):
    import gc

    with pytest.raises(ZeroDivisionError):
        ratios.interleaved({"fails": lambda: 1 / 0}, 1, warm_up=0)
    assert gc.isenabled()


def test_the_ratio_is_that_of_the_medians_and_its_interval_holds_it():
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        machine = draw.uniform(1, 3, size=25)  # slow for both at once
        first, second = 2 * machine * draw.lognormal(0, 0.1, 25), machine * draw.lognormal(0, 0.1, 25)
        value, low, high = ratios.ratio(first, second)
        assert value == pytest.approx(np.median(first) / np.median(second)) and low <= value <= high
        covered += low <= 2 <= high
    assert covered >= 80


def test_a_constant_ratio_has_no_width():
    first = np.array([2.0, 4.0, 6.0, 8.0, 10.0])
    assert ratios.ratio(first, first / 2) == (2, 2, 2)


def test_different_results_are_refused_before_anything_is_timed():
    clock = []
    with ratios.on(ratios.Place(clock=clock.append)), pytest.raises(AssertionError):
        ratios.compared("row", lambda: (torch.ones(3),), lambda: (torch.ones(3) + 0.01,), "× theirs", 3)
    assert not clock


@pytest.mark.parametrize(("dtype", "right"), [(torch.float32, False), (torch.bfloat16, True)])
def test_as_much_is_forgiven_as_the_precision_lets_expect(dtype, right):
    one, other = torch.ones(3, dtype=dtype), torch.full((3,), 1.01, dtype=dtype)
    if right:
        ratios.check_equal([one], [other])
    else:
        with pytest.raises(AssertionError):
            ratios.check_equal([one], [other])


def test_threads_are_as_they_were(monkeypatch):
    before = torch.get_num_threads()
    with ratios.threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with pytest.raises(RuntimeError, match="OMP_NUM_THREADS = 4, expected 1"), ratios.threads(1):
        pass


def test_a_place_is_left_as_it_was_found():
    with ratios.on(ratios.Place("meta", torch.bfloat16)):
        with ratios.here():
            assert torch.ones(1).device.type == "meta" and torch.ones(1).dtype == torch.bfloat16
        assert torch.ones(1).device.type == "cpu"
    assert torch.ones(1).dtype == torch.float32 and ratios.Place() == ratios.PLACE


@pytest.fixture
def small(monkeypatch):
    """Every benchmark of layers in a size that takes no time."""
    monkeypatch.setattr(attention, "TOKENS", 16)
    monkeypatch.setattr(attention, "LENGTHS", (8, 16))
    monkeypatch.setattr(attention, "WIDTH", 16)
    monkeypatch.setattr(gated, "BATCH", 2)
    monkeypatch.setattr(gated, "TIME", 3)
    monkeypatch.setattr(gated, "WIDTH", 4)
    monkeypatch.setattr(longrange, "TIME", 256)
    monkeypatch.setattr(device.transformer, "BATCH", 2)
    monkeypatch.setattr(device.transformer, "TIME", 8)
    monkeypatch.setattr(device.transformer, "WIDTH", 16)
    monkeypatch.setattr(device.transformer, "D_FF", 32)
    monkeypatch.setattr(cnn, "SHAPES", (("small", (2, 3, 8, 8), (4, 3, 3, 3), {}),))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_rows_of_a_card_with_another_clock_on_the_processor(small, dtype):
    """What runs on a graphics card, but for the card: every row of it, rates and shares counted."""
    with ratios.on(ratios.Place("cpu", dtype, stub_clock(0.5), counting=True)):
        best = device.product_rate(side=32)
        rows = [device.with_share(row, "here", best) for row in device.rows(rounds=2)]
    assert best == 2 * 32**3 / 0.5
    assert all(row["ratio"] == 1 for row in rows if "memory" not in row["what"])
    timed = [row for row in rows if "flops_per_second" in row]
    assert len(timed) == len(rows) - 1  # all but the one of memory
    for row in timed:
        counted = "scaled dot product" not in row["what"]  # whose kernel on the processor torch does not count
        assert row["what"].startswith("here: ") and row["peak_bytes"] > 0 and (row["flops_per_second"] > 0) == counted
        assert row["share"] == pytest.approx(row["flops_per_second"] / best, abs=1e-4)


def test_operations_are_counted():
    left, right = torch.randn(2, 8, 8)
    with ratios.on(ratios.Place(counting=True)):
        made = ratios.with_rate({"told": "x"}, lambda: left @ right, [2.0, 2.0])
    assert made["flops_per_second"] == 2 * 8**3 / 2 and made["peak_bytes"] == 8 * 8 * 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_its_rows_are_absent():
    assert device.measure(large=False) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_events_tell_about_the_time_of_the_wall():
    matrix = torch.randn(4096, 4096, device="cuda")

    def run():
        for _ in range(20):
            matrix @ matrix
        torch.cuda.synchronize()

    run()
    assert ratios.cuda_events(run) == pytest.approx(ratios.wall(run), rel=0.5)
