"""Diffusion and DiT: against distributions known exactly, the steps walked one by one, and the paper's counts."""

import math

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ml_course.multimodal import (
    AdaLNZero,
    DiT,
    DiTBlock,
    DiTConfig,
    NoiseSchedule,
    denoise,
    diffusion_loss,
    guided,
    modulate,
    sample,
)

CENTRE, WIDTH = 0.7, 0.4  # of numbers normally distributed, whose noise can be told exactly
schedules = pytest.mark.parametrize(
    "schedule", [NoiseSchedule.linear(200), NoiseSchedule.cosine(200)], ids=["linear", "cosine"]
)


def oracle(schedule, centre=CENTRE, width=WIDTH):
    """E[ε | x_t] where x_0 is normally distributed: x_t and ε are, too, and their regression is a line."""

    def predict(x, times, labels):
        kept = schedule.alpha_bar[times].reshape(-1, 1, 1, 1).to(x.dtype)
        return (1 - kept).sqrt() * (x - kept.sqrt() * centre) / (kept * width**2 + 1 - kept)

    return predict


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# The way there


@schedules
def test_noise_in_one_go_is_noise_step_by_step(schedule):
    kept, mean, variance = schedule.alpha_bar, 1.0, 0.0
    for t in range(1, schedule.steps + 1):
        beta = 1 - float(kept[t] / kept[t - 1])
        assert 0 < beta < 1
        mean, variance = mean * math.sqrt(1 - beta), variance * (1 - beta) + beta
        assert mean == pytest.approx(math.sqrt(kept[t])) and variance == pytest.approx(float(1 - kept[t]))
    x, noise = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    times = torch.tensor([0, 7, 200])
    noisy = schedule.add_noise(x, times, noise)
    assert_close(noisy[0], x[0])
    assert_close(noisy[1], kept[7].sqrt() * x[1] + (1 - kept[7]).sqrt() * noise[1])
    assert_close(schedule.clean_from(noisy[:2], times[:2], noise[:2]), x[:2])


def test_schedules_as_published():
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert_close(NoiseSchedule.linear().alpha_bar[1:], (1 - beta).cumprod(0))
    t, s = torch.arange(1001, dtype=torch.float64), 0.008
    f = torch.cos((t / 1000 + s) / (1 + s) * math.pi / 2) ** 2
    cosine = NoiseSchedule.cosine().alpha_bar
    assert_close(cosine[:-1], (f / f[0])[:-1])
    assert cosine[-1] == pytest.approx(float(cosine[-2]) * 1e-3)  # where β would be 1, it is 0.999
    assert (NoiseSchedule.linear(100).alpha_bar[-1] / NoiseSchedule.linear(1000).alpha_bar[-1]).log().abs() < 1


def test_wrong_schedules_and_times_are_refused():
    for wrong in ([1.0], [0.9, 0.5], [1.0, 1.0], [1.0, 0.5, 0.6], [1.0, 0.0]):
        with pytest.raises(ValueError, match="expected 1 first and falling, above 0 to the end"):
            NoiseSchedule(torch.tensor(wrong))
    with pytest.raises(ValueError, match="steps = 20, expected at least 21"):
        NoiseSchedule.linear(20)
    with pytest.raises(ValueError, match="steps = 0, expected at least 1"):
        NoiseSchedule.cosine(0)
    schedule, x = NoiseSchedule.cosine(10), torch.zeros(2, 1, 1, 1)
    for wrong in ([0, 11], [-1, 3]):
        with pytest.raises(ValueError, match="expected 0 to 10"):
            schedule.add_noise(x, torch.tensor(wrong), x)
    for time, earlier, eta in ((3, 3, 1), (11, 3, 1), (3, -1, 1), (3, 2, 1.5)):
        with pytest.raises(ValueError, match="expected 0 ≤ earlier < time ≤ 10"):
            schedule.step_back(x, x, time, earlier, eta=eta)
    with pytest.raises(ValueError, match="steps = 11, expected 1 to 10"):
        sample(oracle(schedule), schedule, torch.zeros(1, dtype=torch.long), (1, 1, 1), steps=11)


# The way back


