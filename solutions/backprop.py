# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Homework: backpropagation and optimisation
#
# You build the parts of an automatic differentiator, check a gradient, and write what turns gradients into learning.
# Nine tasks; about two hours and three quarters in all. Everything is NumPy.
#
# Replace `raise NotImplementedError()` by your code. The line `check(...)` below each task tells you at once what is
# right and, where it can, which mistake you made. Run it as often as you like. No task needs the answer to another.
#
# Throughout, *the gradient that arrives* at an operation's result is $G = \partial L/\partial(\text{result})$, an array
# of the result's shape; $L$ is a single number, the loss. Nobody asks what $L$ is: that is the point of the method.

# %%
import numpy as np

from autograder import check

# %% [markdown]
# ## rule
#
# Every operation has a rule: given its inputs and the gradient $G$ that arrives at its result, what goes back to each
# input? Write three of them.
#
# | `operation` | result | goes back |
# |---|---|---|
# | `"multiply"` | $X \odot Y$, entry by entry, of equal shapes | two gradients, one for each factor |
# | `"relu"` | $\max(0, X)$, entry by entry | one gradient; at the corner $x = 0$ it is 0 |
# | `"matmul"` | $AB$, for $A$ of shape (…, n, k) and $B$ of shape (…, k, m) | two: $G B^\top$ and $A^\top G$ |
#
# - `operation`: one of the three names; `inputs`: a list of one or two arrays; `gradient`: $G$, of the result's shape
# - returns a list with one gradient per input, each of that input's shape
# - the dots in (…, n, k) are axes of a batch, perhaps none: both matrices have the same ones
#
# Example: for `"multiply"` with inputs 3 and 5 and a gradient of 2, the list is 10 and 6.


# %%
def rule(operation, inputs, gradient):
    """What an operation sends back to each of its inputs."""
    ### BEGIN SOLUTION
    if operation == "multiply":
        x, y = inputs
        return [gradient * y, gradient * x]
    if operation == "relu":
        return [gradient * (inputs[0] > 0)]
    a, b = inputs
    return [gradient @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ gradient]
    ### END SOLUTION


# %%
# Try it out: this should print the example's 10 and 6.
try:
    print(*rule("multiply", [np.array(3.0), np.array(5.0)], np.array(2.0)))
except NotImplementedError:
    print("not written yet")

# %%
check("backprop.rule", rule)

# %% [markdown]
# ## unbroadcast
#
# A bias of shape (4,) added to a batch of shape (32, 4) is used 32 times: broadcasting copies it. On the way back 32
# gradients arrive, and since the bias is one thing, they add up.
#
# Given the gradient by the broadcast array and the `shape` the array had before, return the gradient by that array.
# Remember how broadcasting works: shapes are lined up from the right; missing axes are put in front; and an axis of
# size 1 is stretched.
#
# - `gradient`: an array; `shape`: a tuple that broadcasts to the gradient's shape
# - returns an array of exactly that shape: sums over every axis along which there were copies
#
# Example: a gradient of ones of shape (4, 2, 3) for the shape (2, 1) gives an array of shape (2, 1) with two twelves.


# %%
def unbroadcast(gradient, shape):
    """The gradient summed back to the shape before broadcasting."""
    ### BEGIN SOLUTION
    while gradient.ndim > len(shape):
        gradient = gradient.sum(axis=0)
    for axis in range(len(shape)):
        if shape[axis] == 1:
            gradient = gradient.sum(axis=axis, keepdims=True)
    return gradient
    ### END SOLUTION


# %%
# Try it out: this should print [[12.] [12.]].
try:
    print(unbroadcast(np.ones((4, 2, 3)), (2, 1)))
except NotImplementedError:
    print("not written yet")

# %%
check("backprop.unbroadcast", unbroadcast)

