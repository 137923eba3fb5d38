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
# # Homework: arrays, surprise, honest experiments
#
# Seven small tools that all later homework takes for granted: a product and a table of distances, two sums that large
# numbers do not break, and three ways not to fool yourself. Easy and middling tasks, about an hour and three
# quarters in all. Everything is NumPy.
#
# Replace `raise NotImplementedError()` by your code. The line `check(...)` below each task tells you at once what is
# right and, where it can, which mistake you made. Run it as often as you like. No task needs the answer to another.
#
# Shapes are written as in the chapter: (batch, rows) is an array of two axes, the first of which counts the samples of
# a batch.

# %%
import numpy as np

from autograder import check

# %% [markdown]
# ## batched_matmul
#
# A *batch* is a stack of matrices. Multiply each matrix of one stack with its partner in the other, every **row** of
# the first with every **row** of the second:
#
# $$C_{nik} = \sum_j A_{nij}\, B_{nkj}, \qquad\text{that is}\qquad C_n = A_n B_n^\top .$$
#
# Write it with four loops first, one for each index, so that you see every multiplication; run the check: all but the
# part *vectorised* should be right, for its case has 9 million multiplications and one second, too many for loops. Then
# find the one line that replaces them: `@`, or `np.einsum`.
#
# - `a`: array (batch, rows, inner); `b`: array (batch, columns, inner), of the same dtype
# - returns an array (batch, rows, columns) of that dtype
#
# Example: for `a = [[[1, 2]]]` and `b = [[[3, 4], [5, 6]]]` the result is `[[[11, 17]]]`.
#
# <details><summary>Hint</summary>
#
# `b.T` reverses all three axes. To exchange only the last two there is `b.swapaxes(1, 2)`. Or name the axes: the
# formula's indices, read from left to right, are already the pattern that `np.einsum` wants.
#
# </details>


# %%
def batched_matmul(a, b):
    """Each row of a[n] times each row of b[n], for every n: (batch, rows, columns)."""
    ### BEGIN SOLUTION
    return a @ b.swapaxes(1, 2)
    ### END SOLUTION


# %%
# Try it out: this should print [[[11. 17.]]].
try:
    print(batched_matmul(np.array([[[1.0, 2.0]]]), np.array([[[3.0, 4.0], [5.0, 6.0]]])))
except NotImplementedError:
    print("not written yet")

# %%
check("tensors.batched_matmul", batched_matmul)

# %% [markdown]
# ## squared_distances
#
# Who is near whom? Compare every row of `a` with every row of `b`:
#
# $$D_{ij} = \sum_f (a_{if} - b_{jf})^2 .$$
#
# Let broadcasting make all the pairs: give `a` and `b` an axis of size 1 each, at the right place, subtract, square,
# and sum over the right axis. Subtract *before* you square: points may be a million away from zero and still near each
# other.
#
# - `a`: array (queries, features); `b`: array (keys, features)
# - returns an array (queries, keys) of the same dtype
#
# Example: the points (0, 0) and (1, 0) of `a` and the point (3, 4) of `b` give `[[25], [20]]`.


# %%
def squared_distances(a, b):
    """Squared distance of each row of a from each row of b."""
    ### BEGIN SOLUTION
    differences = a[:, None, :] - b[None, :, :]  # (queries, keys, features)
    return (differences**2).sum(axis=2)
    ### END SOLUTION


# %%
# Try it out: this should print [[25.] [20.]], one below the other.
try:
    print(squared_distances(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[3.0, 4.0]])))
except NotImplementedError:
    print("not written yet")

# %%
check("tensors.squared_distances", squared_distances)

