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
# # Homework: the perceptron and the multilayer network
#
# You build a neuron, let it learn, see what it cannot learn, and put several of them together.
# Seven tasks, from easy to hard; about an hour and three quarters in all. Everything is NumPy.
#
# Replace `raise NotImplementedError()` by your code. The line `check(...)` below each task tells you at once what is
# right and, where it can, which mistake you made. Run it as often as you like. No task needs the answer to another.
#
# Two conventions of the chapter hold throughout:
#
# - every signal of a threshold neuron, labels included, is **−1 or +1**;
# - each *row* of a weight matrix is one neuron, so a batch of points, one per row, passes a layer as $X W^\top + b$.

# %%
import numpy as np

from autograder import check

# %% [markdown]
# ## neuron_output
#
# A threshold neuron weighs its inputs, adds its bias, and answers +1 if the sum reaches zero, otherwise −1:
#
# $$\hat y = \begin{cases} +1 & \text{if } w_1 x_1 + \dots + w_d x_d + b \ge 0 \\ -1 & \text{otherwise.} \end{cases}$$
#
# Write it for many points at once. Use plain loops first if you like, so that you see every multiplication; then find
# the one product that replaces them.
#
# - `points`: array (samples, features), one point per row; `weights`: array (features,); `bias`: a number
# - returns an array (samples,) of **whole numbers** −1 and +1 (dtype `int64`)
# - a sum of *exactly* zero counts as reached: +1
#
# Example: with weights (1, −1) and bias 0.5 the point (2, 0) gives the sum 2.5, so +1;
# the point (0, 2) gives −1.5, so −1.


# %%
def neuron_output(points, weights, bias):
    """The answers −1 or +1 to all points, as an integer array (samples,)."""
    ### BEGIN SOLUTION
    answers = []
    for point in points:
        total = bias
        for i in range(len(weights)):
            total += weights[i] * point[i]
        answers.append(1 if total >= 0 else -1)
    return np.array(answers)
    ### END SOLUTION


# %%
# Try it out: this should print [ 1 -1].
try:
    print(neuron_output(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([1.0, -1.0]), 0.5))
except NotImplementedError:
    print("not written yet")

# %%
check("perceptron.neuron_output", neuron_output)

# %% [markdown]
# ## learning_step
#
# Rosenblatt's rule looks at one point $x$ with label $y$. If the neuron answers it rightly, nothing changes.
# If not, the weights and the bias move towards the right answer:
#
# $$w \leftarrow w + y\,x, \qquad b \leftarrow b + y.$$
#
# - `weights`, `point`: arrays (features,); `bias`: a number; `label`: −1 or +1
# - returns the pair (new weights, new bias)
# - the neuron's answer to a sum of exactly zero is +1, as above
# - the arrays you are given stay as they are: return a new one
#
# Example: weights (0, 0), bias 0, point (3, 1), label −1. The sum is 0, the answer +1, which is wrong.
# The new weights are (−3, −1), the new bias is −1.


# %%
def learning_step(weights, bias, point, label):
    """The weights and the bias after learning from one point."""
    ### BEGIN SOLUTION
    answer = 1 if weights @ point + bias >= 0 else -1
    if answer == label:
        return weights, bias
    return weights + label * point, bias + label
    ### END SOLUTION


# %%
# Try it out: this should print the example's numbers.
try:
    print(learning_step(np.zeros(2), 0.0, np.array([3.0, 1.0]), -1))
except NotImplementedError:
    print("not written yet")

# %%
check("perceptron.learning_step", learning_step)

# %% [markdown]
# ## fit
#
# Now let the neuron learn: begin with all weights and the bias at zero, take the points **in their order**, and apply
# Rosenblatt's rule to each. That was one *pass*. Go on with another pass until one goes by without a mistake, or
# until `max_passes` passes have been made.
#
# - `points`: array (samples, features); `labels`: integer array (samples,) of −1 and +1; `max_passes`: at least 1
# - returns (weights, bias, history); `history` is a list with the number of mistakes in each pass. A last pass without
#   a mistake belongs to it, as a 0.
#
# Example: the points (−1, −1), (−1, 1), (1, −1), (1, 1) with labels −1, −1, −1, +1 (logical AND) end with weights
# (1, 1), bias −1 and history [1, 0].
#
# <details><summary>Hint</summary>
#
# Two loops: the outer one counts passes, the inner one goes through the points. The weights change inside the inner
# loop, so the next point already meets the new ones.
#
# </details>


