# %% [markdown]
# # Homework: long inputs
#
# Attention costs the square of the length. You will write what people do about it: the same numbers with less memory
# (a softmax finished while it is being read), fewer pairs (sparse masks, hashing), sums made before anybody asks
# (features), and a layer that need not remember its input.
#
# There are eight exercises; each stands alone. Plan about two and a half hours. Below each answer stands one line,
# `check(…)`: run it as often as you like. It tells you which parts are right, the first case that fails, and, when it
# recognises your mistake, what went wrong and a hint.
#
# Everywhere: masks are `bool` and **True means may attend**; the batch comes first; inputs are never changed; results
# have the dtype of the inputs. The axes are called `batch`, `heads`, `query`, `key`, `time`, `d_head`, `features`; `…`
# stands for any number of axes in front, also none.

# %%
import math

import torch
import torch.nn.functional as F

from autograder import check

# %% [markdown]
# ## merge_parts
#
# Somebody has looked at half of the keys, somebody else at the other half. Together they know the whole softmax, if
# each remembers three things for every query, about the scores $s_j$ and values $v_j$ it has seen:
#
# $$m = \max_j s_j, \qquad l = \sum_j e^{s_j - m}, \qquad o = \sum_j e^{s_j - m}\, v_j$$
#
# **Write** `merge_parts(first, second)`. Each part is a tuple `(highest, total, weighted)` holding $m$ and $l$ of shape
# `(…, query)` and $o$ of shape `(…, query, features)`. The result is such a tuple, for all keys that either has seen.
#
# - A query that has seen nothing yet has $m = -\infty$, $l = 0$, $o = 0$, in one part or in both.
# - Scores may be in the thousands, of either sign: nothing may overflow.
# - Nothing is divided yet: the answer $o / l$ is taken when all parts are merged.
#
# **Example.** `(m, l, o)` of `(0, 1, [2])` and `(ln 2, 1, [4])` gives `(ln 2, 1.5, [5])`: the first part's sums are
# halved.
#
# <details><summary>A hint</summary>
#
# $e^{s - m_1} \cdot e^{m_1 - m} = e^{s - m}$. So what happens to $l_1$ when the common maximum is $m$? And for two
# parts that have seen nothing: $-\infty - (-\infty)$ is not a number, but anything finite may be subtracted there.
# </details>


# %%
def merge_parts(first, second):
    """Highest score, sum of exponentials and weighted sum of values over the keys of both parts."""
    ### BEGIN SOLUTION
    highest = torch.maximum(first[0], second[0])
    shift = highest.masked_fill(highest == -math.inf, 0)
    left, right = torch.exp(first[0] - shift), torch.exp(second[0] - shift)
    total = left * first[1] + right * second[1]
    weighted = left[..., None] * first[2] + right[..., None] * second[2]
    return highest, total, weighted
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(
        merge_parts(
            (torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([[2.0]])),
            (torch.tensor([math.log(2)]), torch.tensor([1.0]), torch.tensor([[4.0]])),
        )
    )
except NotImplementedError:
    print("not written yet")

# %%
check("longrange.merge_parts", merge_parts)

# %% [markdown]
# ## blockwise_attention
#
# Now the whole of it: $\operatorname{softmax}(QK^\top/\sqrt{d_{head}})\,V$ without ever holding the matrix of scores.
#
# **Write** `blockwise_attention(queries, keys, values, block, causal=False)`.
#
# - `queries`: `(…, query, d_head)`, `keys`: `(…, key, d_head)`, `values`: `(…, key, features)`.
# - The keys are read in blocks of `block` (the last may be shorter). No tensor may be nearly as large as `query × key`:
#   scores of all queries for *one block of keys* at a time are small enough.
# - With `causal`, query `i` stands at position `i + key − query` of the keys and sees those up to its own position.
# - Scores may be in the hundreds and rise or fall from block to block.
# - torch's ready-made attention is not allowed.
#
# <details><summary>A hint</summary>
#
# Begin with $m = -\infty$, $l = 0$, $o = 0$ for every query. For each block: its scores, the new maximum, the factor
# $e^{m_{old} - m_{new}}$ for the old $l$ and $o$, and what the block adds. Divide at the end.
# </details>


