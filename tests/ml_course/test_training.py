"""The training loop does what a loop written out does, on torch's models and on those of the course's own engine."""

import copy
import math
import random

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from ml_course import backprop, plots
from ml_course.text import Batches
from ml_course.training import fit, over_seeds, seed_everything

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5], np.float32) + 0.3)[:, None]
BATCHES = [(torch.from_numpy(X[i : i + 8]), torch.from_numpy(Y[i : i + 8])) for i in range(0, 40, 8)]


def squared_error(model, batch):
    inputs, targets = batch
    return ((model(inputs) - targets) ** 2).mean()


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_fit_equals_the_loop_written_out():
    model, by_hand = network(), network()
    history = fit(model, BATCHES, squared_error, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), epochs=3)
    optimiser, means = torch.optim.SGD(by_hand.parameters(), 0.1, momentum=0.9), []
    for _ in range(3):
        losses = []
        for batch in BATCHES:
            optimiser.zero_grad()
            loss = squared_error(by_hand, batch)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        means.append(np.mean(losses))
    assert same_weights(model, by_hand)
    assert np.allclose(history.loss, means) and history.loss.shape == history.seconds.shape == (3,)
    assert history.validation.shape == (0,) and history.best == int(np.argmin(means)) and (history.seconds > 0).all()
    assert not model.training


@pytest.mark.parametrize("limit", [1e-3, 0.5, 1e6])
def test_clipping_equals_that_of_torch(limit):
    model, by_hand = network(), network()
    loss = squared_error(by_hand, BATCHES[0])
    loss.backward()
    nn.utils.clip_grad_norm_(by_hand.parameters(), limit)
    torch.optim.SGD(by_hand.parameters(), 1.0).step()
    fit(model, BATCHES[:1], squared_error, torch.optim.SGD(model.parameters(), 1.0), epochs=1, clip=limit)
    for found, wanted in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_clipping_skips_what_has_no_gradient():
    model = network()
    model.idle = nn.Parameter(torch.ones(1))
    before = copy.deepcopy(model.state_dict())
    fit(model, BATCHES[:1], squared_error, torch.optim.SGD(model.parameters(), 1.0), epochs=1, clip=0.1)
    moved = {name: not torch.equal(before[name], value) for name, value in model.state_dict().items()}
    assert moved.pop("idle") is False and all(moved.values())
    assert math.isclose(
        math.sqrt(sum(((before[k] - model.state_dict()[k]) ** 2).sum() for k in before)), 0.1, rel_tol=1e-5
    )


def test_the_schedule_sets_the_rate_of_each_step_from_one():
    asked, used = [], []

    class Spy(torch.optim.SGD):
        def step(self):
            used.append([group["lr"] for group in self.param_groups])
            super().step()

    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters()}]

    def schedule(step: int) -> float:
        asked.append(step)
        return 0.1 / step

    fit(model, BATCHES, squared_error, Spy(groups, 9.0), epochs=2, schedule=schedule)
    assert asked == list(range(1, 11)) and used == [[0.1 / step] * 2 for step in asked]


def test_patience_stops_and_restores_the_best_epoch():
    """Validations are given: the best is the third, and two more do not better it."""
    model, given, states = network(), [5.0, 4.0, 3.0, 3.0, 9.0, 0.0], []

    def validate(model: nn.Module) -> float:
        assert not model.training and not torch.is_grad_enabled()
        states.append(copy.deepcopy(model.state_dict()))
        return given[len(states) - 1]

    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    history = fit(model, BATCHES, squared_error, optimiser, epochs=6, validate=validate, patience=2)
    assert history.validation.tolist() == [5, 4, 3, 3, 9] and len(history.loss) == 5 and history.best == 2
    assert all(torch.equal(states[2][name], value) for name, value in model.state_dict().items())
    assert not torch.equal(states[4]["0.weight"], states[2]["0.weight"])


def test_running_averages_are_restored_too():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    given, means = iter([1.0, 2.0]), []

    def validate(model: nn.Module) -> float:
        means.append(model[1].running_mean.clone())
        return next(given)

    fit(
        model, BATCHES, squared_error, torch.optim.SGD(model.parameters(), 0.1), epochs=2, validate=validate, patience=5
    )
    assert torch.equal(model[1].running_mean, means[0]) and not torch.equal(means[0], means[1])


def test_without_patience_the_last_weights_stay():
    model, states = network(), []

    def validate(model: nn.Module) -> float:
        states.append(copy.deepcopy(model.state_dict()))
        return len(states)

    fit(model, BATCHES, squared_error, torch.optim.SGD(model.parameters(), 0.1), epochs=3, validate=validate)
    assert torch.equal(model.state_dict()["0.weight"], states[-1]["0.weight"])


def test_validations_that_are_no_numbers_neither_win_nor_hang():
    model = network()
    given = iter([math.nan, 2.0, math.nan, math.nan])
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    history = fit(model, BATCHES, squared_error, optimiser, epochs=9, validate=lambda _: next(given), patience=2)
    assert len(history.loss) == 4 and history.best == 1


