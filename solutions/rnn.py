# %% [markdown]
# # Homework: recurrent networks
#
# You will write a recurrent network's way forward and its way back, tame its gradients, draw words from a language
# model, measure how unsure it is, and count all the ways in which a word can be spoken.
#
# There are seven exercises. Plan about two and a half hours. Below each answer stands one line, `check(…)`: run it as
# often as you like. It tells you which parts are right, the first case that fails, and, when it recognises your
# mistake, what went wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: the batch comes first, then time; **rows are samples**, so a layer is $xW^\top + b$; inputs are never
# changed; results have the dtype of the inputs. The axes are called `batch`, `time`, `features`, `hidden`, `vocab`.

# %%
import math

import numpy as np
import torch

from autograder import check

# %% [markdown]
# ## step
#
# One step of Elman's network makes a new state of the input and the old state:
#
# $$h' = \tanh(W_{ih}\,x + b_{ih} + W_{hh}\,h + b_{hh})$$
#
# **Write** `step(x, state, weight_ih, weight_hh, bias_ih, bias_hh)` for a batch of torch tensors.
#
# - `x` is `(batch, features)`, `state` is `(batch, hidden)`, `weight_ih` is `(hidden, features)`, `weight_hh` is
#   `(hidden, hidden)`, and each bias is `(hidden,)`. Row $k$ of a matrix holds the weights of the $k$-th new number.
# - The result is the new state, `(batch, hidden)`; gradients must be able to flow back into everything.
# - torch's recurrent layers and cells are not allowed.
#
# **Example.** With one number everywhere, `x = 1`, `state = 0.5`, weights 2 and −2 and both biases 0, the new state is
# $\tanh(2 \cdot 1 - 2 \cdot 0.5) = \tanh 1 \approx 0.76$.


