# %% [markdown]
# # Homework: attention
#
# You will write attention from its smallest part, the softmax, to many heads, and meet on the way what makes it go
# wrong in practice: overflow, padding, the future, and reshapes that look right.
#
# There are eight exercises, from easy to hard. Plan about two hours. Below each answer stands one line, `check(…)`: run
# it as often as you like. It tells you which parts are right, the first case that fails, and, when it recognises your
# mistake, what went wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: masks are `bool` and **True means may attend**; the batch comes first; inputs are never changed; results
# have the dtype of the inputs. The axes are called `batch`, `heads`, `query`, `key`, `time`, `d_model`, `d_head`.

# %%
import math

import torch
import torch.nn.functional as F
from einops import rearrange

from autograder import check

# %% [markdown]
# ## stable_softmax
#
# The softmax turns scores into weights that are positive and sum to one:
#
# $$\operatorname{softmax}(s)_i = \frac{e^{s_i}}{\sum_j e^{s_j}}$$
#
# Written down like this it fails for a score of 1000, because $e^{1000}$ is not a number a computer can hold. But the
# weights do not change when the same number is subtracted from all scores (try it on paper). Which number makes sure
# that no exponential overflows and not all of them vanish?
#
# **Write** `stable_softmax(scores, dim=-1)` for a tensor of any shape and floating type.
#
# - Along `dim` the weights sum to one; result and input have the same shape.
# - A score of $-\infty$ means *masked* and gets the weight 0.
# - Where **all** scores along `dim` are $-\infty$, all weights are 0 (not NaN).
# - `torch.softmax` and its relatives are not allowed.
#
# **Example.** `stable_softmax(torch.tensor([0.0, 1000.0, 1000.0]))` is `[0, 0.5, 0.5]`, and
# `stable_softmax(torch.tensor([-math.inf, -math.inf]))` is `[0, 0]`.
#
# <details><summary>A hint</summary>
#
# `amax(dim, keepdim=True)` keeps the reduced axis with size one, so that the result broadcasts. And once the largest
# score has become 0, how small can the sum of the exponentials be, if anything is left to attend to?
# </details>