def test_a_loss_that_is_not_finite_stops_before_it_harms():
    model = network()
    broken = [BATCHES[0], (BATCHES[1][0], BATCHES[1][1] * math.inf)]
    after_one = network()
    fit(after_one, broken[:1], squared_error, torch.optim.SGD(after_one.parameters(), 0.1), epochs=1)
    with pytest.raises(FloatingPointError, match="the loss is inf in epoch 0, step 2: learn slower, or clip"):
        fit(model, broken, squared_error, torch.optim.SGD(model.parameters(), 0.1), epochs=1)
    assert same_weights(model, after_one)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epochs": 0}, "epochs = 0, patience = None: expected at least 1"),
        ({"epochs": 1, "patience": 0, "validate": float}, "patience = 0: expected at least 1"),
        ({"epochs": 1, "patience": 3}, "patience = 3 needs validate"),
        ({"epochs": 1, "clip": -1.0}, "clip = -1.0, expected a positive number"),
        ({"epochs": 1, "batches": []}, "batches is empty in epoch 0"),
        (
            {"epochs": 2, "batches": iter(BATCHES)},
            "batches is empty in epoch 1; a generator can be gone through once",
        ),
    ],
)
def test_fit_refuses(options, says):
    model, batches = network(), options.pop("batches", BATCHES)
    with pytest.raises(ValueError, match=says):
        fit(model, batches, squared_error, torch.optim.SGD(model.parameters(), 0.1), **options)


def test_progress_shows_the_losses(capsys):
    model = network()
    fit(model, BATCHES, squared_error, torch.optim.SGD(model.parameters(), 0.1), epochs=2, progress=True)
    shown = capsys.readouterr().err
    assert "2/2" in shown and "loss=" in shown
    fit(model, BATCHES, squared_error, torch.optim.SGD(model.parameters(), 0.1), epochs=1)
    assert capsys.readouterr().err == ""


def own_network() -> backprop.Module:
    """`network` in the course's engine, with the same weights."""
    model, twin = backprop.MLP([3, 4, 1], "tanh"), network()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert mine.shape == tuple(theirs.shape)
        mine.data[...] = theirs.detach().numpy()
    return model


def own_error(model, batch):
    inputs, targets = (backprop.Tensor(column.numpy().astype(np.float64)) for column in batch)
    gap = model(inputs) - targets
    return (gap * gap).mean()


def test_the_course_s_own_engine_is_trained_alike():
    theirs, own = network(), own_network()
    options = {"epochs": 4, "clip": 0.7, "schedule": lambda step: 0.2 / math.sqrt(step)}
    wanted = fit(theirs, BATCHES, squared_error, torch.optim.SGD(theirs.parameters(), 1.0), **options)
    found = fit(own, BATCHES, own_error, backprop.SGD(own.parameters(), 1.0), **options)
    assert np.allclose(found.loss, wanted.loss, rtol=1e-4)
    for mine, other in zip(own.parameters(), theirs.parameters(), strict=True):
        assert np.allclose(mine.data, other.detach().numpy(), rtol=1e-3, atol=1e-5)


def test_the_course_s_own_engine_gets_its_best_weights_back():
    model, given, seen = own_network(), iter([3.0, 1.0, 2.0, 2.0]), []

    def validate(model) -> float:
        assert model.training is False
        seen.append([parameter.data.copy() for parameter in model.parameters()])
        return next(given)

    optimiser = backprop.SGD(model.parameters(), 0.1)
    fit(model, BATCHES, own_error, optimiser, epochs=9, validate=validate, patience=2)
    assert len(seen) == 4
    for parameter, values, later in zip(model.parameters(), seen[1], seen[3], strict=True):
        assert np.array_equal(parameter.data, values) and not np.array_equal(values, later)


def test_batches_and_history_fit_together():
    model = network()
    batches = Batches(torch.from_numpy(X), torch.from_numpy(Y), size=8, seed=1)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    history = fit(model, batches, squared_error, optimiser, epochs=30, validate=lambda m: squared_error(m, BATCHES[0]))
    assert history.loss[-1] < 0.1 * history.loss[0]
    assert list(history.curves()) == ["training", "validation"]
    axes = plots.learning_curve(None, history.curves(), xlabel="epoch")
    assert np.array_equal(axes.lines[1].get_ydata(), history.validation)
    plt.close("all")


def test_fit_runs_where_the_model_is(device):
    model = network().to(device)
    batches = [(inputs.to(device), targets.to(device)) for inputs, targets in BATCHES]
    optimiser = torch.optim.AdamW(model.parameters(), 0.01)
    history = fit(
        model,
        batches,
        squared_error,
        optimiser,
        epochs=2,
        clip=1.0,
        patience=2,
        validate=lambda m: squared_error(m, batches[0]),
    )
    assert history.loss[1] < history.loss[0]


def test_seeds_set_every_source_of_chance():
    def draw() -> tuple:
        return random.random(), np.random.rand(), torch.rand(1).item(), torch.randn(1).item()

    first = (seed_everything(7).random(), *draw())
    assert (seed_everything(7).random(), *draw()) == first
    other = (seed_everything(8).random(), *draw())
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_over_seeds_runs_each_with_its_seed():
    found = over_seeds(lambda seed: [seed, torch.rand(1).item(), random.random()], [3, 1, 3])
    assert found.shape == (3, 3) and found[:, 0].tolist() == [3, 1, 3]
    assert np.array_equal(found[0], found[2]) and not np.array_equal(found[0], found[1])
    seed_everything(1)
    assert found[1, 1] == torch.rand(1).item()
    assert over_seeds(float, 2).tolist() == [0.0, 1.0]
    for none in ([], 0):
        with pytest.raises(ValueError, match=r"seeds = .*expected at least one"):
            over_seeds(float, none)
