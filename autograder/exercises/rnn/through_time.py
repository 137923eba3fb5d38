"""The exercise on going back in time: gradients by hand."""

import numpy as np
import torch

from autograder.exercise import AUTOGRAD, SIDE_EFFECTS, Case, Exercise
from ml_course import rnn


def bptt_of_the_library(inputs, states, gradient, weight_ih, weight_hh, window=None):
    """The library's, for one sequence in NumPy."""
    tensors = [torch.from_numpy(np.ascontiguousarray(a)) for a in (inputs, states, gradient)]
    weights = [torch.from_numpy(np.ascontiguousarray(a)) for a in (weight_ih, weight_hh)]
    found = rnn.backward_through_time(*(tensor[None] for tensor in tensors), *weights, window=window)
    return found.weight_ih.numpy(), found.weight_hh.numpy(), found.bias.numpy()


bptt = Exercise(
    "rnn.bptt",
    difficulty=3,
    minutes=35,
    reference=bptt_of_the_library,
    facets={"one step": 1, "through time": 3, "truncation": 1, SIDE_EFFECTS: 1},
    forbidden=AUTOGRAD,
    results=("of_weight_ih", "of_weight_hh", "of_bias"),
)


@bptt.cases
def bptt_cases(rng):
    def inputs(time, features, hidden, window=None, only_last=False):
        weight_ih, weight_hh, bias = (
            0.8 * rng.normal(size=shape) for shape in ((hidden, features), (hidden, hidden), hidden)
        )
        x, states = rng.normal(size=(time, features)), [rng.normal(size=hidden) / 2]
        for now in x:
            states.append(np.tanh(weight_ih @ now + weight_hh @ states[-1] + bias))
        gradient = rng.normal(size=(time, hidden))
        if only_last:
            gradient[:-1] = 0
        return {
            "inputs": x,
            "states": np.array(states),
            "gradient": gradient,
            "weight_ih": weight_ih,
            "weight_hh": weight_hh,
            "window": window,
        }

    features, hidden = (int(size) for size in rng.integers(2, 5, size=2))
    yield Case("one step", **inputs(1, features, hidden))
    yield Case("one step, one number", **inputs(1, 1, 1))
    yield Case("two steps", "through time", **inputs(2, features, hidden))
    yield Case("several steps", "through time", **inputs(int(rng.integers(4, 8)), features, hidden))
    yield Case("only the last output counts", "through time", **inputs(5, features, hidden, only_last=True))
    yield Case("windows of two", "truncation", **inputs(6, features, hidden, window=2))
    yield Case("windows of three, the last one short", "truncation", **inputs(7, features, hidden, window=3))
    yield Case("windows of one", "truncation", **inputs(4, features, hidden, window=1))
    yield Case("a window longer than the sequence", "truncation", **inputs(4, features, hidden, window=9))


@bptt.probe
def ask_bptt(answer, inputs, states, gradient, weight_ih, weight_hh, window):
    of_weight_ih, of_weight_hh, of_bias = answer(inputs, states, gradient, weight_ih, weight_hh, window)
    return {"for weight_ih": of_weight_ih, "for weight_hh": of_weight_hh, "for bias": of_bias}


def step_by_step(inputs, states, gradient, weight_ih, weight_hh, window=None):
    of_ih, of_hh, of_bias = np.zeros_like(weight_ih), np.zeros_like(weight_hh), np.zeros(len(weight_hh))
    from_later = np.zeros(len(weight_hh))
    for t in reversed(range(len(inputs))):
        if window is not None and (t + 1) % window == 0:
            from_later = np.zeros(len(weight_hh))
        before, after = states[t], states[t + 1]
        delta = (1 - after**2) * (gradient[t] + from_later)
        of_ih += np.outer(delta, inputs[t])
        of_hh += np.outer(delta, before)
        of_bias += delta
        from_later = weight_hh.T @ delta
    return of_ih, of_hh, of_bias


@bptt.alternative
def all_deltas_first(inputs, states, gradient, weight_ih, weight_hh, window=None):
    time = len(inputs)
    window = window or time
    delta = np.zeros((time + 1, len(weight_hh)))
    for t in range(time - 1, -1, -1):
        later = delta[t + 1] @ weight_hh if (t + 1) % window else 0
        delta[t] = (1 - states[t + 1] ** 2) * (gradient[t] + later)
    delta = delta[:-1]
    return delta.T @ inputs, delta.T @ states[:-1], delta.sum(axis=0)