@schedules
def test_a_random_step_back_is_the_posterior_by_bayes(schedule):
    """x_{t−1} given x_t and x_0, by the product of two densities on a fine grid."""
    time, x0, xt = 60, 0.8, -0.3
    before, now = (float(schedule.alpha_bar[t]) for t in (time - 1, time))
    beta = 1 - now / before
    grid = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    log_p = -((grid - math.sqrt(before) * x0) ** 2) / (2 * (1 - before))
    log_p = log_p - (xt - math.sqrt(1 - beta) * grid) ** 2 / (2 * beta)
    p = log_p.softmax(0)
    mean = float((p * grid).sum())
    spread = float((p * (grid - mean) ** 2).sum().sqrt())
    many = torch.full((40_000, 1, 1, 1), xt, dtype=torch.float64)
    noise = (many - math.sqrt(now) * x0) / math.sqrt(1 - now)
    back = schedule.step_back(many, noise, time, time - 1, generator=generator())
    assert float(back.mean()) == pytest.approx(mean, abs=4 * spread / 200)
    assert float(back.std()) == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize(("eta", "steps"), [(1, 200), (1, 50), (0, 200), (0, 50), (0.5, 50)])
@schedules
def test_who_knows_the_noise_exactly_draws_from_the_right_distribution(schedule, eta, steps):
    labels = torch.zeros(4000, dtype=torch.long)
    x = sample(oracle(schedule), schedule, labels, (1, 1, 1), steps=steps, eta=eta, generator=generator(1)).flatten()
    assert float(x.mean()) == pytest.approx(CENTRE, abs=0.04)
    # fewer, larger random steps come out too narrow: they take the clean picture for known
    assert float(x.std()) == pytest.approx(WIDTH, rel=0.06 if steps == 200 else 0.1 if eta == 0 else 0.25)


