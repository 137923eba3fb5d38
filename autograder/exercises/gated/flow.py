"""The exercise on gradients through the cell state, by hand."""

import numpy as np
import torch

from autograder.exercise import AUTOGRAD, DTYPE, SIDE_EFFECTS, Case, Exercise


def by_automatic_differentiation(forget, written, start, direct):
    """The reference: torch goes back along the cell states, and every direct gradient is put in where it belongs."""
    forget, written, start, direct = (
        torch.tensor(array, requires_grad=name != 3) for name, array in enumerate((forget, written, start, direct))
    )
    cell, total = start, 0
    for t in range(forget.shape[1]):
        cell = forget[:, t] * cell + written[:, t]
        total = total + (cell * direct[:, t]).sum()
    return tuple(gradient.numpy() for gradient in torch.autograd.grad(total, (forget, written, start)))


cell_gradients = Exercise(
    "gated.cell_gradients",
    reference=by_automatic_differentiation,
    facets={"values": 3, "edges": 1, DTYPE: 1, SIDE_EFFECTS: 1},
    difficulty=3,
    minutes=35,
    forbidden=AUTOGRAD,
    results=("by_forget", "by_written", "by_start"),
)


@cell_gradients.cases
def gradient_cases(rng):
    def inputs(batch, time, hidden, dtype=np.float64):
        return dict(
            forget=rng.uniform(0.1, 1.0, size=(batch, time, hidden)).astype(dtype),
            written=rng.normal(size=(batch, time, hidden)).astype(dtype),
            start=rng.normal(size=(batch, hidden)).astype(dtype),
            direct=rng.normal(size=(batch, time, hidden)).astype(dtype),
        )

    batch, time, hidden = int(rng.integers(2, 5)), int(rng.integers(4, 8)), int(rng.integers(2, 5))
    yield Case("a batch", **inputs(batch, time, hidden))
    yield Case("as many rows as steps", **inputs(time, time, hidden))
    late = inputs(batch, time, hidden)
    late["direct"][:, :-1] = 0
    yield Case("only the last cell state is asked for", **late)
    yield Case("a long way", **inputs(1, 60, 2))
    yield Case("float32", **inputs(2, 3, hidden, np.float32))
    yield Case("one step", "edges", **inputs(batch, 1, hidden))
    shut = inputs(batch, time, hidden)
    shut["forget"][:, time // 2] = 0
    yield Case("a gate that is shut", "edges", **shut)
    open_gates = inputs(batch, time, hidden)
    open_gates["forget"][:] = 1
    yield Case("all gates open", "edges", **open_gates)


@cell_gradients.probe
def ask_cell_gradients(answer, forget, written, start, direct):
    by_forget, by_written, by_start = answer(forget, written, start, direct)
    return {"by forget": by_forget, "by written": by_written, "by start": by_start}


def step_by_step(forget, written, start, direct):
    time = forget.shape[1]
    cells = [start]
    for t in range(time):
        cells.append(forget[:, t] * cells[-1] + written[:, t])
    by_forget, by_written = np.empty_like(forget), np.empty_like(written)
    arriving = np.zeros_like(start)
    for t in reversed(range(time)):
        whole = arriving + direct[:, t]
        by_written[:, t] = whole
        by_forget[:, t] = whole * cells[t]
        arriving = whole * forget[:, t]
    return by_forget, by_written, arriving


@cell_gradients.alternative
def by_all_products_of_gates(forget, written, start, direct):
    batch, time, hidden = forget.shape
    cells = np.empty((batch, time + 1, hidden), forget.dtype)
    cells[:, 0] = start
    whole = direct.copy()
    for t in range(time):
        cells[:, t + 1] = forget[:, t] * cells[:, t] + written[:, t]
        for later in range(t + 1, time):
            whole[:, t] += direct[:, later] * forget[:, t + 1 : later + 1].prod(axis=1)
    return whole * cells[:, :-1], whole, whole[:, 0] * forget[:, 0]


@cell_gradients.alternative
def time_first(forget, written, start, direct):
    f, u, d = (np.swapaxes(array, 0, 1) for array in (forget, written, direct))
    before, cell = [], start
    for gate, new in zip(f, u, strict=True):
        before.append(cell)
        cell = gate * cell + new
    wholes, arriving = [], 0
    for gate, own in zip(f[::-1], d[::-1], strict=True):
        wholes.insert(0, own + arriving)
        arriving = wholes[0] * gate
    by_written = np.stack(wholes, axis=1)
    return by_written * np.stack(before, axis=1), by_written, arriving


@cell_gradients.alternative
def through_one_matrix(forget, written, start, direct):
    batch, time, hidden = forget.shape
    by_forget, by_written, by_start = np.empty_like(forget), np.empty_like(forget), np.empty_like(start)
    for n in range(batch):
        for k in range(hidden):
            step = np.eye(time, dtype=np.float64) - np.diag(forget[n, 1:, k].astype(np.float64), -1)
            entered = written[n, :, k].astype(np.float64)
            entered[0] += forget[n, 0, k] * start[n, k]
            cells = np.linalg.solve(step, entered)
            whole = np.linalg.solve(step.T, direct[n, :, k].astype(np.float64))
            by_written[n, :, k] = whole
            by_forget[n, :, k] = whole * np.concatenate([[start[n, k]], cells[:-1]])
            by_start[n, k] = whole[0] * forget[n, 0, k]
    return by_forget, by_written, by_start


cell_gradients.slip(
    "gate of the wrong step",
    step_by_step,
    "arriving = whole * forget[:, t]",
    "arriving = whole * forget[:, t - 1]",
    cause="On the way from c_t to the one before, the gradient is multiplied by a neighbour's gate.",
    hint="Which gate stands between c_{t−1} and c_t in the formula?",
)
cell_gradients.slip(
    "only the next step",
    step_by_step,
    "arriving = whole * forget[:, t]",
    "arriving = direct[:, t] * forget[:, t]",
    cause="Only the direct gradient of the next cell state is passed on, not what had already arrived there.",
    hint="The first cell state has a share in every later one. How often must gates be multiplied?",
)
cell_gradients.slip(
    "direct gradients not added",
    step_by_step,
    "whole = arriving + direct[:, t]",
    "whole = arriving + (direct[:, t] if t == time - 1 else 0)",
    cause="Only the last direct gradient is used: the loss reads the other cell states as well.",
    hint="A number that is used twice gets a gradient from both uses. What is done with the two?",
)
cell_gradients.slip(
    "arriving gradient not added",
    step_by_step,
    "whole = arriving + direct[:, t]",
    "whole = direct[:, t]",
    cause="Each cell state gets its direct gradient only: nothing comes back from later steps.",
    hint="Does the loss notice it if c_1 moves and only c_3 is read?",
)
cell_gradients.slip(
    "new cell state for the old one",
    step_by_step,
    "whole * cells[t]",
    "whole * cells[t + 1]",
    cause="The gradient of the gate is multiplied by the new cell state; the gate multiplies the old one.",
    hint="What does f_t stand beside in the formula of c_t?",
)
cell_gradients.slip(
    "start without its gate",
    step_by_step,
    "return by_forget, by_written, arriving",
    "return by_forget, by_written, whole",
    cause="The gradient of c_1 is returned as that of c_0: the first gate is missing.",
    hint="If the first forget gate is shut, what does the loss know of the start?",
)
cell_gradients.slip(
    "forwards in time",
    step_by_step,
    "reversed(range(time))",
    "range(time)",
    cause="The gradient is carried from the first step to the last; it has to come from the last to the first.",
    hint="Which cell state does the last direct gradient belong to, and which does it reach first?",
)


@cell_gradients.mistake(hint="Print `direct` before and after the call. Which line writes into it?")
def gradients_gathered_in_the_argument(forget, written, start, direct):
    """The gradients are added up inside the array that was passed in, so the caller's numbers change."""
    cells = [start]
    for t in range(forget.shape[1]):
        cells.append(forget[:, t] * cells[-1] + written[:, t])
    for t in reversed(range(forget.shape[1] - 1)):
        direct[:, t] += direct[:, t + 1] * forget[:, t + 1]
    return direct * np.stack(cells[:-1], axis=1), direct, direct[:, 0] * forget[:, 0]


@cell_gradients.mistake(hint="np.zeros makes float64 unless you say otherwise: np.zeros_like, or dtype=forget.dtype.")
def numbers_of_another_type(forget, written, start, direct):
    """The results are written into float64 zeros, also where the arguments are float32."""
    cells = [start]
    for t in range(forget.shape[1]):
        cells.append(forget[:, t] * cells[-1] + written[:, t])
    by_forget, by_written, arriving = np.zeros(forget.shape), np.zeros(forget.shape), np.zeros(start.shape)
    for t in reversed(range(forget.shape[1])):
        by_written[:, t] = arriving + direct[:, t]
        by_forget[:, t] = by_written[:, t] * cells[t]
        arriving = by_written[:, t] * forget[:, t]
    return by_forget, by_written, arriving
