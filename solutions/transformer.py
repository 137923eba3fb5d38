# %% [markdown]
# # Homework: the Transformer
#
# You will write the parts that turn attention into a Transformer: vectors that tell where a token stands, the matrix
# that moves them along, the norm, both layers, and the two habits it is taught with.
#
# There are seven exercises. Plan about two and a quarter hours. Below each answer stands one line, `check(…)`: run it
# as often as you like. It tells you which parts are right, the first case that fails, and, when it recognises your
# mistake, what went wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: masks are `bool` and **True means may attend**; the batch comes first, then time; inputs are never
# changed; results have the dtype of the inputs.

# %%
import math

import torch

from autograder import check

# %% [markdown]
# ## positional_encoding
#
# Attention does not see the order of its tokens. So each position $t$ gets a vector of its own, made of clocks that
# tick at different speeds $\omega_i$:
#
# $$P_{t,\,2i} = \sin(\omega_i t), \qquad P_{t,\,2i+1} = \cos(\omega_i t), \qquad
# \omega_i = \text{base}^{-2i/d_{model}}, \qquad i = 0 \dots d_{model}/2 - 1$$
#
# **Write** `positional_encoding(time, d_model, base=10000.0)`: a float tensor `(time, d_model)` (torch's default dtype)
# with the vectors of the positions 0 to `time − 1`. `d_model` is even.
#
# **Example.** `positional_encoding(2, 4)` is
#
# ```text
# 0.0000  1.0000  0.0000  1.0000
# 0.8415  0.5403  0.0100  0.9999
# ```
#
# <details><summary>A hint</summary>
#
# Two loops are a fine beginning. Without loops: an axis of positions and an axis of frequencies meet by broadcasting,
# and `P[:, 0::2]` are the even columns.
# </details>


# %%
def positional_encoding(time, d_model, base=10000.0):
    """Sines and cosines in turn, one row for each position; shape (time, d_model)."""
    ### BEGIN SOLUTION
    speed = base ** (-torch.arange(0, d_model, 2) / d_model)
    angle = torch.outer(torch.arange(time).float(), speed)
    return torch.stack([angle.sin(), angle.cos()], dim=2).reshape(time, d_model)
    ### END SOLUTION


# %%
check("transformer.positional_encoding", positional_encoding)

# %% [markdown]
# ## shift_matrix
#
# Why sines *and* cosines? Because then there is one matrix that moves every position by the same number of places:
#
# $$S\, P_t = P_{t + \text{offset}} \quad\text{for every } t .$$
#
# Each pair (sine, cosine) of frequency $\omega_i$ turns by the angle $a_i = \omega_i \cdot \text{offset}$. Write down
# $\sin(\omega_i t + a_i)$ and $\cos(\omega_i t + a_i)$ with the addition theorems, and read the four numbers off.
#
# **Write** `shift_matrix(offset, d_model, base=10000.0)`: the float tensor $S$, `(d_model, d_model)`. The features
# stand in the order of the exercise before: sine, cosine, sine, cosine … The offset may be negative: backwards.
#
# **Example.** `shift_matrix(1, 2)` is `[[0.5403, 0.8415], [-0.8415, 0.5403]]`.
#
# <details><summary>A hint</summary>
#
# $S$ is zero but for 2 × 2 blocks along its diagonal. `torch.block_diag` puts blocks there; a loop that fills a matrix
# of zeros does as well.
# </details>


# %%
def shift_matrix(offset, d_model, base=10000.0):
    """The matrix that takes each position's vector to that of the position `offset` further."""
    ### BEGIN SOLUTION
    angle = offset * base ** (-torch.arange(0, d_model, 2) / d_model)
    even = torch.arange(0, d_model, 2)
    S = torch.zeros(d_model, d_model)
    S[even, even] = S[even + 1, even + 1] = torch.cos(angle)
    S[even, even + 1] = torch.sin(angle)
    S[even + 1, even] = -torch.sin(angle)
    return S
    ### END SOLUTION


# %%
check("transformer.shift_matrix", shift_matrix)

# %% [markdown]
# ## layer_norm
#
# Layer normalisation brings the numbers of each token to mean 0 and variance 1, then stretches and shifts them:
#
# $$\frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} \cdot \text{scale} + \text{shift}$$
#
# $\mu$ and $\sigma^2$ are mean and variance of the token's own `d_model` numbers. The variance divides by `d_model`,
# not by `d_model − 1`.
#
# **Write** `layer_norm(x, scale, shift, epsilon=1e-5)`.
#
# - `x`: `(…, d_model)`, any number of axes before; `scale` and `shift`: `(d_model,)`.
# - A constant token gives `shift`: $\varepsilon$ keeps the division from 0/0.
# - torch's ready-made norms are not allowed.
#
# **Example.** With scale 1 and shift 0, the token `[1, 3]` becomes (nearly) `[-1, 1]`.


# %%
def layer_norm(x, scale, shift, epsilon=1e-5):
    """Each token's numbers with mean 0 and variance 1, then scaled and shifted; the shape of x."""
    ### BEGIN SOLUTION
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.pow(2).mean(dim=-1, keepdim=True)
    return centred * torch.rsqrt(variance + epsilon) * scale + shift
    ### END SOLUTION


# %%
check("transformer.layer_norm", layer_norm)

