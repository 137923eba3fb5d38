# %% [markdown]
# # Homework: LSTM, GRU and bidirectional networks
#
# You will write one step of both gated networks, carry their states through batches of different lengths, read in both
# directions, and find out by hand why the gradient survives in a cell state.
#
# There are seven exercises. Plan about two and a half hours. Below each answer stands one line, `check(…)`: run it as
# often as you like. It tells you which parts are right, the first case that fails, and, when it recognises your
# mistake, what went wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: the batch comes first, then time; weights are as in `torch.nn.Linear`, `(out, in)`; `lengths` says how
# many tokens at the beginning of each row are real; results have the dtype of the inputs.

# %%
import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder import check

# %% [markdown]
# ## count_parameters
#
# The lecture says that a GRU has fewer parameters than an LSTM. How many has each?
#
# **Write** `count_parameters(gates, features, hidden, layers, bidirectional)`: the number of parameters of torch's
# layer (56.0 is as good as 56). `gates` is the number of weighted sums in one step: 3 for a GRU, 4 for an LSTM.
#
# - One layer in one direction has four parameters: `weight_ih` `(gates · hidden, what it reads)`, `weight_hh`
#   `(gates · hidden, hidden)`, and two biases `(gates · hidden,)`.
# - The first layer reads the inputs, with `features` numbers each. Each layer above reads the outputs of the one below.
# - With `bidirectional=True` each layer exists twice, once for each direction, and its outputs are those of both
#   directions side by side.
# - torch's ready-made layers are not allowed.
#
# **Example.** `count_parameters(4, 3, 2, 1, False)` is 56: 8·3 + 8·2 + 8 + 8.


# %%
def count_parameters(gates, features, hidden, layers, bidirectional):
    """How many parameters a stack of gated layers has."""
    ### BEGIN SOLUTION
    directions = 2 if bidirectional else 1
    rows = gates * hidden
    first = rows * (features + hidden + 2)
    above = rows * (directions * hidden + hidden + 2)
    return directions * (first + (layers - 1) * above)
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(count_parameters(4, 3, 2, 1, False))
except NotImplementedError:
    print("not written yet")

# %%
check("gated.count_parameters", count_parameters)

# %% [markdown]
# ## memory_bias
#
# Suppose nothing is written into a cell state, and the forget gate is the same at every step: $f = \sigma(b)$. After
# `steps` steps $f^{\text{steps}}$ of it is left. Which bias $b$ leaves the asked `share`?
#
# **Write** `memory_bias(steps, share)` for a whole number `steps` ≥ 1 and a share between 0 and 1. It returns a number.
#
# - `steps` may be huge. For $10^{18}$ the gate is so near to 1 that a computer rounds it to 1; the bias is still an
#   ordinary number (for a share of ½ about 41.8).
#
# **Example.** `memory_bias(1, 0.5)` is 0, and `memory_bias(100, 0.5)` is about 4.968.
#
# <details><summary>A hint</summary>
#
# Solve $f^{\text{steps}} = \text{share}$ for $f$, and $f = 1/(1+e^{-b})$ for $b$. Then look for $1 - f$ in your
# formula: `math.expm1(x)` is $e^x - 1$ without rounding the power first.
# </details>


# %%
def memory_bias(steps, share):
    """The bias of a forget gate that leaves this share of a cell state after so many steps."""
    ### BEGIN SOLUTION
    log_gate = math.log(share) / steps
    return log_gate - math.log(-math.expm1(log_gate))
    ### END SOLUTION


# %%
# A reader's check: does a gate with this bias leave a tenth after 20 steps?
try:
    gate = 1 / (1 + math.exp(-memory_bias(20, 0.1)))
    print(gate**20)
except NotImplementedError:
    print("not written yet")

# %%
check("gated.memory_bias", memory_bias)