# %%
def stable_softmax(scores, dim=-1):
    """Weights that are positive and sum to one along `dim`, also for huge scores; zeros where all scores are −∞."""
    ### BEGIN SOLUTION
    # A maximum of −∞ is raised to the lowest finite number, so that −∞ − (−∞) never happens.
    highest = scores.amax(dim, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
    powers = torch.exp(scores - highest)
    # The highest score contributes exp(0) = 1: only a sum without any score is below one.
    return powers / powers.sum(dim, keepdim=True).clamp(min=1)
    ### END SOLUTION


# %%
check("attention.stable_softmax", stable_softmax)

# %% [markdown]
# ## padding_mask
#
# Sentences of different lengths share a batch by being filled up with padding. Nobody should attend to padding.
#
# **Write** `padding_mask(lengths, time)`. `lengths` is an integer tensor of shape `(batch,)`; each sequence begins with
# its `lengths[n]` real tokens and is padded to `time` positions.
#
# - The result is a `bool` tensor of shape `(batch, 1, time)`: True at the tokens, False at the padding. The axis of
#   size one lets all queries share the mask when it meets scores of shape `(batch, query, key)`.
# - A length may be 0 (nothing to see) or `time` (no padding).
#
# **Example.** `padding_mask(torch.tensor([1, 3]), 4)` is
# `[[[True, False, False, False]], [[True, True, True, False]]]`.


# %%
def padding_mask(lengths, time):
    """True at the first lengths[n] of `time` positions; shape (batch, 1, time)."""
    ### BEGIN SOLUTION
    return (torch.arange(time) < lengths.reshape(-1, 1)).unsqueeze(1)
    ### END SOLUTION


# %%
check("attention.padding_mask", padding_mask)

# %% [markdown]
# ## causal_mask
#
# A language model guesses the next token, so while it learns no token may see those that follow it. It may see itself.
#
# **Write** `causal_mask(query, key)` for two numbers with `query ≤ key`. The queries are the **last** `query` of the
# `key` positions: that is what happens when a model writes token by token and only the newest tokens ask, while the
# keys of the older ones are remembered.
#
# - The result is a `bool` tensor of shape `(query, key)`: True where the key's position is not after the query's.
#
# **Example.** `causal_mask(3, 3)` and `causal_mask(2, 3)` are
#
# ```text
# True  False False          True  True  False
# True  True  False          True  True  True
# True  True  True
# ```


# %%
def causal_mask(query, key):
    """True where the key stands at or before the query; the queries are the last of the keys; shape (query, key)."""
    ### BEGIN SOLUTION
    keys = torch.arange(key)
    queries = torch.arange(query) + key - query
    return keys <= queries.unsqueeze(1)
    ### END SOLUTION


# %%
check("attention.causal_mask", causal_mask)

# %% [markdown]
# ## split_heads
#
# Several heads share the features of a token: with `d_model = 8` and `heads = 2` the first head works with features
# 0–3, the second with 4–7. So that each head sees a whole sequence of its own, its axis has to stand before time.
#
# **Write** `split_heads(x, heads)`: from `(batch, time, d_model)` to `(batch, heads, time, d_model / heads)`.
#
# - Head `h` gets the `h`-th consecutive piece of every token's features.
# - `x` need not be contiguous in memory; `d_model` is divisible by `heads`.
#
# **Example.** For one sentence of two tokens, `[[[1, 2, 3, 4], [5, 6, 7, 8]]]`, and two heads the result is
# `[[[[1, 2], [5, 6]], [[3, 4], [7, 8]]]]`: the first head has `[1, 2]` and `[5, 6]`.


# %%
def split_heads(x, heads):
    """Each token's features in `heads` consecutive pieces, heads before time; shape (batch, heads, time, d_head)."""
    ### BEGIN SOLUTION
    pieces = x.unflatten(2, (heads, -1))
    return pieces.permute(0, 2, 1, 3)
    ### END SOLUTION


# %%
# Try it on the example: the tokens of one head should stand below each other.
try:
    print(split_heads(torch.tensor([[[1, 2, 3, 4], [5, 6, 7, 8]]]), 2))
except NotImplementedError:
    print("not written yet")

# %%
check("attention.split_heads", split_heads)

# %% [markdown]
# ## merge_heads
#
# When all heads have answered, their results are put side by side again.
#
# **Write** `merge_heads(x)`: from `(batch, heads, time, d_head)` to `(batch, time, heads · d_head)`, the exact inverse
# of splitting.


# %%
def merge_heads(x):
    """The heads' pieces of every token side by side; shape (batch, time, heads · d_head)."""
    ### BEGIN SOLUTION
    return x.permute(0, 2, 1, 3).flatten(2)
    ### END SOLUTION


# %%
check("attention.merge_heads", merge_heads)

# %% [markdown]
# ## scaled_dot_product
#
# $$\operatorname{weights} = \operatorname{softmax}\!\left(\frac{QK^\top}{\sqrt{d_{head}}}\right), \qquad
# \operatorname{output} = \operatorname{weights} \cdot V$$
#
# **Write** `scaled_dot_product(queries, keys, values, mask=None)`. It returns **two** tensors: output and weights.
#
# - `queries`: `(…, query, d_head)`, `keys`: `(…, key, d_head)`, `values`: `(…, key, features)` with any number of axes
#   in front, also none.
# - `mask`: `None` or `bool`, of a shape that broadcasts to `(…, query, key)`; True means may attend.
# - The weights of a query sum to one over the keys it may attend to. A query that may attend to nothing gets the
#   weights 0, the output 0, and gradients that are numbers.
# - `torch.softmax` is allowed. torch's ready-made attention is not (nor does it return the weights).
#
# **Example.** One query `[2, 0]`, keys `[1, 0]`, `[1, 5]`, `[-99, 0]`, values `[3]`, `[5]`, `[100]`: the first two keys
# fit equally well, the third not at all, so the weights are `[0.5, 0.5, 0]` and the output is `[4]`.
#
# <details><summary>A hint</summary>
#
# Start with loops: for every query, for every key, one score. When that is right, find the one matrix product that does
# all of it. For the fully masked row it helps to know that softmax can cope with a very low *number*, but not with
# nothing but −∞.
# </details>


# %%
def scaled_dot_product(queries, keys, values, mask=None):
    """Output (…, query, features) and weights (…, query, key) of scaled dot product attention."""
    ### BEGIN SOLUTION
    scores = torch.einsum("...qd,...kd->...qk", queries, keys) / math.sqrt(queries.shape[-1])
    if mask is None:
        weights = torch.softmax(scores, dim=-1)
    else:
        # The lowest finite number instead of −∞: a row of it has a softmax, and no NaN can reach the gradient.
        lowest = torch.finfo(scores.dtype).min
        weights = torch.softmax(torch.where(mask, scores, lowest), dim=-1) * mask
    return weights @ values, weights
    ### END SOLUTION


# %%
# The example of the text.
try:
    output, weights = scaled_dot_product(
        torch.tensor([[2.0, 0.0]]),
        torch.tensor([[1.0, 0.0], [1.0, 5.0], [-99.0, 0.0]]),
        torch.tensor([[3.0], [5.0], [100.0]]),
    )
    print(output, weights)
except NotImplementedError:
    print("not written yet")

# %%
check("attention.scaled_dot_product", scaled_dot_product)

# %% [markdown]
# ## additive_score
#
# The first attention in machine translation (Bahdanau, Cho and Bengio, 2014) did not multiply query and key. It asked a
# small network with one hidden layer how well they fit:
#
# $$s_{ij} = v^\top \tanh(W q_i + U k_j)$$
#
# **Write** `additive_score(queries, keys, query_weight, key_weight, vector)`.
#
# - `queries`: `(batch, query, d_model)`, `keys`: `(batch, key, features)`; the two widths may differ.
# - `query_weight` is $W$: `(hidden, d_model)`; `key_weight` is $U$: `(hidden, features)`; `vector` is $v$: `(hidden,)`.
# - The result holds the scores $s_{ij}$: `(batch, query, key)`.
#
# **Example.** With all widths 1 and all weights 1, the query `[1]` and the key `[-1]` have the score $\tanh(0) = 0$.
#
# <details><summary>A hint</summary>
#
# Two loops over queries and keys are a fine beginning. Without loops: give the projected queries the shape
# `(batch, query, 1, hidden)` and the projected keys `(batch, 1, key, hidden)`, and let them meet by broadcasting.
# </details>


# %%
def additive_score(queries, keys, query_weight, key_weight, vector):
    """How well each key fits each query, by a network with one hidden layer; shape (batch, query, key)."""
    ### BEGIN SOLUTION
    from_queries = rearrange(queries @ query_weight.T, "batch query hidden -> batch query 1 hidden")
    from_keys = rearrange(keys @ key_weight.T, "batch key hidden -> batch 1 key hidden")
    return torch.tanh(from_queries + from_keys) @ vector
    ### END SOLUTION


# %%
check("attention.additive_score", additive_score)

# %% [markdown]
# ## multi_head_attention
#
# Everything together. Tokens `x` ask, `memory` is asked (in self-attention both are the same tensor):
#
# $$Q = XW_q^\top, \quad K = MW_k^\top, \quad V = MW_v^\top, \qquad
# \operatorname{output} = [\,\operatorname{head}_1, \dots, \operatorname{head}_h\,]\, W_o^\top$$
#
# where each head is scaled dot product attention between its own pieces of $Q$, $K$ and $V$.
#
# **Write** `multi_head_attention(x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None)`.
# It returns the output **and** the weights of every head.
#
# - `x`: `(batch, query, d_model)`, `memory`: `(batch, key, d_memory)`.
# - The weights are as in `torch.nn.Linear`: `(out, in)`. `query_weight` and `output_weight` are `(d_model, d_model)`,
#   `key_weight` and `value_weight` are `(d_model, d_memory)`. Head `h` works with the `h`-th consecutive piece of the
#   `d_model` features.
# - `mask`: `None` or `bool`, `(batch or 1, query or 1, key)`, the same for all heads. A query that may attend to
#   nothing gets zeros from every head, and gradients that are numbers.
# - The result: output `(batch, query, d_model)` and weights `(batch, heads, query, key)`.
# - torch's ready-made attention is not allowed.
#
# <details><summary>A hint</summary>
#
# A loop over the heads is a good beginning: rows `h·d_head … (h+1)·d_head` of `query_weight` belong to head `h`. Then
# do all heads at once, with an axis of heads next to the batch.
# </details>


# %%
def multi_head_attention(x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None):
    """Output (batch, query, d_model) and weights (batch, heads, query, key) of multi-head attention."""
    ### BEGIN SOLUTION
    queries, keys, values = (
        F.linear(tokens, weight).unflatten(2, (heads, -1))
        for tokens, weight in ((x, query_weight), (memory, key_weight), (memory, value_weight))
    )
    scores = torch.einsum("nqhd,nkhd->nhqk", queries, keys) / math.sqrt(queries.shape[-1])
    if mask is None:
        weights = torch.softmax(scores, dim=-1)
    else:
        shared = mask.unsqueeze(1)  # the same for all heads
        lowest = torch.finfo(scores.dtype).min
        weights = torch.softmax(torch.where(shared, scores, lowest), dim=-1) * shared
    merged = torch.einsum("nhqk,nkhd->nqhd", weights, values).flatten(2)
    return F.linear(merged, output_weight), weights
    ### END SOLUTION


# %%
check("attention.multi_head_attention", multi_head_attention)
