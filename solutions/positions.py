# %% [markdown]
# # Homework: positions
#
# Attention does not know where a token stands. You will tell it, in the three ways that matter most today: by rotating
# queries and keys, by a bias of the scores, and by vectors of offsets. At the end you will measure what becomes of a
# model when the text is longer than any it has learned from.
#
# There are seven exercises. Plan about three hours. Below each answer stands one line, `check(…)`: run it as often as
# you like. It tells you which parts are right, the first case that fails, and, when it recognises your mistake, what
# went wrong and a hint. Each exercise stands alone: what it needs from another one is handed to it as an argument.
#
# Everywhere: masks are `bool` and True means may attend; inputs are never changed; an **offset** is the position of
# the key minus that of the query, so it is negative for what came before. And there may be more keys than queries:
# then **the queries are the last of the keys' positions**. That is what happens when a model writes token by token:
# only the newest token asks, while the keys of all earlier ones are remembered.

# %%
import math

import torch
import torch.nn.functional as F

from autograder import check

# %% [markdown]
# ## rotate
#
# RoPE turns every pair of neighbouring features, as a point of the plane, by an angle that grows with the position $m$:
#
# $$\begin{pmatrix} x_{2i} \\ x_{2i+1} \end{pmatrix} \mapsto
# \begin{pmatrix} \cos m\omega_i & -\sin m\omega_i \\ \sin m\omega_i & \cos m\omega_i \end{pmatrix}
# \begin{pmatrix} x_{2i} \\ x_{2i+1} \end{pmatrix}, \qquad \omega_i = \text{base}^{-2i/d_{head}}$$
#
# for $i = 0, 1, \dots, d_{head}/2 - 1$.
#
# **Write** `rotate(x, positions, base=10_000.0)`.
#
# - `x`: `(…, time, d_head)` with an even `d_head` and any number of axes in front; `positions`: `(time,)`, the position
#   $m$ of each row, whole numbers or not, in any order.
# - The result has the shape and the dtype of `x`, and `x` itself stays as it is.
#
# **Example.** `rotate(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))` is
# `[[1, 0], [cos 1, sin 1]]` = `[[1, 0], [0.5403, 0.8415]]`.
#
# <details><summary>A hint</summary>
#
# `x[..., 0::2]` is the first member of every pair and `x[..., 1::2]` the second; both are `(…, time, d_head / 2)`, and
# so is the matrix of the angles, up to the axes in front. Put together again they must alternate: `torch.stack` along a
# new last axis, then `flatten(-2)`.
# </details>


# %%
def rotate(x, positions, base=10_000.0):
    """Every pair of neighbouring features turned by position · base^(−2i/d_head); the shape and dtype of x."""
    ### BEGIN SOLUTION
    d_head = x.shape[-1]
    speed = base ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    angle = positions.double().unsqueeze(1) * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., 0::2], x[..., 1::2]
    turned = torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.flatten(-2)
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(rotate(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])))
except NotImplementedError:
    print("not written yet")

# %%
check("positions.rotate", rotate)

# %% [markdown]
# ## rotary_attention
#
# Attention with RoPE is scaled dot product attention between rotated queries and rotated keys:
#
# $$\operatorname{softmax}\!\left(\frac{(R_m q)\cdot(R_n k)}{\sqrt{d_{head}}}\right) v$$
#
# **Write** `rotary_attention(queries, keys, values, turn, mask=None)`.
#
# - `queries`: `(…, query, d_head)`, `keys`: `(…, key, d_head)`, `values`: `(…, key, features)`; `mask`: `None` or
#   `bool`, broadcastable to `(…, query, key)`. Every query may attend to something.
# - `turn(x, positions)` is given, as an argument: it rotates the rows of `x` as above.
# - Key number `j` stands at position `j`. The queries are the last of the keys' positions.
# - torch's attention may be used.
#
# **Example.** With three keys and one query, the query stands at position 2.


# %%
def rotary_attention(queries, keys, values, turn, mask=None):
    """Scaled dot product attention between rotated queries and keys; shape (…, query, features)."""
    ### BEGIN SOLUTION
    places = torch.arange(keys.shape[-2])
    newest = places[len(places) - queries.shape[-2] :]
    return F.scaled_dot_product_attention(turn(queries, newest), turn(keys, places), values, attn_mask=mask)
    ### END SOLUTION


# %%
check("positions.rotary_attention", rotary_attention)