# %%
def blockwise_attention(queries, keys, values, block, causal=False):
    """Scaled dot product attention, one block of keys at a time; shape (…, query, features)."""
    ### BEGIN SOLUTION
    query, key = queries.shape[-2], keys.shape[-2]
    position = torch.arange(key - query, key)
    highest = queries.new_full(queries.shape[:-1], -math.inf)
    total, weighted = torch.zeros_like(highest), 0.0
    for start in range(0, key, block):
        some_keys, some_values = keys[..., start : start + block, :], values[..., start : start + block, :]
        scores = queries @ some_keys.mT / math.sqrt(queries.shape[-1])
        if causal:
            here = torch.arange(start, start + some_keys.shape[-2])
            scores = scores.masked_fill(here > position[:, None], -math.inf)
        new = torch.maximum(highest, scores.amax(-1))
        powers, factor = torch.exp(scores - new[..., None]), torch.exp(highest - new)
        total = factor * total + powers.sum(-1)
        weighted = factor[..., None] * weighted + powers @ some_values
        highest = new
    return weighted / total[..., None]
    ### END SOLUTION


# %%
check("longrange.blockwise_attention", blockwise_attention)

# %% [markdown]
# ## sparse_mask
#
# BigBird cuts the sequence into blocks and lets a block see
#
# - a **window** of `window` blocks (an odd number), its own in the middle: with 3 also the neighbours;
# - the **global** blocks, the first `global_blocks` of them. They are seen by all, and they see all;
# - some **random** blocks: row `i` of `random_blocks`, an integer tensor `(blocks, r)`, holds the numbers of the blocks
#   that block `i` sees besides. (They may repeat, or name what it sees anyway.)
#
# **Write** `sparse_mask(time, block, window, global_blocks, random_blocks)`: the mask of *tokens*, `bool` of shape
# `(time, time)`, rows for queries. Token `t` belongs to block `t // block`; the last may be shorter. `r` may be 0.
#
# **Example.** `sparse_mask(6, 2, 1, 1, random_blocks)` with `random_blocks = [[0], [1], [1]]` is, in blocks,
#
# ```text
# True  True  True
# True  True  False
# True  True  True
# ```


# %%
def sparse_mask(time, block, window, global_blocks, random_blocks):
    """True where a token's block may see the other token's block; shape (time, time)."""
    ### BEGIN SOLUTION
    place = torch.arange(len(random_blocks))
    chart = (place - place[:, None]).abs() <= window // 2
    chart[:global_blocks] = True
    chart[:, :global_blocks] = True
    chart.scatter_(1, random_blocks, True)
    number = torch.arange(time) // block
    return chart[number][:, number]
    ### END SOLUTION


# %%
check("longrange.sparse_mask", sparse_mask)

# %% [markdown]
# ## hash_buckets
#
# Reformer lets a query look only at keys that point the same way. To find them without comparing all pairs, every
# vector is thrown into a bucket: that of the random direction it is nearest to. For directions that are the columns of
# a matrix $R$, together with their opposites,
#
# $$h(x) = \arg\max\,[\,xR\,;\,-xR\,]$$
#
# **Write** `hash_buckets(vectors, rotations)`.
#
# - `vectors`: `(…, time, d_head)`; `rotations`: `(rounds, d_head, half)`, an $R$ for each round of hashing.
# - The result is an integer tensor `(…, rounds, time)` of numbers from 0 to `2 · half − 1`.
#
# **Example.** With $R$ the identity of size 2 the vectors `[1, 0.1]`, `[9, 1]` and `[-1, 0]` fall into the buckets 0, 0
# and 2.


# %%
def hash_buckets(vectors, rotations):
    """The number of the nearest direction for each vector in each round; shape (…, rounds, time)."""
    ### BEGIN SOLUTION
    turned = vectors.unsqueeze(-3) @ rotations
    return torch.cat([turned, -turned], dim=-1).argmax(dim=-1)
    ### END SOLUTION


# %%
check("longrange.hash_buckets", hash_buckets)

# %% [markdown]
# ## invert_layer
#
# A reversible layer has two streams that take turns:
#
# $$y_1 = x_1 + F(x_2), \qquad y_2 = x_2 + G(y_1)$$
#
# Nothing of it need be remembered for the way back, because the inputs can be found from the outputs.
#
# **Write** `invert_layer(y1, y2, first, second)`. `first` is the function $F$, `second` is $G$. The result is the tuple
# `(x1, x2)`. `y1` and `y2` themselves are not changed.


# %%
def invert_layer(y1, y2, first, second):
    """The two streams that went into the layer."""
    ### BEGIN SOLUTION
    x2 = y2 - second(y1)
    x1 = y1 - first(x2)
    return x1, x2
    ### END SOLUTION


# %%
check("longrange.invert_layer", invert_layer)