# %%
def fit(points, labels, max_passes):
    """Weights, bias and the number of mistakes in each pass."""
    ### BEGIN SOLUTION
    weights, bias = np.zeros(points.shape[1]), 0.0
    history = []
    for _ in range(max_passes):
        mistakes = 0
        for i in range(len(points)):
            answer = 1 if weights @ points[i] + bias >= 0 else -1
            if answer != labels[i]:
                weights, bias = weights + labels[i] * points[i], bias + labels[i]
                mistakes += 1
        history.append(mistakes)
        if mistakes == 0:
            break
    return weights, bias, history
    ### END SOLUTION


# %%
# Try it out on logical AND.
corners = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
try:
    print(fit(corners, np.array([-1, -1, -1, 1]), max_passes=10))
except NotImplementedError:
    print("not written yet")

# %%
check("perceptron.fit", fit)

# %% [markdown]
# ## leaky_relu
#
# The leaky rectified linear unit lets positive numbers through and scales negative ones down:
#
# $$g(z) = \begin{cases} z & \text{if } z > 0 \\ \text{slope} \cdot z & \text{otherwise.} \end{cases}$$
#
# Return the function *and* its derivative $g'(z)$, both for every number of an array. The derivative jumps at the
# corner $z = 0$; take the left-hand value there, `slope`, as torch does.
#
# - `z`: floating-point array of any shape, possibly empty; `slope`: a number from 0 up to, not including, 1
# - returns the pair (values, derivatives), two new arrays of the shape and the dtype of `z`; `z` stays as it is
#
# Example: z = (−2, 0, 3) with slope 0.1 gives the values (−0.2, 0, 3) and the derivatives (0.1, 0.1, 1).


# %%
def leaky_relu(z, slope=0.01):
    """Leaky ReLU of z and its derivative at z."""
    ### BEGIN SOLUTION
    factor = np.where(z > 0, 1, slope).astype(z.dtype)
    return factor * z, factor
    ### END SOLUTION


# %%
# Try it out on the example.
try:
    print(leaky_relu(np.array([-2.0, 0.0, 3.0]), slope=0.1))
except NotImplementedError:
    print("not written yet")

# %%
check("perceptron.leaky_relu", leaky_relu)

# %% [markdown]
# ## two_layer_forward
#
# A network with one hidden layer turns points into probabilities of classes:
#
# $$H = \tanh(X W_1^\top + b_1), \qquad P = \operatorname{softmax}(H W_2^\top + b_2),$$
#
# where softmax acts on each row: $p_k = e^{z_k} / \sum_j e^{z_j}$. It must also survive large sums: $e^{1000}$ is
# infinite for a computer, but the probabilities are perfectly ordinary numbers.
#
# - `points`: (samples, features); `hidden_weights`: (hidden, features); `hidden_bias`: (hidden,);
#   `output_weights`: (classes, hidden); `output_bias`: (classes,)
# - returns the pair (H, P) of shapes (samples, hidden) and (samples, classes); no NaN, however large the sums are
# - write softmax yourself
#
# Example: if `output_weights` and `output_bias` are zero and there are 4 classes, every probability is 0.25.
#
# <details><summary>Hint</summary>
#
# Adding the same number to all sums of one row changes none of its probabilities. Which number makes all exponents
# harmless?
#
# </details>


# %%
def two_layer_forward(points, hidden_weights, hidden_bias, output_weights, output_bias):
    """The hidden layer's values and the probabilities of the classes."""
    ### BEGIN SOLUTION
    hidden = np.tanh(points @ hidden_weights.T + hidden_bias)
    sums = hidden @ output_weights.T + output_bias
    grown = np.exp(sums - sums.max(axis=1, keepdims=True))
    return hidden, grown / grown.sum(axis=1, keepdims=True)
    ### END SOLUTION