# %% [markdown]
# ## topological_order
#
# A calculation is a graph: each number knows the numbers it was computed from, its *sources*. The forward pass needs an
# order in which every number comes after all of its sources; the backward pass walks the same list from its end.
#
# - `sources`: a dictionary from every number's name to the list of names it was computed from (an input has none; a
#   name may stand in a list twice, as in $x \cdot x$); there are no circles
# - `result`: the name to compute
# - returns a list of names that ends with `result`: each name that leads to the result, directly or by many steps,
#   once; each after all of its sources. Names that do not lead to the result are not in it. Any such order is right.
# - chains may be thousands of steps long, and Python allows only a thousand calls inside one another
#
# Example: for `{"loss": ["x", "b"], "b": ["x"], "x": []}` and the result `"loss"` the list is `["x", "b", "loss"]`.
#
# <details><summary>Hint</summary>
#
# A number may enter the list when all its sources have. Keep a list of things still to be done, and put a number on it
# twice: once to look at its sources, and below that once more to be written down.
#
# </details>


# %%
def topological_order(sources, result):
    """The names that lead to the result, each after all it was computed from."""
    ### BEGIN SOLUTION
    order, seen = [], set()
    waiting = [(result, False)]
    while waiting:
        name, sources_done = waiting.pop()
        if sources_done:
            order.append(name)
        elif name not in seen:
            seen.add(name)
            waiting.append((name, True))
            for source in sources[name]:
                waiting.append((source, False))
    return order
    ### END SOLUTION


# %%
# Try it out: this should print ['x', 'b', 'loss'].
try:
    print(topological_order({"loss": ["x", "b"], "b": ["x"], "x": []}, "loss"))
except NotImplementedError:
    print("not written yet")

# %%
check("backprop.topological_order", topological_order)

# %% [markdown]
# ## softmax_cross_entropy
#
# The last step of a classifier turns logits into a loss, the mean over the samples of
#
# $$-\log p_c, \qquad p_k = \frac{e^{z_k}}{\sum_j e^{z_j}},$$
#
# where $c$ is the sample's label. As one operation it is exact and its gradient by the logits is simple: $(P - Y)/n$,
# where row $i$ of $Y$ is 1 at the label of sample $i$ and 0 elsewhere.
#
# - `logits`: array (samples, classes); `labels`: integers (samples,) from 0 to classes − 1
# - returns the pair (loss, gradient), a number in nats and an array (samples, classes)
# - neither infinite nor NaN for logits in the thousands; write softmax yourself
#
# Example: logits (0, 0) with label 1 give the loss log 2 ≈ 0.693 and the gradient (½, −½).
#
# <details><summary>Hint</summary>
#
# $\log p_c = z_c - \log \sum_j e^{z_j}$. If you first compute $p_c$ and it is so small that the computer makes it 0,
# its logarithm cannot be saved any more.
#
# </details>


# %%
def softmax_cross_entropy(logits, labels):
    """The mean surprise at the labels, and its gradient by the logits."""
    ### BEGIN SOLUTION
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    return -log_p[rows, labels].mean(), gradient / len(labels)
    ### END SOLUTION


# %%
# Try it out on the example.
try:
    print(softmax_cross_entropy(np.zeros((1, 2)), np.array([1])))
except NotImplementedError:
    print("not written yet")

# %%
check("backprop.softmax_cross_entropy", softmax_cross_entropy)

# %% [markdown]
# ## gradient_check
#
# Is a gradient right? Nudge every entry of $x$ by a small step $h$ in both directions and measure:
#
# $$\hat g_i = \frac{f(x + h e_i) - f(x - h e_i)}{2h},$$
#
# where $e_i$ is 1 at entry $i$ and 0 elsewhere. Then say how far the given gradient $g$ is from the measured one,
# relative to their sizes:
#
# $$\frac{\lVert g - \hat g \rVert}{\lVert g \rVert + \lVert \hat g \rVert},$$
#
# a number between 0 and 1; if both gradients are zero throughout, it is 0. $\lVert g \rVert$ is the root of the sum of
# the squares of all entries.
#
# - `function`: takes an array of the shape of `x` and returns a number; `gradient`, `x`: arrays of one shape;
#   `step`: the nudge $h$
# - returns the pair (measured gradient, distance): an array of the shape of `x` and a number
# - `x` comes back exactly as it was
#
# Example: for $f(x) = x_1 x_2$ at (3, 5) with the gradient (5, 3) the measured one is (5, 3) and the distance about 0.