# %% [markdown]
# ## lstm_step
#
# One step of an LSTM. From the input $x$ and the old output $h$ come four weighted sums, of which three become gates:
#
# $$\begin{aligned}
# (a_i,\ a_f,\ a_g,\ a_o) &= W_{ih}\,x + W_{hh}\,h + b \\
# i = \sigma(a_i), \quad f &= \sigma(a_f), \quad g = \tanh(a_g), \quad o = \sigma(a_o) \\
# c' &= f \odot c + i \odot g \\
# h' &= o \odot \tanh(c')
# \end{aligned}$$
#
# **Write** `lstm_step(x, h, c, weight_ih, weight_hh, bias)`. It returns **two** tensors: $h'$ and $c'$.
#
# - `x`: `(batch, features)`; `h` and `c`: `(batch, hidden)`.
# - `weight_ih`: `(4 · hidden, features)`, `weight_hh`: `(4 · hidden, hidden)`, `bias`: `(4 · hidden,)`. Their rows are
#   those of the input gate, the forget gate, the candidate and the output gate, in this order.
# - Gradients must be able to flow back into all six arguments: build new tensors instead of writing into old ones.
# - torch's ready-made LSTM is not allowed.
#
# **Example.** With all weights and biases zero, every gate is ½ and the candidate is 0: `c` is halved.


# %%
def lstm_step(x, h, c, weight_ih, weight_hh, bias):
    """The new output and the new cell state, (batch, hidden) each."""
    ### BEGIN SOLUTION
    sums = F.linear(x, weight_ih, bias) + F.linear(h, weight_hh)
    write, keep, candidate, show = sums.tensor_split(4, dim=1)
    memory = keep.sigmoid() * c + write.sigmoid() * candidate.tanh()
    return show.sigmoid() * memory.tanh(), memory
    ### END SOLUTION


# %%
# The example of the text.
try:
    x, state = torch.ones(1, 3), torch.tensor([[1.0, -2.0]])
    print(*lstm_step(x, state, state, torch.zeros(8, 3), torch.zeros(8, 2), torch.zeros(8)))
except NotImplementedError:
    print("not written yet")

# %%
check("gated.lstm_step", lstm_step)

# %% [markdown]
# ## gru_step
#
# One step of a GRU, exactly as the lecture writes it. $[h, x]$ means: the old state and the input side by side, in this
# order.
#
# $$\begin{aligned}
# r &= \sigma(W_r\,[h, x] + b_r) && \text{reset gate: which parts of } h \text{ the candidate may read} \\
# z &= \sigma(W_z\,[h, x] + b_z) && \text{update gate: which parts of } h \text{ shall change} \\
# \tilde h &= \tanh(W_h\,[r \odot h,\ x]) && \text{candidate} \\
# h' &= (1 - z) \odot h + z \odot \tilde h
# \end{aligned}$$
#
# Careful: torch differs from this in two places. There the reset gate comes after the product with the weights, and $z$
# is the share that *stays*.
#
# **Write** `gru_step(x, h, reset_weight, update_weight, candidate_weight, reset_bias, update_bias)`. It returns $h'$.
#
# - `x`: `(batch, features)`, `h`: `(batch, hidden)`; the three weights: `(hidden, hidden + features)`, the two biases:
#   `(hidden,)`.
# - Gradients must be able to flow back into all seven arguments: build new tensors instead of writing into old ones.
# - torch's ready-made GRU is not allowed (nor would it give these numbers).
#
# **Example.** With all weights and biases zero, both gates are ½ and the candidate is 0: `h` is halved.


# %%
def gru_step(x, h, reset_weight, update_weight, candidate_weight, reset_bias, update_bias):
    """The new state, (batch, hidden)."""
    ### BEGIN SOLUTION
    both = torch.cat([h, x], dim=1)
    reset = torch.sigmoid(F.linear(both, reset_weight, reset_bias))
    update = torch.sigmoid(F.linear(both, update_weight, update_bias))
    candidate = torch.tanh(F.linear(torch.cat([reset * h, x], dim=1), candidate_weight))
    return h - update * h + update * candidate
    ### END SOLUTION