@bptt.alternative
def each_output_for_itself(inputs, states, gradient, weight_ih, weight_hh, window=None):
    time, size = len(inputs), len(weight_hh)
    of_ih, of_hh, of_bias = np.zeros_like(weight_ih), np.zeros_like(weight_hh), np.zeros(size)
    for end in range(time):
        first = 0 if window is None else end // window * window
        error = gradient[end]
        for t in range(end, first - 1, -1):
            delta = (1 - states[t + 1] ** 2) * error
            of_ih, of_hh, of_bias = (
                of_ih + delta[:, None] * inputs[t],
                of_hh + delta[:, None] * states[t],
                of_bias + delta,
            )
            error = weight_hh.T @ delta
    return of_ih, of_hh, of_bias


bptt.slip(
    "nothing comes from later steps",
    step_by_step,
    "(gradient[t] + from_later)",
    "gradient[t]",
    cause="Each step answers for its own output only; what later steps owe to its state is forgotten.",
    hint="The state at t is read twice: by the output at t and by the next step. Its gradient has two terms.",
)
bptt.slip(
    "recurrent weights not transposed",
    step_by_step,
    "weight_hh.T @ delta",
    "weight_hh @ delta",
    cause="The error goes back through W_hh where the chain rule asks for its transpose.",
    hint="Forward, the k-th new number collects row k. Back, the i-th old number collects from all it fed: column i.",
)
bptt.slip(
    "slope of the wrong state",
    step_by_step,
    "1 - after**2",
    "1 - before**2",
    cause="The slope of the tanh is taken at the state before the step, not at the one it made.",
    hint="tanh′ = 1 − tanh². Which of the two states is that tanh?",
)
bptt.slip(
    "tanh of the tanh",
    step_by_step,
    "after**2",
    "np.tanh(after) ** 2",
    cause="The tanh is taken once more, of a state that has come out of it already.",
    hint="tanh′ = 1 − tanh², and the state is that tanh. What is left to compute?",
)
bptt.slip(
    "slope of the tanh forgotten",
    step_by_step,
    "(1 - after**2) * ",
    "",
    cause="The error passes the tanh as if it had slope one.",
    hint="The chain rule needs one factor for every function on the way: the matrix, and the tanh.",
)
bptt.slip(
    "new state instead of the old one",
    step_by_step,
    "np.outer(delta, before)",
    "np.outer(delta, after)",
    cause="The gradient of W_hh is taken with the state after the step, but W_hh was multiplied by the one before.",
    hint="∂(Wh)/∂W is h: which h stood beside W_hh at this step?",
)
bptt.slip(
    "only the first step counts",
    step_by_step,
    "of_hh += np.outer(delta, before)",
    "of_hh = np.outer(delta, before)",
    cause="The gradient of W_hh is overwritten at each step instead of summed: only one step is left in the end.",
    hint="The same matrix is used at every step, and each use is a way on which it moves the loss.",
)
bptt.slip(
    "states counted from the first step",
    step_by_step,
    "before, after = states[t], states[t + 1]",
    "before, after = states[t - 1], states[t]",
    cause="The states are read one place too early: index 0 holds the state before the first step.",
    hint="At t = 0 your `states[t - 1]` is the very last state. Which one was there before the first step?",
)
bptt.slip(
    "border one step too early",
    step_by_step,
    "(t + 1) % window == 0",
    "(t + 2) % window == 0",
    cause="The last step of each window is cut off from the rest of it: the border lies one step too early.",
    hint="With windows of two, steps 0 and 1 belong together. Does step 1 still send its error back to step 0?",
)
bptt.slip(
    "border one step too late",
    step_by_step,
    "(t + 1) % window == 0",
    "t % window == 0",
    cause="The border lies one step too late: the first step of each window still reaches into the one before.",
    hint="With windows of two, nothing may go from step 2 back to step 1. At which t must you forget what comes later?",
)
bptt.slip(
    "window counted from the end",
    step_by_step,
    "(t + 1) % window == 0",
    "(len(inputs) - 1 - t) % window == 0",
    cause="The windows are laid from the last step backwards; they begin with the first step.",
    hint="With seven steps and windows of three the borders are after steps 3 and 6. Where are yours?",
)
bptt.slip(
    "window ignored",
    step_by_step,
    "if window is not None and (t + 1) % window == 0:",
    "if False:",
    cause="The error goes back through all steps, whatever `window` says.",
    hint="With windows of one, nothing at all may come from a later step.",
)
bptt.slip(
    "stops at the border",
    step_by_step,
    "            from_later = np.zeros(len(weight_hh))\n        before",
    "            if t + 1 < len(inputs):\n                break\n        before",
    cause="At the first border the whole way back ends, so only the last window is learned from.",
    hint="Truncation stops what comes from later steps. The earlier windows have outputs of their own to answer for.",
)
