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
# # Homework: convolutional networks
#
# You will write a convolution three times: by loops, as the matrix of a linear layer, and for a whole batch without a
# loop over the places. Then come the parts around it: pooling and the way its gradient goes back, how far an output
# sees, a sentence's features, and the block that made very deep networks possible.
#
# There are eight exercises; plan about two hours and three quarters. Replace `raise NotImplementedError()`
# by your code. Below each answer stands one line, `check(…)`: run it as
# often as you like. It says which parts are right, shows the first case that fails, and, when it recognises your
# mistake, what went wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: the kernel is **not** flipped (cross-correlation, as in all of deep learning); padding is zeros, as many
# on each side; pictures are `(batch, channels, height, width)`; inputs are never changed, and a result has the dtype of
# the picture.

# %%
import numpy as np
import torch
import torch.nn.functional as F

from autograder import check

# %% [markdown]
# ## output_size
#
# A kernel of `kernel` pixels slides along a row of `size` pixels. How many places does it find? That depends on three
# more numbers: `stride`, how far it moves from place to place; `padding`, how many zeros are added **on each side** of
# the row; `dilation`, how far apart the pixels it looks at lie (1: side by side, 2: every other one).
#
# **Write** `output_size(size, kernel, stride=1, padding=0, dilation=1)`.
#
# - It returns a whole number (`int`).
# - A window has to lie inside the padded row. What is left over after the last full stride is not read.
# - The kernel always fits at least once.
#
# **Example.** `output_size(7, 3)` is 5; with `stride=2` it is 3; with `padding=1` it is 7; with `dilation=2` it is 3,
# because the kernel then reaches over 5 pixels.
#
# <details><summary>A hint</summary>
#
# Two questions: how many pixels does the kernel reach over, from its first to its last? And how many steps can it make
# from the first place before it hangs over the end?
# </details>


# %%
def output_size(size, kernel, stride=1, padding=0, dilation=1):
    """How many places a kernel finds along one axis."""
    ### BEGIN SOLUTION
    last = size + 2 * padding - 1  # the last pixel, counted from the first of the padded row
    first_window_ends = dilation * (kernel - 1)
    return (last - first_window_ends) // stride + 1
    ### END SOLUTION


# %%
check("cnn.output_size", output_size)

# %% [markdown]
# ## cross_correlation
#
# At each place the kernel and the window below it are multiplied number by number, and the products are added up:
#
# $$y_{ij} = \sum_{a}\sum_{b} w_{ab}\; x_{\,i\cdot s + a,\; j\cdot s + b}$$
#
# Here $x$ is the picture with its padding and $s$ is the stride.
#
# **Write** `cross_correlation(picture, kernel, stride=1, padding=0)` for two NumPy arrays of shapes `(height, width)`
# and `(rows, columns)`. Loops are welcome: this is where you see every multiplication.
#
# - The result is an array of shape `(places down, places across)`, as `output_size` counts them.
# - The kernel need not be square; it may be larger than the picture if the padding makes room for it.
#
# **Example.** The picture `[[1, 2, 4, 8]]` and the kernel `[[-1, 1]]`, which measures how much it rises from one pixel
# to the next, give `[[1, 2, 4]]`.


# %%
def cross_correlation(picture, kernel, stride=1, padding=0):
    """What the kernel finds at each place of the picture; shape (places down, places across)."""
    ### BEGIN SOLUTION
    rows, columns = kernel.shape
    padded = np.pad(picture, padding)
    down = (padded.shape[0] - rows) // stride + 1
    across = (padded.shape[1] - columns) // stride + 1
    found = np.zeros((down, across))
    for i in range(down):
        for j in range(across):
            for a in range(rows):
                for b in range(columns):
                    found[i, j] += kernel[a, b] * padded[i * stride + a, j * stride + b]
    return found
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(cross_correlation(np.array([[1.0, 2.0, 4.0, 8.0]]), np.array([[-1.0, 1.0]])))
except NotImplementedError:
    print("not written yet")

# %%
check("cnn.cross_correlation", cross_correlation)

# %% [markdown]
# ## convolution_matrix
#
# A linear layer multiplies its input by a matrix that is free in every entry. A convolution is a linear layer, too,
# with a matrix that is not free at all: in each row stand the same few weights, shifted, and zeros everywhere else.
#
# **Write** `convolution_matrix(kernel, size, stride=1)` for a kernel of shape `(width,)` that slides along inputs of
# shape `(size,)`, without padding.
#
# - The result is a NumPy array of shape `(places, size)` such that `matrix @ x` is the cross-correlation of any `x`.
#
# **Example.** The kernel `[1, 2]` on inputs of size 4 has the matrix
#
# ```text
# 1 2 0 0
# 0 1 2 0
# 0 0 1 2
# ```