# %%
def gradient_check(function, gradient, x, step):
    """The measured gradient, and its relative distance from the given one."""
    ### BEGIN SOLUTION
    measured = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        nudge = np.zeros_like(x)
        nudge[place] = step
        measured[place] = (function(x + nudge) - function(x - nudge)) / (2 * step)
    sizes = np.linalg.norm(gradient) + np.linalg.norm(measured)
    if sizes == 0:
        return measured, 0.0
    return measured, np.linalg.norm(gradient - measured) / sizes
    ### END SOLUTION


# %%
# Try it out on the example.
try:
    print(gradient_check(lambda x: x[0] * x[1], np.array([5.0, 3.0]), np.array([3.0, 5.0]), step=1e-4))
except NotImplementedError:
    print("not written yet")

# %%
check("backprop.gradient_check", gradient_check)

# %% [markdown]
# ## adam_step
#
# Adam keeps two running averages for each parameter, of the gradient and of its square, and corrects both for having
# started at zero. One step, with every operation entry by entry:
#
# $$
# m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad s \leftarrow \beta_2 s + (1 - \beta_2)\, g^2, \qquad
# \hat m = \frac{m}{1 - \beta_1^t}, \qquad \hat s = \frac{s}{1 - \beta_2^t},
# $$
#
# $$\theta \leftarrow (1 - \eta\lambda)\,\theta - \eta\,\frac{\hat m}{\sqrt{\hat s} + \varepsilon}.$$
#
# The factor $(1 - \eta\lambda)$ is *decoupled* weight decay: with it Adam is called AdamW.
#
# - `parameter`, `gradient`, `mean`, `square`: arrays of one shape: θ, g, m and s before the step
# - `step`: $t$, which is **1** in the first step; `learning_rate`: η; `beta1`, `beta2`; `epsilon`: ε; `weight_decay`: λ
# - returns the triple (new θ, new m, new s), where m and s are *not* corrected: the next step starts from them
# - the arrays you are given stay as they are
#
# Example: in the first step with m = s = 0 and without decay, a gradient of 100 and one of −0.01 both move their
# parameter by the learning rate (nearly): downhill.


# %%
def adam_step(parameter, gradient, mean, square, step, learning_rate, beta1, beta2, epsilon=1e-8, weight_decay=0.0):
    """The parameter and its two averages after one step."""
    ### BEGIN SOLUTION
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient**2
    fair_mean = mean / (1 - beta1**step)
    fair_square = square / (1 - beta2**step)
    shrunk = (1 - learning_rate * weight_decay) * parameter
    return shrunk - learning_rate * fair_mean / (np.sqrt(fair_square) + epsilon), mean, square
    ### END SOLUTION


# %%
# Try it out: the parameters should become −0.5 and nearly 0.5.
try:
    zero = np.zeros(2)
    print(adam_step(zero, np.array([100.0, -0.01]), zero, zero, 1, 0.5, 0.9, 0.999)[0])
except NotImplementedError:
    print("not written yet")

# %%
check("backprop.adam_step", adam_step)

# %% [markdown]
# ## he_normal
#
# A layer whose weights are too small lets the signal die out, one whose weights are too large makes it explode. For
# layers followed by ReLU, He and his colleagues draw normal numbers of mean 0 and **variance** $2/\text{inputs}$.
#
# - `outputs`, `inputs`: how many neurons the layer has, and how many numbers each of them sees
# - `rng`: the generator to draw from, made by `np.random.default_rng(seed)`
# - returns an array (outputs, inputs): each *row* holds one neuron's weights
#
# Example: with 50 inputs the deviation, the root of the variance, is 0.2.