# %%
# The example of the text.
try:
    x, h, weight, bias = torch.ones(1, 3), torch.tensor([[1.0, -2.0]]), torch.zeros(2, 5), torch.zeros(2)
    print(gru_step(x, h, weight, weight, weight, bias, bias))
except NotImplementedError:
    print("not written yet")

# %%
check("gated.gru_step", gru_step)

# %% [markdown]
# ## carry_state
#
# Rows of different lengths share a batch, so the shorter ones are filled up with padding at the end. A recurrent
# network must not read it: behind the end of a row its state stays as it is.
#
# **Write** `carry_state(step, inputs, lengths, h, c)`. It returns **three** tensors: the outputs and the final `h` and
# `c`.
#
# - `step(x, (h, c))` makes one step for the whole batch and returns the new `(h, c)`; `x` is `(batch, features)`.
# - `inputs`: `(batch, time, features)`; `lengths`: whole numbers `(batch,)`, from 0 to `time`; `h` and `c`:
#   `(batch, hidden)`, the state to start from.
# - Outputs `(batch, time, hidden)`: the new `h` of every step, and **zeros** behind the end of a row.
# - Final `h` and `c`: those after the row's own last token. A row of length 0 keeps the state it came with.
# - Gradients must be able to flow back into the inputs, into `h` and `c`, and into the weights inside `step`: build new
#   tensors instead of writing into old ones.
# - The padding holds numbers that mean nothing, but never NaN or infinite ones.
#
# **Example.** A step that adds the input to both parts, one row `[1, 2, 100]` of length 2, from zeros: the outputs are
# `[1, 3, 0]` and both parts of the final state are 3.
#
# <details><summary>A hint</summary>
#
# At time `t` the rows with `t < lengths` take the step. `torch.where` chooses between the new and the old state, if the
# condition has an axis of size one for the features.
# </details>


# %%
def carry_state(step, inputs, lengths, h, c):
    """Outputs (batch, time, hidden) and the final h and c of a ragged batch."""
    ### BEGIN SOLUTION
    outputs = []
    for t, x in enumerate(inputs.unbind(dim=1)):
        padding = (lengths <= t).unsqueeze(1)
        new_h, new_c = step(x, (h, c))
        outputs.append(new_h.masked_fill(padding, 0))
        h, c = torch.where(padding, h, new_h), torch.where(padding, c, new_c)
    return torch.stack(outputs, dim=1), h, c
    ### END SOLUTION


# %%
# The example of the text.
try:
    numbers, zeros = torch.tensor([[[1.0], [2.0], [100.0]]]), torch.zeros(1, 1)
    print(*carry_state(lambda x, state: (state[0] + x, state[1] + x), numbers, torch.tensor([2]), zeros, zeros))
except NotImplementedError:
    print("not written yet")

# %%
check("gated.carry_state", carry_state)

# %% [markdown]
# ## both_directions
#
# A second network reads from the end, so that at every token it is known what came before *and* what comes after.
#
# **Write** `both_directions(read_ahead, read_back, inputs, lengths)`.
#
# - `read_ahead(inputs)` and `read_back(inputs)` are two networks: from `(batch, time, features)` they make
#   `(batch, time, hidden)`, and both read from the first place to the last. They know nothing of lengths.
# - `read_ahead` is to read each row as it is; `read_back` is to read each row's **own tokens in reverse order**,
#   beginning with its last token, not with the padding.
# - The result is `(batch, time, 2 · hidden)`: at each token what was read ahead up to it, then what was read back up to
#   it. Behind the end of a row stand zeros.
# - To the networks a zero is a number like any other: setting the padding to zero does not hide it from them.
#
# **Example.** Let both networks be running sums. The row `[1, 2, 3, 9]` of length 3 gives
# `[[1, 6], [3, 5], [6, 3], [0, 0]]`.
#
# <details><summary>A hint</summary>
#
# Reverse each row's own tokens, read, and reverse each row's own outputs again. A loop over the rows with `flip(0)` is
# fine. Without a loop: which place does the token at place `t` of a row of length `n` go to?
# </details>