# %% [markdown]
# ## log_sum_exp
#
# Probabilities are kept as logarithms, because products of many of them are too small for a computer. To *add* such
# probabilities one needs
#
# $$\operatorname{lse}(x) = \log \sum_i e^{x_i} .$$
#
# Typed as it stands, this is infinite for x = 1000, and minus infinity for x = −1000. But a number taken out of every
# term, $e^{x_i} = e^{m} e^{x_i - m}$, can be put back at the end.
#
# - `x`: floating-point array with at least one entry along `axis`; entries may be −∞ (the logarithm of 0), never +∞
# - returns the array without that axis, of the dtype of `x`
# - where all entries are −∞ the result is −∞, not NaN. (NumPy may warn of a division by zero; that is fine.)
#
# Example: for `[[1000, 1000], [0, -inf]]` the result along the last axis is `[1000.6931, 0]`.


# %%
def log_sum_exp(x, axis=-1):
    """Logarithm of the sum of exponentials along one axis."""
    ### BEGIN SOLUTION
    largest = x.max(axis=axis, keepdims=True)
    largest[largest == -np.inf] = 0  # −∞ − (−∞) would be NaN
    return np.log(np.exp(x - largest).sum(axis=axis)) + largest.squeeze(axis)
    ### END SOLUTION


# %%
# Try it out: this should print [1000.6931    0.    ].
try:
    print(log_sum_exp(np.array([[1000.0, 1000.0], [0.0, -np.inf]])).round(4))
except NotImplementedError:
    print("not written yet")

# %%
check("tensors.log_sum_exp", log_sum_exp)

# %% [markdown]
# ## cross_entropy
#
# A model gives each class a score, its *logit* $z_k$. Probabilities come from them by the softmax,
# $p_k = e^{z_k} / \sum_j e^{z_j}$. How surprised is the model at the true classes, on average?
#
# $$L = \frac1n \sum_{i=1}^n -\log p_{i,\,\text{label}_i}$$
#
# with the natural logarithm, so in nats. Work the logarithm out on paper before you write code: you will find that no
# probability has to be computed at all, and that nothing needs to overflow.
#
# - `logits`: array (samples, classes), at least one of each; `labels`: integers (samples,), from 0 to classes − 1
# - returns one number; finite and exact also when logits are in the thousands
#
# Example: logits (0, 0) and label 1 give log 2 = 0.6931. Logits (2000, 0) and label 1 give 2000.


# %%
def cross_entropy(logits, labels):
    """Mean surprise, in nats, at the labels."""
    ### BEGIN SOLUTION
    largest = logits.max(axis=1)
    log_totals = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return (log_totals - logits[np.arange(len(labels)), labels]).mean()
    ### END SOLUTION


# %%
# Try it out: this should print 0.6931 and 2000.0.
try:
    print(round(float(cross_entropy(np.array([[0.0, 0.0]]), np.array([1]))), 4))
    print(float(cross_entropy(np.array([[2000.0, 0.0]]), np.array([1]))))
except NotImplementedError:
    print("not written yet")

# %%
check("tensors.cross_entropy", cross_entropy)

# %% [markdown]
# ## precision_recall
#
# "97 % right" can mean that the one class that matters is never found. So count for each class $k$:
#
# $$\text{precision}_k = \frac{\text{samples of class } k \text{ called } k}{\text{all samples called } k},
# \qquad
# \text{recall}_k = \frac{\text{samples of class } k \text{ called } k}{\text{all samples of class } k} .$$
#
# - `labels`, `predicted`: integer arrays (samples,) with numbers from 0 to `classes` − 1
# - returns the pair (precision, recall), each an array (classes,)
# - where there is nothing to divide by, because a class was never called or does not occur, the answer is 0
#
# Example: labels (0, 0, 1, 1), predicted (0, 1, 1, 1), two classes. Precision (1, 0.667), recall (0.5, 1).


# %%
def precision_recall(labels, predicted, classes):
    """Precision and recall of every class."""
    ### BEGIN SOLUTION
    precision, recall = np.zeros(classes), np.zeros(classes)
    for k in range(classes):
        right = ((labels == k) & (predicted == k)).sum()
        precision[k] = right / max((predicted == k).sum(), 1)
        recall[k] = right / max((labels == k).sum(), 1)
    return precision, recall
    ### END SOLUTION