# %% [markdown]
# ## linear_recurrence
#
# With weights $\varphi(q)\cdot\varphi(k)$ in place of $e^{q\cdot k}$ causal attention is a recurrent network, with the
# state $(S, z)$:
#
# $$S_t = S_{t-1} + \varphi(k_t)\, v_t^\top, \qquad z_t = z_{t-1} + \varphi(k_t), \qquad
# o_t = \frac{S_t^\top \varphi(q_t)}{z_t \cdot \varphi(q_t)}, \qquad \varphi(x) = \operatorname{elu}(x) + 1$$
#
# **Write** `linear_recurrence(queries, keys, values, state=None)`. It returns **two** things: the outputs and the last
# state, a tuple `(matrix, sums)`.
#
# - `queries`, `keys`: `(…, time, d_head)`, `values`: `(…, time, features)`, outputs as the values.
# - `matrix` is $S$: `(…, d_head, features)`; `sums` is $z$: `(…, d_head)`. Without a state both begin with zeros; with
#   one, the recurrence goes on from it.
# - A loop over time is fine. `F.elu` is allowed.


# %%
def linear_recurrence(queries, keys, values, state=None):
    """Outputs (…, time, features) and the last state (matrix, sums) of causal linear attention."""
    ### BEGIN SOLUTION
    queries, keys = F.elu(queries) + 1, F.elu(keys) + 1
    matrix, sums = (0, 0) if state is None else state
    outputs = []
    for t in range(queries.shape[-2]):
        query, key, value = queries[..., t, :], keys[..., t, :], values[..., t, :]
        matrix = matrix + key.unsqueeze(-1) * value.unsqueeze(-2)
        sums = sums + key
        above = torch.einsum("...f,...fv->...v", query, matrix)
        below = torch.einsum("...f,...f->...", query, sums)
        outputs.append(above / below.unsqueeze(-1))
    return torch.stack(outputs, dim=-2), (matrix, sums)
    ### END SOLUTION


# %%
check("longrange.linear_recurrence", linear_recurrence)

# %% [markdown]
# ## positive_features
#
# Performer's features bring back the softmax, on average: over random directions $w \sim N(0, I)$ the mean of
# $\varphi(x)\cdot\varphi(y)$ is exactly $e^{x\cdot y}$, with
#
# $$\varphi(x) = \frac{e^{-\lVert x\rVert^2/2}}{\sqrt m}\,\bigl[e^{w_1\cdot x}, \dots, e^{w_m\cdot x}\bigr]$$
#
# **Write** `positive_features(x, directions)` for `x` of shape `(…, d_head)` and `directions` $w_1 … w_m$ of shape
# `(m, d_head)`. The result has the shape `(…, m)`.
#
# **Example.** A vector of zeros has all features $1/\sqrt m$.


# %%
def positive_features(x, directions):
    """Features whose products are exp(x·y) on average; shape (…, m)."""
    ### BEGIN SOLUTION
    half = x.square().sum(-1, keepdim=True) / 2
    return torch.exp(x @ directions.T - half) / math.sqrt(len(directions))
    ### END SOLUTION


# %%
# On average over many directions the product of two vectors' features is exp(x·y).
try:
    x, y, directions = torch.tensor([0.3, 0.4]), torch.tensor([0.5, -0.2]), torch.randn(100_000, 2)
    print(positive_features(x, directions) @ positive_features(y, directions), "should be near", torch.exp(x @ y))
except NotImplementedError:
    print("not written yet")

# %%
check("longrange.positive_features", positive_features)

# %% [markdown]
# ## aft_full
#
# The attention-free Transformer lets no query meet a key. Keys weigh the values, feature by feature; a number for each
# pair of positions is added; the query opens or closes a gate:
#
# $$o_i = \sigma(q_i) \odot \frac{\sum_j e^{k_j + w_{ij}} \odot v_j}{\sum_j e^{k_j + w_{ij}}}$$
#
# **Write** `aft_full(queries, keys, values, bias)`.
#
# - `queries`: `(…, query, d_head)`, `keys` and `values`: `(…, key, d_head)`, `bias` is $w$: `(query, key)`. The
#   exponentials and ⊙ work on each of the `d_head` features alone.
# - Keys, or $w$, may be around 1000: nothing may overflow.
#
# <details><summary>A hint</summary>
#
# What may be subtracted from an exponent without changing the quotient? A softmax over the right axis does it for you.
# Or: $e^{k_j + w_{ij}} = e^{w_{ij}} e^{k_j}$ makes of each sum a product of matrices.
# </details>


# %%
def aft_full(queries, keys, values, bias):
    """Gated averages of the values, weighed by keys and positions; shape (…, query, d_head)."""
    ### BEGIN SOLUTION
    powers = torch.exp(keys - keys.amax(dim=-2, keepdim=True))
    places = torch.exp(bias - bias.amax(dim=-1, keepdim=True))
    return torch.sigmoid(queries) * (places @ (powers * values)) / (places @ powers)
    ### END SOLUTION


# %%
check("longrange.aft_full", aft_full)