# %%
def both_directions(read_ahead, read_back, inputs, lengths):
    """What was read up to each token from either end, side by side; zeros in the padding."""
    ### BEGIN SOLUTION
    place = torch.arange(inputs.shape[1]).expand(len(inputs), -1)
    real = place < lengths.unsqueeze(1)
    # Read twice, this order gives the first one back: reversed where real, unchanged where not.
    order = torch.where(real, lengths.unsqueeze(1) - 1 - place, place).unsqueeze(2)
    back = read_back(torch.take_along_dim(inputs, order, dim=1))
    joined = torch.cat([read_ahead(inputs), torch.take_along_dim(back, order, dim=1)], dim=-1)
    return torch.where(real.unsqueeze(2), joined, 0)
    ### END SOLUTION


# %%
# The example of the text.
try:
    row = torch.tensor([[[1.0], [2.0], [3.0], [9.0]]])
    print(both_directions(lambda x: x.cumsum(1), lambda x: x.cumsum(1), row, torch.tensor([3])))
except NotImplementedError:
    print("not written yet")

# %%
check("gated.both_directions", both_directions)

# %% [markdown]
# ## cell_gradients
#
# Here is an LSTM's cell state with everything around it left out:
#
# $$c_t = f_t \odot c_{t-1} + u_t, \qquad t = 1, \dots, T$$
#
# where $u_t$ is what is written at step $t$. The loss $L$ reads the cell states, and we are told the *direct* gradients
# $d_t$: how much $L$ changes when $c_t$ changes and every other cell state is held fixed. But a cell state also acts
# through those that follow it. Go back in time, by hand.
#
# **Write** `cell_gradients(forget, written, start, direct)` for **NumPy** arrays. It returns **three** arrays: the
# gradients of $L$ by all $f_t$, by all $u_t$, and by $c_0$.
#
# - `forget` ($f$), `written` ($u$) and `direct` ($d$): `(batch, time, hidden)`; `start` ($c_0$): `(batch, hidden)`.
# - The gates of step 1 stand at index 0 of the axis `time`. $d_t$ stands at the same index as $f_t$ and $u_t$.
# - The arguments are not changed, and the results have their dtype, `float32` or `float64`.
# - No automatic differentiation: the loop is the exercise.
#
# **Example.** One row and one number: gates `[0.5, 0.5]`, written `[1, 1]`, start `2`, direct `[0, 1]`. The cell states
# are 2, 2, 2. The gradients by the gates are `[1, 2]`, by what is written `[0.5, 1]`, by the start `0.25`.
#
# <details><summary>A hint</summary>
#
# Let $\delta_t$ be the whole gradient of $L$ by $c_t$. It has two sources: $d_t$, and what $c_{t+1}$ passes on. Where
# does $\delta_T$ come from? Once you have all of them, look at the formula of $c_t$: by what is $f_t$ multiplied, and
# $u_t$?
# </details>


# %%
def cell_gradients(forget, written, start, direct):
    """Gradients by the forget gates, by what is written, and by the cell state at the start."""
    ### BEGIN SOLUTION
    before = [start]
    for t in range(forget.shape[1]):
        before.append(written[:, t] + before[-1] * forget[:, t])
    whole = direct.copy()
    for t in range(forget.shape[1] - 1, 0, -1):
        whole[:, t - 1] += forget[:, t] * whole[:, t]
    return np.stack(before[:-1], axis=1) * whole, whole, forget[:, 0] * whole[:, 0]
    ### END SOLUTION


# %%
# The example of the text.
try:
    half, ones = np.full((1, 2, 1), 0.5), np.ones((1, 2, 1))
    print(*(g.ravel() for g in cell_gradients(half, ones, np.array([[2.0]]), np.array([[[0.0], [1.0]]]))))
except NotImplementedError:
    print("not written yet")

# %%
check("gated.cell_gradients", cell_gradients)