# %%
def step(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    """The state after one input; shape (batch, hidden)."""
    ### BEGIN SOLUTION
    from_input = x @ weight_ih.T + bias_ih
    from_state = state @ weight_hh.T + bias_hh
    return torch.tanh(from_input + from_state)
    ### END SOLUTION


# %%
# The example of the text.
try:
    one = torch.ones(1, 1)
    print(step(one, 0.5 * one, 2 * one, -2 * one, torch.zeros(1), torch.zeros(1)))
except NotImplementedError:
    print("not written yet")

# %%
check("rnn.step", step)

# %% [markdown]
# ## sequence
#
# Now the same step, over and over, on sentences of different length that share a batch. Short rows are filled up at the
# end, and what fills them up must not be read: not by the outputs, not by the final state, not by the gradients.
#
# **Write** `sequence(inputs, lengths, weight_ih, weight_hh, bias)` for torch tensors. `inputs` is
# `(batch, time, features)`; of row $n$ the first `lengths[n]` steps are real, and the rest holds numbers that mean
# nothing (never NaN or infinite). The state begins with zeros, and each real step is
# $h_t = \tanh(W_{ih}\,x_t + W_{hh}\,h_{t-1} + b)$.
#
# - Return two tensors: the outputs $(h_1, h_2, \dots)$, shape `(batch, time, hidden)`, with **zeros** at the steps
#   that are not real; and the final state, shape `(batch, hidden)`: that **after each row's own last real step**.
# - A length may be anything from 0 (the state stays zero) to `time`.
# - Gradients must be able to flow back from both into the inputs, the weights and the bias.
# - The dtype of the results is that of `inputs`, `float32` or `float64`. torch's recurrent layers are not allowed.
#
# **Example.** With `weight_ih = [[1.]]`, `weight_hh = [[0.]]`, `bias = [0.]` the row `[[1.], [2.], [9.]]` of length 2
# has the outputs $\tanh 1$, $\tanh 2$, $0$ and the final state $\tanh 2$.
#
# <details><summary>A hint</summary>
#
# `torch.where(condition, new, old)` chooses number by number. A condition of shape `(batch, 1)` chooses whole rows.
# </details>


# %%
def sequence(inputs, lengths, weight_ih, weight_hh, bias):
    """Outputs (batch, time, hidden), zero behind each row's end, and each row's last state (batch, hidden)."""
    ### BEGIN SOLUTION
    state = inputs.new_zeros(len(inputs), len(bias))
    outputs = []
    for t, x in enumerate(inputs.unbind(1)):
        real = (t < lengths).unsqueeze(1)
        new = torch.tanh(x @ weight_ih.T + state @ weight_hh.T + bias)
        state = torch.where(real, new, state)  # a row that has ended keeps its state
        outputs.append(new * real)
    return torch.stack(outputs, 1), state
    ### END SOLUTION


# %%
# The example of the text.
try:
    row, one = torch.tensor([[[1.0], [2.0], [9.0]]]), torch.ones(1, 1)
    print(*sequence(row, torch.tensor([2]), one, 0 * one, torch.zeros(1)))
except NotImplementedError:
    print("not written yet")

# %%
check("rnn.sequence", sequence)

# %% [markdown]
# ## bptt
#
# Back-propagation through time, by hand, in NumPy, for one sequence. The forward pass was
# $h_t = \tanh(W_{ih}\,x_t + W_{hh}\,h_{t-1} + b)$. Somebody has already worked out how the loss depends on the outputs:
# `gradient[t]` is $g_t$, the slope of the loss by $h_t$ *where the loss reads $h_t$ directly*. But $h_t$ also goes into
# $h_{t+1}$. So go from the last step to the first:
#
# $$\delta_t = (1 - h_t^2) \circ (g_t + W_{hh}^\top\,\delta_{t+1}), \qquad
# \frac{\partial L}{\partial W_{ih}} = \sum_t \delta_t\,x_t^\top, \quad
# \frac{\partial L}{\partial W_{hh}} = \sum_t \delta_t\,h_{t-1}^\top, \quad
# \frac{\partial L}{\partial b} = \sum_t \delta_t .$$
#
# **Write** `bptt(inputs, states, gradient, weight_ih, weight_hh, window=None)` and return the three gradients, in the
# order of the formula.
#
# - `inputs` is `(time, features)` and `gradient` is `(time, hidden)`. `states` is `(time + 1, hidden)`: **the state
#   before the first step stands at index 0**, so step `t` (counted from 0) made `states[t + 1]` out of `states[t]`.
# - With a `window`, the way back is **truncated**: steps 0 … window − 1 are one window, the next `window` steps
#   another, and so on. From a window nothing goes back into the one before it. All the steps still count.
# - By hand means: automatic differentiation is not allowed.
#
# **Example.** One step with all numbers one-dimensional: `inputs = [[2.]]`, `states = [[0.5], [0.]]`, `gradient =
# [[3.]]` gives $\delta = 3$ and so the gradients `[[6.]]`, `[[1.5]]` and `[3.]`.


# %%
def bptt(inputs, states, gradient, weight_ih, weight_hh, window=None):
    """Gradients of weight_ih, weight_hh and the bias, as three arrays of their shapes."""
    ### BEGIN SOLUTION
    time, hidden = gradient.shape
    deltas = np.zeros((time, hidden))
    from_later = np.zeros(hidden)
    for t in reversed(range(time)):
        if window is not None and (t + 1) % window == 0:
            from_later = np.zeros(hidden)  # the next step belongs to another window
        deltas[t] = (1 - states[t + 1] ** 2) * (gradient[t] + from_later)
        from_later = deltas[t] @ weight_hh
    return deltas.T @ inputs, deltas.T @ states[:-1], deltas.sum(0)
    ### END SOLUTION


# %%
# The example of the text.
try:
    one, states = np.ones((1, 1)), np.array([[0.5], [0.0]])
    print(*bptt(2 * one, states, 3 * one, one, one))
except NotImplementedError:
    print("not written yet")

# %%
check("rnn.bptt", bptt)

# %% [markdown]
# ## clip_gradients
#
# A gradient that has exploded still points somewhere sensible, it is only far too long. So keep its direction and
# shorten it. All the arrays together are *one* vector:
#
# $$\lVert g \rVert = \sqrt{\sum_{\text{arrays}} \sum_i g_i^2}, \qquad
# g \leftarrow g \cdot \min\left(1, \frac{\text{limit}}{\lVert g \rVert}\right).$$
#
# **Write** `clip_gradients(gradients, limit)`. `gradients` is a list of NumPy arrays of any shapes.
#
# - Return a list of new arrays, and the length $\lVert g \rVert$ **before** clipping, as a number.
# - Gradients that are short enough keep their numbers; but return copies, so that nobody who goes on with the result
#   changes the arrays you were given. All gradients may be zero.
#
# **Example.** `clip_gradients([np.array([3.0]), np.array([[4.0]])], 1.0)` is `([[0.6], [[0.8]]], 5.0)`.


# %%
def clip_gradients(gradients, limit):
    """The gradients, shortened by one factor where they are longer than limit together, and their length before."""
    ### BEGIN SOLUTION
    norm = math.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
    factor = limit / max(norm, limit)
    return [gradient * factor for gradient in gradients], norm
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(clip_gradients([np.array([3.0]), np.array([[4.0]])], 1.0))
except NotImplementedError:
    print("not written yet")

# %%
check("rnn.clip_gradients", clip_gradients)

# %% [markdown]
# ## nucleus
#
# A language model gives every token some probability, also to thousands of absurd ones, and together they are drawn
# often enough to spoil a text. Nucleus sampling draws only from the *nucleus*: as few of the likeliest tokens as have
# probability $p$ together.
#
# **Write** `nucleus(logits, p, temperature=1.0)` for a torch tensor of logits, `(vocab,)` or `(batch, vocab)`, and
# return the probabilities to draw from, a tensor of the same shape.
#
# - First divide the logits by the temperature; then comes the softmax; then the cut, for each row by itself.
# - Add up the probabilities from the largest one. The token with which the sum **reaches** $p$ still belongs to the
#   nucleus, so at least one token always does. No two probabilities of a row will be equal.
# - Tokens outside get 0; those inside are scaled so that they sum to one. Entry $i$ is the probability of token $i$.
#
# **Example.** For probabilities 0.2, 0.5, 0.3 and `p = 0.6` the result is 0, 0.625, 0.375.
#
# <details><summary>A hint</summary>
#
# `values, order = x.sort(descending=True)` also tells where the sorted values came from, and
# `zeros.scatter(-1, order, values)` puts them back there.
# </details>


# %%
def nucleus(logits, p, temperature=1.0):
    """The probabilities of the likeliest tokens that reach p together, scaled to sum to one; zero elsewhere."""
    ### BEGIN SOLUTION
    probability, order = torch.softmax(logits / temperature, -1).sort(-1, descending=True)
    before = probability.cumsum(-1) - probability
    probability = probability * (before < p)
    probability = probability / probability.sum(-1, keepdim=True)
    return torch.empty_like(probability).scatter(-1, order, probability)
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(nucleus(torch.tensor([0.2, 0.5, 0.3]).log(), 0.6))
except NotImplementedError:
    print("not written yet")

# %%
check("rnn.nucleus", nucleus)

# %% [markdown]
# ## perplexity
#
# How unsure was the model of the text that really came? Take the mean surprise $-\ln P(\text{token})$ over **all real
# tokens of all texts**, and undo the logarithm:
#
# $$\exp\left(-\frac{1}{N}\sum_{n=1}^{N} \ln P(\text{token}_n)\right).$$
#
# A perplexity of 6 means: as unsure as before a throw of a die.
#
# **Write** `perplexity(logits, targets, mask)` for torch tensors. `logits` is `(batch, time, vocab)`; `targets` is
# `(batch, time)` and holds the number of the token that came; `mask` is `(batch, time)`, bool, True where the token is
# real.
#
# - The result is one number (a Python float, or a tensor of one number).
# - The numbers where the mask is False must make no difference. They may be any, but never NaN or infinite.
#
# **Example.** Logits that are all zero, with `vocab = 6`: the perplexity is 6, whatever came.


# %%
def perplexity(logits, targets, mask):
    """exp of the mean surprise, in nats, at the real tokens."""
    ### BEGIN SOLUTION
    log_probabilities = torch.log_softmax(logits, -1)
    surprise = -log_probabilities.gather(2, targets.unsqueeze(2)).squeeze(2)
    return surprise[mask].mean().exp()
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(perplexity(torch.zeros(1, 3, 6), torch.tensor([[0, 5, 2]]), torch.tensor([[True, True, False]])))
except NotImplementedError:
    print("not written yet")

# %%
check("rnn.perplexity", perplexity)

# %% [markdown]
# ## ctc_probability
#
# A recogniser of speech says at each of many short steps how likely each label is, or the **blank** (number 0: nothing
# new here). A *path* takes one of them at every step. It stands for the labels that are left when first repetitions are
# merged and then the blanks removed: with blank `–`, the paths `aa–b`, `a–bb` and `aabb` all say `ab`, while `a–a` says
# `aa`.
#
# The probability of the labels is the sum over *all* paths that say them. There are far too many to list, but this is
# enough: write the labels with blanks between and around them, $z = (–, a, –, b, –)$, and let $\alpha_t(s)$ be the
# probability of all the beginnings of paths that stand at place $s$ of $z$ after step $t$. A path stays where it is,
# goes on by one place, or jumps over a blank, but only from one label to a **different** one:
#
# $$\alpha_t(s) = \big(\alpha_{t-1}(s) + \alpha_{t-1}(s-1) + [\text{jump allowed}]\;\alpha_{t-1}(s-2)\big)\,P_t(z_s)$$
#
# A path begins at either of the first two places and ends at either of the last two. Without labels there is only one
# place, the blank: it is the first and the last.
#
# **Write** `ctc_probability(probabilities, labels)`. `probabilities` is a NumPy array `(time, classes)`, each row of
# which sums to one; `labels` is a list of numbers from 1 to classes − 1, and may be empty. Return a number.
#
# - No path can say more labels than there are steps: then the answer is 0.
#
# **Example.** Two steps, blank and one label equally likely: of the four paths three say the label (`aa`, `a–`,
# `–a`), so `ctc_probability(np.full((2, 2), 0.5), [1])` is 0.75, and with the labels `[1, 1]` it is 0.


# %%
def ctc_probability(probabilities, labels):
    """The probability that a path, drawn step by step, says these labels."""
    ### BEGIN SOLUTION
    places = [0]
    for label in labels:
        places.extend([label, 0])
    alpha = [probabilities[0, place] if s < 2 else 0.0 for s, place in enumerate(places)]
    for row in probabilities[1:]:
        old, alpha = alpha, []
        for s, place in enumerate(places):
            arriving = sum(old[max(s - 1, 0) : s + 1])
            if s > 2 and place not in (0, places[s - 2]):
                arriving += old[s - 2]
            alpha.append(arriving * row[place])
    return sum(alpha[-2:])
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(ctc_probability(np.full((2, 2), 0.5), [1]), ctc_probability(np.full((2, 2), 0.5), [1, 1]))
except NotImplementedError:
    print("not written yet")

# %%
check("rnn.ctc_probability", ctc_probability)