# %% [markdown]
# ## alibi_bias
#
# ALiBi has no vectors at all. It lowers each score by the distance, times a slope that differs from head to head:
#
# $$B_{hij} = -m_h \cdot |\text{offset}_{ij}|$$
#
# For $n = 1, 2, 4, 8, \dots$ heads the slopes are $2^{-8/n}, 2^{-16/n}, \dots, 2^{-8}$: each is the one before times
# $2^{-8/n}$. For another number of heads, let $n$ be the largest power of two below it. Take the slopes for $n$ heads,
# and then, until there are enough, the first, third, fifth … of the slopes for $2n$ heads.
#
# **Write** `alibi_bias(heads, query, key)` for numbers with `query ≤ key`.
#
# - The result is a float32 tensor of shape `(heads, query, key)`. Keys behind the query lose by their distance, too (a
#   mask that hides them is not your business here).
#
# **Example.** `alibi_bias(2, 2, 3)` has the slopes 1/16 and 1/256:
#
# ```text
# [[-1/16,    0, -1/16],      [[-1/256,     0, -1/256],
#  [-2/16, -1/16,    0]]       [-2/256, -1/256,     0]]
# ```
#
# and the slopes of three heads are 1/16, 1/256, 1/4.


# %%
def alibi_bias(heads, query, key):
    """Minus slope times distance for every head and pair of positions; shape (heads, query, key)."""
    ### BEGIN SOLUTION
    power = 1
    while power * 2 <= heads:
        power *= 2
    slopes = [2 ** (-8 * k / power) for k in range(1, power + 1)]
    # The odd ones of twice as many heads lie between those that are there.
    slopes += [2 ** (-4 * k / power) for k in range(1, 2 * power, 2)]
    offsets = torch.arange(key) - torch.arange(key - query, key).unsqueeze(1)
    return -torch.tensor(slopes[:heads]).reshape(heads, 1, 1) * offsets.abs()
    ### END SOLUTION


# %%
check("positions.alibi_bias", alibi_bias)

# %% [markdown]
# ## relative_buckets
#
# T5 learns its biases: one number for each head and *bucket* of offsets. Half of the buckets are for offsets up to 0,
# the other half for positive ones. Within a half of $n$ buckets ($n$ is even) the distance $d = |\text{offset}|$
# decides:
#
# $$\begin{cases} d & d < n/2 \\[2pt]
# \min\left(n - 1,\; \dfrac n2 + \left\lfloor \dfrac n2 \cdot
# \dfrac{\ln(d/\frac n2)}{\ln(D/\frac n2)} \right\rfloor\right) & d \ge n/2 \end{cases}$$
#
# where $D$ is `max_distance`. Near offsets have a bucket each; far ones share, the farther the more; from $D$ on all
# are in the last one.
#
# **Write** `relative_buckets(offsets, buckets, max_distance)`.
#
# - `offsets`: an integer tensor of any shape; `buckets`: how many there are for both signs together, divisible by 4.
# - The result: an integer (int64) tensor of the same shape. Offsets up to 0 have the buckets 0 … n − 1, positive ones
#   n … 2n − 1.
#
# **Example.** `relative_buckets(torch.tensor([-20, -3, 0, 3, 200]), 8, 16)` is `[3, 2, 0, 6, 7]`.
#
# <details><summary>A hint</summary>
#
# Compute both lines for all distances and choose with `torch.where`. The logarithm of 0 is −∞, and −∞ is no integer:
# `clamp(min=1)` keeps it away where the first line is chosen anyway.
# </details>


# %%
def relative_buckets(offsets, buckets, max_distance):
    """The bucket of every offset: near ones have their own, far ones share; the upper half is for positive offsets."""
    ### BEGIN SOLUTION
    half, exact = buckets // 2, buckets // 4
    distance = offsets.abs()
    share = torch.log(distance.clamp(min=exact) / exact) / math.log(max_distance / exact)
    far = exact + (exact * share).long()
    bucket = torch.where(distance < exact, distance, far).clamp(max=half - 1)
    return torch.where(offsets > 0, bucket + half, bucket)
    ### END SOLUTION


# %%
check("positions.relative_buckets", relative_buckets)

# %% [markdown]
# ## bucket_bias
#
# From buckets to the numbers that are added to the scores. The table that is learned has a row for each bucket and a
# column for each head.
#
# **Write** `bucket_bias(table, bucket_of, query, key)`.
#
# - `table`: `(buckets, heads)`. `bucket_of(offsets)` is given, as an argument: it takes an integer tensor of offsets of
#   any shape and returns their buckets in the same shape.
# - The result is `(heads, query, key)`: for head `h`, query `i` and key `j` the number `table[bucket, h]`. Gradients
#   must reach the table.
#
# **Example.** With `bucket_of = lambda offsets: offsets + 2` and two queries of three keys, the buckets are
# `[[1, 2, 3], [0, 1, 2]]`. Along each diagonal they are equal: such a matrix is called a Toeplitz matrix.