# %%
def convolution_matrix(kernel, size, stride=1):
    """The matrix of the linear layer that does the same as sliding the kernel; shape (places, size)."""
    ### BEGIN SOLUTION
    starts = range(0, size - len(kernel) + 1, stride)
    matrix = np.zeros((len(starts), size))
    for row, start in enumerate(starts):
        matrix[row, start : start + len(kernel)] = kernel
    return matrix
    ### END SOLUTION


# %%
check("cnn.convolution_matrix", convolution_matrix)

# %% [markdown]
# ## conv2d
#
# Now for real: a batch of pictures with several channels, several filters, and fast. A filter has weights for *every*
# channel and adds up what it finds in all of them:
#
# $$y_{n,f,i,j} = b_f + \sum_{c}\sum_{a}\sum_{b}
# w_{f,c,a,b}\; x_{\,n,\;c,\;i\cdot s + a\cdot d,\; j\cdot s + b\cdot d}$$
#
# where $x$ is padded already, $s$ is the stride and $d$ the dilation.
#
# **Write** `conv2d(x, weight, bias, stride=1, padding=0, dilation=1)` in torch.
#
# - `x`: `(batch, channels, height, width)`, `weight`: `(filters, channels, rows, columns)`, `bias`: `(filters,)`.
# - The result: `(batch, filters, places down, places across)`; gradients flow to all three tensors.
# - No loop over the places. (A loop over the few numbers of the *kernel* is fine.)
# - torch's ready-made convolutions are not allowed. `F.pad`, `Tensor.unfold`, `F.unfold` and indexing are.
#
# <details><summary>A hint</summary>
#
# `x.unfold(2, reach, stride)` gives a view in which axis 2 counts the windows and a new last axis holds what is in
# each. Do it for both axes, thin both windows out by slicing with `::dilation`, and let one `torch.einsum` multiply
# and add up. Write down the letters of both shapes first: `n c i j a b` and `f c a b`.
# </details>


# %%
def conv2d(x, weight, bias, stride=1, padding=0, dilation=1):
    """What each filter finds at each place; shape (batch, filters, places down, places across)."""
    ### BEGIN SOLUTION
    x = F.pad(x, (padding, padding, padding, padding))
    seen = x
    for axis in (2, 3):
        seen = seen.unfold(axis, dilation * (weight.shape[axis] - 1) + 1, stride)
    seen = seen[..., ::dilation, ::dilation]
    found = torch.einsum("ncijab,fcab->nfij", seen, weight)
    return found + bias.reshape(-1, 1, 1)
    ### END SOLUTION


# %%
check("cnn.conv2d", conv2d)

# %% [markdown]
# ## max_pool
#
# Max pooling keeps the largest number of each window. When the gradient comes back, it has to know *which* one that
# was: only the winner had any influence, so it gets all of it and the others get nothing.
#
# **Write** `max_pool(x, gradient, kernel, stride)` in NumPy; it returns **two** arrays.
#
# - `x`: `(channels, height, width)`. Windows are `kernel` × `kernel` pixels and move by `stride`; there is no padding.
#   Each channel is pooled by itself.
# - `gradient`: `(channels, places down, places across)`, the gradient of some loss by each pooled number.
# - The first result: the pooled numbers, of the shape of `gradient`. The second: the gradient by `x`, of the shape of
#   `x`.
# - Where windows overlap, a pixel may win several times: its gradients add up.
# - Where several pixels of a window are equally large, the **first in reading order** wins.
#
# **Example.** For `x = [[[1, 5, 2], [3, 4, 0]]]`, kernel 2, stride 1 and the gradients `[[[10, 20]]]` both windows are
# won by the 5: pooled is `[[[5, 5]]]`, and the gradient by `x` is `[[[0, 30, 0], [0, 0, 0]]]`.
#
# <details><summary>A hint</summary>
#
# `np.argmax` of a window gives the number of the *first* largest entry when the window is read row after row;
# `divmod(number, kernel)` makes row and column of it.
# </details>