# %%
# Try it out: this should print the example's numbers.
try:
    print(precision_recall(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), classes=2))
except NotImplementedError:
    print("not written yet")

# %%
check("tensors.precision_recall", precision_recall)

# %% [markdown]
# ## grouped_split
#
# Ten X-rays of one patient are not ten independent samples. If some of them are learned from and the others tested,
# the test rewards memory. So **groups** are dealt out, never rows: choose which groups are tested, then mark all their
# rows.
#
# - `groups`: integer array (samples,), for each row the number of its group; any whole numbers, in any order; at least
#   two different ones
# - `test_share`: from 0 to 1, the share of the *groups* to be tested: of $g$ different groups `round(test_share * g)`,
#   but at least one and not all
# - `seed`: a whole number; the same seed gives the same split, and over many seeds every group gets its turn
# - returns an array of bool (samples,): True where the row is tested
#
# Example: for groups (7, 7, 3, 9) and a share of 1/3 one group is tested: the result is one of (True, True, False,
# False), (False, False, True, False), (False, False, False, True), depending on the seed.
#
# <details><summary>Hint</summary>
#
# `np.unique(groups)` lists the different groups, `np.random.default_rng(seed).permutation(...)` shuffles a list, and
# `np.isin(groups, some)` says which rows belong to some of them.
#
# </details>


# %%
def grouped_split(groups, test_share, seed):
    """True for the rows that are set aside for testing; no group has both."""
    ### BEGIN SOLUTION
    names = np.unique(groups)
    count = round(test_share * len(names))
    count = min(max(count, 1), len(names) - 1)
    tested = np.random.default_rng(seed).permutation(names)[:count]
    return np.isin(groups, tested)
    ### END SOLUTION


# %%
# Try it out: both rows of group 7 should say the same.
try:
    print(grouped_split(np.array([7, 7, 3, 9]), 1 / 3, seed=0))
except NotImplementedError:
    print("not written yet")

# %%
check("tensors.grouped_split", grouped_split)

# %% [markdown]
# ## bootstrap_interval
#
# A model was right on 14 of 20 questions: 70 %. How far would that number move with 20 *other* questions? We have no
# others. The bootstrap draws them from the ones we have, **with replacement**, so that some come twice and some not at
# all, takes the mean, and repeats this many times. The interval leaves equally much of these means outside on both
# sides: for a level of 0.95 it runs from their quantile 0.025 to their quantile 0.975.
#
# - `values`: array (samples,) of numbers, such as 1 for a right answer and 0 for a wrong one
# - `level`: the share of the means that lie inside, from 0 to 1
# - `resamples`: how many means; each is that of as many values as there are in the sample
# - `seed`: of the draws. So that your numbers can be compared: make `rng = np.random.default_rng(seed)` once, and draw
#   the row numbers of one resample after the other by `rng.integers(len(values), size=len(values))`
# - returns the pair (low, high); take the quantiles by `np.quantile` as it comes
#
# Example: for five times the number 3 every resample has the mean 3, so the interval is (3, 3).


# %%
def bootstrap_interval(values, level, resamples, seed):
    """Percentile interval of the mean: (low, high)."""
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(resamples):
        drawn = rng.integers(len(values), size=len(values))
        means.append(values[drawn].mean())
    outside = (1 - level) / 2
    return np.quantile(means, outside), np.quantile(means, 1 - outside)
    ### END SOLUTION


# %%
# Try it out: 14 of 20. Which true shares would you not be astonished at?
try:
    print(bootstrap_interval(np.repeat([1.0, 0.0], [14, 6]), level=0.95, resamples=1000, seed=0))
except NotImplementedError:
    print("not written yet")

# %%
check("tensors.bootstrap_interval", bootstrap_interval)