# %%
def he_normal(outputs, inputs, rng):
    """First weights for a layer that is followed by ReLU."""
    ### BEGIN SOLUTION
    return rng.normal(0, np.sqrt(2 / inputs), size=(outputs, inputs))
    ### END SOLUTION


# %%
# Try it out: this should print about 0.2.
try:
    print(he_normal(400, 50, np.random.default_rng(0)).std())
except NotImplementedError:
    print("not written yet")

# %%
check("backprop.he_normal", he_normal)

# %% [markdown]
# ## dropout
#
# In training, dropout sets each number to zero with probability `share`, independently of all others, and divides
# those it keeps by $1 - \text{share}$. So the *expected* value of each number stays what it was, and when predicting
# nothing has to be done at all.
#
# - `x`: array of any shape; `share`: from 0 up to, not including, 1; `training`: True or False
# - `rng`: the generator to draw from
# - returns an array of the shape of `x`, which stays as it is; when predicting, `x` itself may be returned
#
# Example: with share 0.5 a large array of ones becomes one of zeros and twos, about as many of either.


# %%
def dropout(x, share, training, rng):
    """x with some of its numbers dropped and the rest made larger."""
    ### BEGIN SOLUTION
    if not training:
        return x
    kept = rng.random(x.shape) >= share
    return x * kept / (1 - share)
    ### END SOLUTION


# %%
# Try it out: zeros and twos, and a mean near 1.
try:
    kept = dropout(np.ones(1000), 0.5, True, np.random.default_rng(0))
    print(kept[:12], "mean", kept.mean())
except NotImplementedError:
    print("not written yet")

# %%
check("backprop.dropout", dropout)

# %% [markdown]
# ## batch_norm_backward
#
# In training, batch norm makes every feature (column) of a batch have mean 0 and variance 1, then scales and shifts:
#
# $$
# \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}}, \qquad y = \gamma\,\hat x + \beta, \qquad
# \mu = \frac1n \sum x, \qquad \sigma^2 = \frac1n \sum (x - \mu)^2,
# $$
#
# where the sums run over the $n$ rows. Given the gradient $G$ that arrives at $y$, find what goes back.
#
# - `x`, `gradient`: arrays (rows, features), at least two rows; `scale`: γ, an array (features,); `epsilon`: ε
# - returns the triple (gradient by x, gradient by the scale γ, gradient by the shift β) of the shapes (rows, features),
#   (features,), (features,)
#
# Two checks you can make on paper: adding a number to a whole column does not change $y$, so each column of the
# gradient by $x$ adds up to 0; and for ε = 0, stretching a column about its mean does not change $y$ either.
#
# <details><summary>Hint</summary>
#
# Take it in small steps, each with its own gradient: the centred numbers $x - \mu$, the variance, its root, the
# quotient. What every row contributed to ($\mu$ and $\sigma^2$) collects from every row, and gives back to every row.
#
# </details>


# %%
def batch_norm_backward(x, scale, gradient, epsilon=1e-5):
    """What goes back through batch norm to x, to the scale and to the shift."""
    ### BEGIN SOLUTION
    rows = len(x)
    centred = x - x.mean(axis=0)
    root = np.sqrt((centred**2).mean(axis=0) + epsilon)
    normal = centred / root

    by_normal = gradient * scale
    by_root = -(by_normal * centred).sum(axis=0) / root**2
    by_variance = by_root / (2 * root)
    by_centred = by_normal / root + by_variance * 2 * centred / rows
    by_x = by_centred - by_centred.mean(axis=0)
    return by_x, (gradient * normal).sum(axis=0), gradient.sum(axis=0)
    ### END SOLUTION


# %%
# Try it out: each column of the first array should add up to 0.
try:
    numbers = np.array([[1.0, 10.0], [2.0, 40.0], [6.0, 20.0]])
    print(batch_norm_backward(numbers, np.ones(2), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])))
except NotImplementedError:
    print("not written yet")

# %%
check("backprop.batch_norm_backward", batch_norm_backward)