# %%
# Try it out: the first row of probabilities should be [0.5 0.5], and nothing should be NaN.
try:
    x, w1, w2 = np.array([[0.0], [1.0]]), np.array([[1.0]]), np.array([[5000.0], [-5000.0]])
    print(two_layer_forward(x, w1, np.zeros(1), w2, np.zeros(2))[1])
except NotImplementedError:
    print("not written yet")

# %%
check("perceptron.two_layer_forward", two_layer_forward)

# %% [markdown]
# ## xor_network
#
# No single neuron can compute XOR, "one or the other but not both". Two hidden neurons and one output neuron can.
# Find weights *by hand*, no training. All neurons are threshold neurons, all signals are −1 or +1:
#
# | $x_1$ | $x_2$ | answer |
# |---:|---:|---:|
# | −1 | −1 | −1 |
# | −1 | +1 | +1 |
# | +1 | −1 | +1 |
# | +1 | +1 | −1 |
#
# - returns (hidden_weights, hidden_bias, output_weights, output_bias) of shapes (2, 2), (2,), (2,) and a number;
#   row $i$ of `hidden_weights` belongs to hidden neuron $i$
# - any weights that work are right; for the last point the answers must also hold when each input is off by up to 0.2,
#   for example −0.8 for −1
#
# <details><summary>Hint</summary>
#
# Which two simpler questions about $x_1$ and $x_2$ have answers from which XOR follows? Draw the four corners: each
# hidden neuron is one straight cut.
#
# </details>


# %%
def xor_network():
    """Weights of a network of threshold neurons that computes XOR."""
    ### BEGIN SOLUTION
    hidden_weights = np.array([[2.0, 2.0], [-2.0, -2.0]])  # x₁ or x₂; not both
    hidden_bias = np.array([2.0, 2.0])
    output_weights = np.array([2.0, 2.0])  # both of these
    return hidden_weights, hidden_bias, output_weights, -2.0
    ### END SOLUTION


# %%
# Try it out: the table's four answers, −1, +1, +1, −1.
try:
    w1, b1, w2, b2 = xor_network()
    hidden = np.where(corners @ np.transpose(w1) + b1 >= 0, 1, -1)
    print(np.where(hidden @ w2 + b2 >= 0, 1, -1))
except NotImplementedError:
    print("not written yet")

# %%
check("perceptron.xor_network", xor_network)

# %% [markdown]
# ## softmax_regression_gradient
#
# Softmax regression predicts $P = \operatorname{softmax}(X W^\top + b)$. Its loss is the *mean* over the samples of
# $-\log p_\text{label}$, the surprise at the true class. Work out the gradient on paper; for one sample $x$ with
# probabilities $p$ and label $k$ it comes out as
#
# $$\frac{\partial}{\partial W} = (p - e_k)\,x^\top, \qquad \frac{\partial}{\partial b} = p - e_k,$$
#
# where $e_k$ is 1 at $k$ and 0 elsewhere. Return the gradient of the mean loss, first sample by sample if you like,
# then without a loop.
#
# - `weights`: (classes, features); `bias`: (classes,); `points`: (samples, features); `labels`: integers (samples,)
# - returns the pair (gradient by the weights, gradient by the bias), of the shapes of `weights` and `bias`
# - no NaN, however large the sums are; write softmax yourself
#
# Example: zero weights, two classes, one point (4) with label 1: the probabilities are (½, ½), so the gradients are
# (2, −2) and (½, −½).


# %%
def softmax_regression_gradient(weights, bias, points, labels):
    """Gradient of the mean cross-entropy by the weights and by the bias."""
    ### BEGIN SOLUTION
    by_weights, by_bias = np.zeros_like(weights), np.zeros_like(bias)
    for i in range(len(points)):
        sums = weights @ points[i] + bias
        error = np.exp(sums - sums.max())
        error = error / error.sum()
        error[labels[i]] -= 1
        by_weights += np.outer(error, points[i]) / len(points)
        by_bias += error / len(points)
    return by_weights, by_bias
    ### END SOLUTION


# %%
# Try it out on the example.
try:
    print(softmax_regression_gradient(np.zeros((2, 1)), np.zeros(2), np.array([[4.0]]), np.array([1])))
except NotImplementedError:
    print("not written yet")

# %%
check("perceptron.softmax_regression_gradient", softmax_regression_gradient)