# %%
def bucket_bias(table, bucket_of, query, key):
    """The learned number of every head and pair of positions; shape (heads, query, key)."""
    ### BEGIN SOLUTION
    offsets = torch.arange(key) - torch.arange(key - query, key).unsqueeze(1)
    return table[bucket_of(offsets)].movedim(-1, 0)
    ### END SOLUTION


# %%
check("positions.bucket_bias", bucket_bias)

# %% [markdown]
# ## shaw_attention
#
# The oldest relative positions (Shaw, Uszkoreit and Vaswani, 2018) are vectors. Every offset $o$ has one for the keys,
# $a_o$, and one for the values, $c_o$:
#
# $$\alpha_{ij} = \operatorname{softmax}_j\!\left(\frac{q_i\cdot(k_j + a_{o(i,j)})}{\sqrt{d_{head}}}\right), \qquad
# \text{output}_i = \sum_j \alpha_{ij}\,(v_j + c_{o(i,j)})$$
#
# where $o(i, j)$ is the offset, clipped to $-D \dots D$: beyond that, far is far.
#
# **Write** `shaw_attention(queries, keys, values, key_table, value_table)`.
#
# - `queries`: `(…, query, d_head)`, `keys` and `values`: `(…, key, d_head)`.
# - `key_table` and `value_table`: `(2D + 1, d_head)`; row 0 belongs to the offset $-D$, the last row to $D$. Find $D$
#   from their length.
# - The result is `(…, query, d_head)`; no mask.
#
# **Example.** With $D = 0$ the tables have one row, the same for all pairs: $a$ then changes nothing, and $c$ is added
# to every output.
#
# <details><summary>A hint</summary>
#
# First the matrix `(query, key)` of the rows in the table. `key_table[rows]` is then `(query, key, d_head)`, and
# `torch.einsum` can multiply it with the queries: `"...qd,qkd->...qk"`.
# </details>


# %%
def shaw_attention(queries, keys, values, key_table, value_table):
    """Attention in which keys and values carry a vector of their clipped offset; shape (…, query, d_head)."""
    ### BEGIN SOLUTION
    query, key, most = queries.shape[-2], keys.shape[-2], len(key_table) // 2
    offsets = torch.arange(key) - torch.arange(key - query, key).unsqueeze(1)
    rows = offsets.clamp(-most, most) + most
    scores = queries @ keys.mT + torch.einsum("...qd,qkd->...qk", queries, key_table[rows])
    weights = torch.softmax(scores / math.sqrt(queries.shape[-1]), dim=-1)
    return weights @ values + torch.einsum("...qk,qkd->...qd", weights, value_table[rows])
    ### END SOLUTION


# %%
check("positions.shaw_attention", shaw_attention)

# %% [markdown]
# ## loss_by_length
#
# *Train short, test long*: how surprised is a language model when it reads longer texts than it has learned from? To
# find out, the same text is cut into windows of one length, then of another.
#
# **Write** `loss_by_length(model, tokens, lengths)`.
#
# - `model(tokens)` takes integers `(batch, time)` and returns logits `(batch, time, vocab)`: at each place, of the
#   token that comes **next**. `tokens`: the whole text, `(time,)`. `lengths`: a list of numbers.
# - For each length $n$, windows of $n$ tokens stand side by side: the first reads `tokens[0:n]`, the second
#   `tokens[n:2n]`. Each starts without any memory of the one before, and at each of its $n$ places the model guesses
#   the next token of the text; the last guess of a window is about the first token of the next. What is left at the
#   end, too short for a window **and** the token after it, is left out.
# - The result is a list of floats, one for each length: the mean surprise, $-\ln P(\text{next token})$, over all
#   guesses, in nats.
#
# **Example.** For 9 tokens and the length 4 there are two windows: `tokens[0:4]`, guessing `tokens[1:5]`, and
# `tokens[4:8]`, guessing `tokens[5:9]`. For 8 tokens there is one. A model whose logits are all 0, with 10 tokens to
# choose from, has the loss $\ln 10 = 2.30$ at any length.
#
# (In your own experiments, put `with torch.no_grad():` around it.)


# %%
def loss_by_length(model, tokens, lengths):
    """The model's mean surprise in nats, when the text is read in windows of each length: a list of floats."""
    ### BEGIN SOLUTION
    losses = []
    for length in lengths:
        windows = (len(tokens) - 1) // length
        inputs = tokens[: windows * length].reshape(windows, length)
        targets = tokens[1 : windows * length + 1]
        losses.append(F.cross_entropy(model(inputs).flatten(0, 1), targets).item())
    return losses
    ### END SOLUTION


# %%
check("positions.loss_by_length", loss_by_length)