# %% [markdown]
# ## encoder_layer
#
# An encoder layer has two branches: self-attention, then the position-wise network. Around each branch there is a
# residual connection and a norm, in one of two orders:
#
# $$\text{post-norm: } x \leftarrow \operatorname{norm}(x + \operatorname{branch}(x)) \qquad
# \text{pre-norm: } x \leftarrow x + \operatorname{branch}(\operatorname{norm}(x))$$
#
# **Write** `encoder_layer(x, mask, attention, network, norms, pre_norm)`. The parts are given as functions; your task
# is the wiring.
#
# - `x`: `(batch, time, d_model)`; `mask`: `None` or `bool`, ready for the attention.
# - `attention(queries_from, memory, mask)`: `queries_from` asks, `memory` gives keys and values. In self-attention both
#   are the same tensor.
# - `network(tokens)` and `norms[0](tokens)`, `norms[1](tokens)` treat each token by itself; the first norm belongs to
#   the attention, the second to the network.
# - `pre_norm`: `True` or `False`.
# - The result has the shape of `x`.


# %%
def encoder_layer(x, mask, attention, network, norms, pre_norm):
    """Self-attention and the network, each with a residual connection and its norm; the shape of x."""

    ### BEGIN SOLUTION
    def attend(tokens):
        return attention(tokens, tokens, mask)

    for branch, norm in ((attend, norms[0]), (network, norms[1])):
        x = x + branch(norm(x)) if pre_norm else norm(x + branch(x))
    return x
    ### END SOLUTION


# %%
check("transformer.encoder_layer", encoder_layer)

# %% [markdown]
# ## decoder_layer
#
# A decoder layer has three branches: self-attention among the target's tokens, cross-attention from these to the
# source, and the network. Each is wired as in the encoder layer.
#
# **Write** `decoder_layer(y, memory, mask, memory_mask, attention, cross_attention, network, norms, pre_norm)`.
#
# - `y`: `(batch, time, d_model)`, the target's tokens; `memory`: `(batch, source, d_model)`, what the encoder made of
#   the source. The memory is used as it comes: no norm of this layer touches it.
# - `mask`: who of the target sees whom of the target; `memory_mask`: who of the target sees whom of the source. Either
#   may be `None`.
# - `attention` and `cross_attention` are called as `attention(queries_from, memory, mask)`; `norms` holds three norms,
#   in the order of the branches.
# - The result has the shape of `y`.


# %%
def decoder_layer(y, memory, mask, memory_mask, attention, cross_attention, network, norms, pre_norm):
    """Self-attention, cross-attention and the network, each with a residual connection and its norm."""

    ### BEGIN SOLUTION
    def look_back(tokens):
        return attention(tokens, tokens, mask)

    def look_at_source(tokens):
        return cross_attention(tokens, memory, memory_mask)

    for branch, norm in ((look_back, norms[0]), (look_at_source, norms[1]), (network, norms[2])):
        y = y + branch(norm(y)) if pre_norm else norm(y + branch(y))
    return y
    ### END SOLUTION


# %%
check("transformer.decoder_layer", decoder_layer)

# %% [markdown]
# ## learning_rate
#
# The Transformer of 2017 learned with a rate that first rises in a straight line and then falls with the root of the
# step:
#
# $$\text{rate} = d_{model}^{-1/2} \cdot
# \min\left(\text{step}^{-1/2},\; \text{step} \cdot \text{warmup}^{-3/2}\right)$$
#
# **Write** `learning_rate(step, d_model, warmup)`: the rate of that step, a float. The steps count from 1.
#
# **Example.** `learning_rate(4000, 512, 4000)` is about 0.000699, the highest rate of that training, and
# `learning_rate(16000, 512, 4000)` is half of it.


# %%
def learning_rate(step, d_model, warmup):
    """The learning rate of a step: rising for `warmup` steps, then falling."""
    ### BEGIN SOLUTION
    peak = 1 / math.sqrt(d_model * warmup)
    return peak * step / warmup if step <= warmup else peak * math.sqrt(warmup / step)
    ### END SOLUTION


# %%
check("transformer.learning_rate", learning_rate)

# %% [markdown]
# ## smoothed_loss
#
# A model that is told "this token and no other" is driven towards infinite logits. **Label smoothing** asks for a
# little less: the right token has probability $1 - \varepsilon$, and $\varepsilon$ is shared equally by **all other**
# tokens,
#
# $$q_k = \begin{cases} 1 - \varepsilon & k = \text{target} \\ \varepsilon / (\text{vocab} - 1) & \text{else}
# \end{cases} \qquad \text{loss of a token} = -\sum_k q_k \log \operatorname{softmax}(\text{logits})_k .$$
#
# (torch's own `label_smoothing` shares $\varepsilon$ among all tokens, the right one included. Here: the others alone.)
#
# **Write** `smoothed_loss(logits, target, mask, epsilon)`: the mean over the real tokens, one number.
#
# - `logits`: `(batch, time, vocab)`; `target`: `(batch, time)`, whole numbers; `mask`: `(batch, time)`, `bool`, True at
#   the real tokens, of which there is at least one. What stands elsewhere must not matter.
# - Logits may be large: no overflow, no NaN.
# - torch's ready-made losses are not allowed; `torch.log_softmax` is.
#
# **Example.** With two tokens, logits `[[[0, 0]]]` and any target the loss is $\log 2$, whatever $\varepsilon$ is.
#
# <details><summary>A hint</summary>
#
# `logs.gather(-1, target[..., None])` picks the logarithm of the right token's probability. What is left of the sum of
# all logarithms belongs to the others.
# </details>


# %%
def smoothed_loss(logits, target, mask, epsilon):
    """The mean cross-entropy of the real tokens with smoothed targets; one number."""
    ### BEGIN SOLUTION
    logs = torch.log_softmax(logits, dim=-1)[mask]
    right = logs.gather(1, target[mask].unsqueeze(1)).squeeze(1)
    others = (logs.sum(dim=1) - right) / (logs.shape[1] - 1)
    return -((1 - epsilon) * right + epsilon * others).mean()
    ### END SOLUTION


# %%
check("transformer.smoothed_loss", smoothed_loss)