def test_without_fresh_noise_the_start_decides_all():
    schedule, labels = NoiseSchedule.cosine(40), torch.zeros(5, dtype=torch.long)
    first, again, other = (
        sample(oracle(schedule), schedule, labels, (1, 2, 2), eta=0, steps=10, generator=generator(seed))
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    path = list(denoise(oracle(schedule), schedule, labels, (1, 2, 2), steps=10, generator=generator(3)))
    assert len(path) == 11 and float(path[0].std()) > float(path[-1].std())


def test_the_limit_keeps_pictures_where_they_can_be():
    schedule, labels = NoiseSchedule.cosine(40), torch.zeros(64, dtype=torch.long)
    wild = oracle(schedule, centre=3.0)
    assert sample(wild, schedule, labels, (1, 1, 1), steps=10, eta=0).mean() > 2
    assert sample(wild, schedule, labels, (1, 1, 1), steps=10, eta=0, limit=1).abs().max() <= 1


# Learning


class Remembers:
    """Says no noise at all, and keeps what it was asked."""

    def __call__(self, noisy, times, labels):
        self.noisy, self.times, self.labels = noisy, times, labels
        return torch.zeros_like(noisy)


def test_saying_nothing_costs_one_and_a_tenth_of_the_labels_is_hidden():
    predict, labels = Remembers(), torch.arange(20_000) % 7
    schedule = NoiseSchedule.cosine(50)
    loss = diffusion_loss(predict, torch.zeros(20_000, 1, 2, 2), labels, schedule, no_label=7, generator=generator())
    assert float(loss) == pytest.approx(1, abs=0.03)
    hidden = predict.labels == 7
    assert float(hidden.float().mean()) == pytest.approx(0.1, abs=0.01)
    assert torch.equal(predict.labels[~hidden], labels[~hidden])
    assert sorted(predict.times.unique().tolist()) == list(range(1, 51))  # each, never the picture itself
    for t in (1, 25, 50):  # of a black picture nothing is left but noise of this size
        spread = predict.noisy[predict.times == t].std()
        assert float(spread) == pytest.approx(math.sqrt(1 - schedule.alpha_bar[t]), rel=0.1)


def test_the_exact_answer_costs_what_the_formula_says():
    """Of normally distributed numbers (ε − E[ε | x_t])² is ᾱw²/(ᾱw² + 1 − ᾱ) on average."""
    schedule, count = NoiseSchedule.cosine(50), 40_000
    clean = CENTRE + WIDTH * torch.randn(count, 1, 1, 1, generator=generator(1))
    labels = torch.zeros(count, dtype=torch.long)
    loss = diffusion_loss(oracle(schedule), clean, labels, schedule, no_label=1, generator=generator())
    kept = schedule.alpha_bar[1:] * WIDTH**2
    expected = (kept / (kept + 1 - schedule.alpha_bar[1:])).mean()
    assert float(loss) == pytest.approx(float(expected), rel=0.03)
    with pytest.raises(ValueError, match=r"drop = 1.2, expected 0 to 1"):
        diffusion_loss(oracle(schedule), clean, labels, schedule, no_label=1, drop=1.2)


# Guidance


@given(st.floats(-1, 5))
@settings(deadline=None, max_examples=20)
def test_guidance_is_a_line_through_both_answers(guidance):
    def predict(x, times, labels):
        return x * 2 + labels[:, None] * times[:, None]

    x, times, labels = torch.randn(3, 4), torch.tensor([1, 2, 3]), torch.tensor([0, 4, 1])
    without = predict(x, times, torch.full_like(labels, 9))
    expected = without + guidance * (predict(x, times, labels) - without)
    assert_close(guided(predict, guidance, 9)(x, times, labels), expected)


def test_guidance_of_two_normal_distributions_is_the_sharpened_product():
    """p(x | y)^w / p(x)^(w − 1), of normal distributions again normal: the last steps go to its middle."""
    schedule, w = NoiseSchedule.cosine(200), 2.0
    narrow, wide = oracle(schedule, 1.0, 0.3), oracle(schedule, 0.0, 1.0)

    def predict(x, times, labels):
        asked = (labels == 0).reshape(-1, 1, 1, 1)
        return torch.where(asked, narrow(x, times, labels), wide(x, times, labels))

    labels = torch.zeros(2000, dtype=torch.long)
    plain, guarded = (
        sample(guided(predict, g, 1), schedule, labels, (1, 1, 1), eta=0, generator=generator()) for g in (1, w)
    )
    assert float(plain.mean()) == pytest.approx(1, abs=0.03) and float(plain.std()) == pytest.approx(0.3, rel=0.06)
    assert float(guarded.mean()) > 1.02 and float(guarded.std()) < 0.27  # more than was asked, and more alike


# DiT


def awake(model):
    """Zeros of the start replaced, as if it had learned."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@dtypes
def test_a_block_is_the_formula_with_torchs_layers(dtype):
    block, theirs = awake(DiTBlock(8, 2, 16)).to(dtype), nn.MultiheadAttention(8, 2, batch_first=True)
    theirs = block.attention.sublayer.to_torch()
    x, c = torch.randn(3, 5, 8).to(dtype), torch.randn(3, 8).to(dtype)
    six = [branch.modulation(F.silu(c)).chunk(3, 1) for branch in (block.attention, block.feed_forward)]
    (shift, scale, gate), (shift2, scale2, gate2) = six
    norm = nn.LayerNorm(8, eps=1e-6, elementwise_affine=False)
    h = norm(x) * (1 + scale[:, None]) + shift[:, None]
    y = x + gate[:, None] * theirs(h, h, h, need_weights=False)[0]
    mlp = block.feed_forward.sublayer
    h = norm(y) * (1 + scale2[:, None]) + shift2[:, None]
    y = y + gate2[:, None] * mlp.narrower(nn.GELU(approximate="tanh")(mlp.wider(h)))
    assert_close(block(x, c), y, dtype)


def test_at_the_start_a_block_is_nothing_and_only_the_gate_can_learn():
    branch = AdaLNZero(nn.Linear(6, 6), 6, d_condition=4)
    x, c = torch.randn(2, 3, 6, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    y = branch(x, c)
    assert torch.equal(y, x)
    towards = torch.randn_like(y)
    y.backward(towards)
    assert torch.equal(x.grad, towards) and not c.grad.any()
    shift, scale, gate = branch.modulation.weight.grad.chunk(3)
    assert gate.abs().min() > 0 and not shift.any() and not scale.any()
    assert not branch.sublayer.weight.grad.any()


def test_modulation_counts_the_scale_from_one():
    x = torch.randn(2, 3, 8)
    nothing = torch.zeros(2, 1, 8)
    assert_close(modulate(x, nothing, nothing), F.layer_norm(x, (8,), eps=1e-6))
    assert_close(modulate(x, nothing + 3, nothing - 1), torch.full_like(x, 3.0))


@pytest.mark.parametrize("name, millions", [("S_2", 33), ("B_2", 130), ("L_2", 458), ("XL_2", 675)])
def test_parameters_of_the_published_sizes(name, millions):
    """The paper's table 4, in millions, and the count layer by layer."""
    config = getattr(DiTConfig, name)
    with torch.device("meta"):
        model = DiT(config)
    count, d = sum(p.numel() for p in model.parameters()), config.d_model
    layer = (3 * d * d + 3 * d) + (d * d + d) + (8 * d * d + 5 * d) + (6 * d * d + 6 * d)
    around = (16 * d + d) + (256 * d + d + d * d + d) + 1001 * d + (2 * d * d + 2 * d) + (32 * d + 32)
    assert count == config.layers * layer + around and round(count / 1e6) == millions
    if name == "XL_2":
        assert count == 674_834_720


def test_pictures_do_not_see_each_other_and_each_hears_its_own_label_and_time():
    model = awake(DiT(DiTConfig.TINY)).double()
    x, times, labels = torch.randn(3, 1, 4, 4).double(), torch.tensor([1, 500, 1000]), torch.tensor([0, 3, 10])
    together = model(x, times, labels)
    for i in range(3):
        assert_close(model(x[i : i + 1], times[i : i + 1], labels[i : i + 1])[0], together[i])
    for other in ((x, times + 100, labels), (x, times, labels - 1 + 2 * (labels == 0))):
        changed = (model(*other) - together).abs().flatten(1).amax(1)
        assert (changed > 1e-6).all()


def test_places_are_told_apart_and_gradients_reach_everything():
    model = awake(DiT(DiTConfig.TINY)).double()
    x = torch.randn(1, 1, 4, 4).double().requires_grad_()
    times, labels = torch.tensor([7]), torch.tensor([2])
    for axis in (2, 3):  # whole patches change places
        moved = model(x.roll(2, axis), times, labels).roll(-2, axis)
        assert not torch.allclose(moved, model(x, times, labels))
    slopes = gradients(model(x, times, labels), x, *model.parameters())
    assert all(slope.abs().max() > 0 for slope in slopes)


def test_a_published_one_gives_noise_and_variance():
    config = DiTConfig(channels=2, side=4, d_model=8, heads=2, d_ff=16, layers=1, clock=8, learned_variance=True)
    assert DiT(config)(torch.randn(1, 2, 4, 4), torch.tensor([3]), torch.tensor([1])).shape == (1, 4, 4, 4)


def test_wrong_sizes_are_refused():
    for wrong, message in (
        (dict(side=5), "patch = 2, expected a divisor|side = 5 is not divisible by patch = 2"),
        (dict(d_model=10, heads=2), "d_model = 10 is not divisible by 4"),
        (dict(d_model=12, heads=8), "d_model = 12 is not divisible by heads = 8"),
    ):
        with pytest.raises(ValueError, match=message):
            DiT(DiTConfig(**wrong))
    with pytest.raises(ValueError, match=r"x has pictures of shape \(1, 8, 8\), expected \(1, 4, 4\)"):
        DiT(DiTConfig.TINY)(torch.zeros(1, 1, 8, 8), torch.tensor([1]), torch.tensor([1]))


def test_it_learns_to_tell_two_pictures_apart():
    """Black when 0 is asked for, white when 1 is; and none of it remembers how it was made."""
    torch.manual_seed(0)
    model = DiT(DiTConfig(side=4, patch=4, d_model=32, heads=2, d_ff=64, layers=2, clock=32))
    schedule, chance = NoiseSchedule.cosine(100), generator()
    labels = torch.arange(64) % 2
    pictures = (2.0 * labels - 1).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(250):
        optimiser.zero_grad()
        diffusion_loss(model, pictures, labels, schedule, no_label=10, generator=chance).backward()
        optimiser.step()
    asked = torch.tensor([0, 1] * 8)
    drawn = sample(model, schedule, asked, (1, 4, 4), steps=20, eta=0, limit=1, generator=generator(2))
    assert torch.equal((drawn.mean((1, 2, 3)) > 0).long(), asked)
    assert not drawn.requires_grad