# %%
def max_pool(x, gradient, kernel, stride):
    """The largest number of each window, and the gradient by x."""
    ### BEGIN SOLUTION
    pooled = np.zeros(gradient.shape)
    by_x = np.zeros(x.shape)
    for c, i, j in np.ndindex(gradient.shape):
        window = x[c, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        row, column = divmod(int(np.argmax(window)), kernel)
        pooled[c, i, j] = window[row, column]
        by_x[c, i * stride + row, j * stride + column] += gradient[c, i, j]
    return pooled, by_x
    ### END SOLUTION


# %%
check("cnn.max_pool", max_pool)

# %% [markdown]
# ## receptive_field
#
# One output of a convolution sees `kernel` neighbouring inputs. One output of a *second* convolution on top sees more,
# and behind a pooling the same kernel reaches twice as far. How many neighbouring inputs along one axis can change one
# output of a whole stack?
#
# **Write** `receptive_field(layers)`. `layers` is a list from input to output; each entry is a tuple
# `(kernel, stride, dilation)`. A pooling is such a layer, too.
#
# - It returns a whole number: how many inputs lie from the first to the last one that is seen.
# - Without any layer the output is its own input, so the answer is 1.
#
# **Example.** Two convolutions of width 3, `[(3, 1, 1), (3, 1, 1)]`, see 5. A convolution of width 5 and a pooling by
# 2, `[(5, 1, 1), (2, 2, 1)]`, see 6.
#
# <details><summary>A hint</summary>
#
# Walk through the layers and keep two numbers: how many inputs are seen so far, and how far apart *in the input* two
# neighbours of the current layer lie. Which of them does a kernel change, which a stride?
# </details>


# %%
def receptive_field(layers):
    """How many neighbouring inputs along one axis can change one output."""
    ### BEGIN SOLUTION
    seen, apart = 1, 1
    for kernel, stride, dilation in layers:
        seen = seen + (kernel - 1) * dilation * apart
        apart = apart * stride
    return seen
    ### END SOLUTION


# %%
check("cnn.receptive_field", receptive_field)

# %% [markdown]
# ## phrase_features
#
# A convolutional network for sentences (Kim, 2014) asks of each filter one thing: how well does the *best* phrase of
# the sentence fit, wherever it stands? With $x_i$ the vector of word $i$ and a filter over `width` words,
#
# $$h_f = \max_{i}\; \operatorname{relu}\Bigl(b_f + \sum_{a=0}^{\text{width}-1} w_{f,:,a} \cdot x_{i+a}\Bigr).$$
#
# Sentences of different lengths share a batch and are padded. The padding holds anything, not only zeros.
#
# **Write** `phrase_features(embedded, lengths, weight, bias)` in torch.
#
# - `embedded`: `(batch, time, d_model)`; `lengths`: integers `(batch,)`, how many words of each row are real;
#   `weight`: `(filters, d_model, width)`; `bias`: `(filters,)`. `time` is at least `width`.
# - Only phrases that lie **wholly inside** the sentence count. A sentence that is shorter than `width` has none: its
#   features are 0.
# - The result: `(batch, filters)`, with gradients that are numbers. `F.conv1d` is allowed here.
#
# **Example.** One filter of width 2 with both weights 1, bias 0, over words that are single numbers `[1, 2, 5, 9]`, of
# which the first three are real: the phrases are 1 + 2 and 2 + 5, so the feature is 7.
#
# <details><summary>A hint</summary>
#
# `F.conv1d` wants `(batch, d_model, time)`. A sentence of `n` words has `n − width + 1` phrases: a mask that is True at
# their places decides what may enter the maximum. After the ReLU nothing is below 0.
# </details>


# %%
def phrase_features(embedded, lengths, weight, bias):
    """How well the best phrase of each sentence fits each filter; shape (batch, filters)."""
    ### BEGIN SOLUTION
    found = F.conv1d(embedded.mT, weight, bias).relu()
    phrases = lengths - weight.shape[2] + 1
    inside = torch.arange(found.shape[2]) < phrases.unsqueeze(1)
    found = torch.where(inside.unsqueeze(1), found, 0.0)
    return found.amax(dim=2)
    ### END SOLUTION


# %%
check("cnn.phrase_features", phrase_features)

# %% [markdown]
# ## residual_block
#
# A very deep network should be at least as good as a shallow one: the layers too many would only have to learn to do
# nothing. Plain layers are bad at that. A residual block (He and others, 2016) makes it easy, because it adds what it
# finds to what it got:
#
# $$y = \operatorname{relu}\bigl(\,W_2 * \operatorname{relu}(W_1 * x) + \text{shortcut}(x)\,\bigr)$$
#
# **Write** `residual_block(x, first_weight, second_weight, shortcut_weight=None, stride=1)` in torch.
#
# - `x`: `(batch, channels, height, width)`. Both convolutions are 3 × 3 with padding 1 and have no bias:
#   `first_weight` is `(filters, channels, 3, 3)`, `second_weight` is `(filters, filters, 3, 3)`.
# - Only the first convolution has the `stride`.
# - The shortcut is `x` itself when `shortcut_weight` is None. Otherwise it is a convolution of 1 × 1 with that weight,
#   `(filters, channels, 1, 1)`, no padding, and the same `stride`, so that the shapes agree.
# - `F.conv2d` is allowed here.
#
# **Example.** With all weights zero and no `shortcut_weight` the block returns `relu(x)`.


# %%
def residual_block(x, first_weight, second_weight, shortcut_weight=None, stride=1):
    """Two convolutions whose result is added to the shortcut, and a ReLU."""
    ### BEGIN SOLUTION
    inside = F.conv2d(x, first_weight, stride=stride, padding=1).relu()
    change = F.conv2d(inside, second_weight, padding=1)
    shortcut = x if shortcut_weight is None else F.conv2d(x, shortcut_weight, stride=stride)
    return torch.relu(change + shortcut)
    ### END SOLUTION


# %%
check("cnn.residual_block", residual_block)
