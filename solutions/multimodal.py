# %% [markdown]
# # Homework: beyond text
#
# A Transformer reads a sequence of vectors, and does not ask where they come from. You will write what stands between
# the world and that sequence: cut a picture into patches and put it together again, let a few latent vectors read a
# long input, weigh the frequencies of a sound as an ear does, tell a layer by its scales and shifts what to make, and
# fill in all gaps of a sequence in a few steps.
#
# There are six exercises. Plan about two hours. Below each answer stands one line, `check(…)`: run it as often as you
# like. It tells you which parts are right, the first case that fails, and, when it recognises your mistake, what went
# wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: sizes are never fixed, take them from the arguments; results have the dtype of what came in; tensors and
# arrays that you are given must come back unchanged.

# %%
import math

import torch
from torch.nn import functional as F

from autograder import check

# %% [markdown]
# ## patchify
#
# A Vision Transformer reads a picture as a text whose words are small squares of it.
#
# **Write** `patchify(pictures, patch)`: the patches, a tensor of shape `(batch, patches, channels · patch²)`.
#
# - `pictures`: `(batch, channels, height, width)`; `patch`: how many pixels a square is wide and high. It divides
#   height and width, which may differ.
# - The patches come as one reads: from left to right, then the next row of patches.
# - Inside a patch come all pixels of the first channel, row by row, then those of the next channel.
#
# **Example.** The picture of one channel with the rows 0 1 2 3 / 4 5 6 7 and `patch=2` gives the two patches 0 1 4 5
# and 2 3 6 7.
#
# <details><summary>A hint</summary>
#
# A row of the picture is known by two numbers: in which row of patches it is, and which row of its patch. `reshape` can
# split one axis into two; `permute` brings axes into another order; `reshape` again makes one axis of several.
# </details>


# %%
def patchify(pictures, patch):
    """The squares of a picture as rows of numbers."""
    ### BEGIN SOLUTION
    batch, channels, height, width = pictures.shape
    rows, columns = height // patch, width // patch
    squares = pictures.reshape(batch, channels, rows, patch, columns, patch)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch**2)
    ### END SOLUTION


# %%
check("multimodal.patchify", patchify)

# %% [markdown]
# ## unpatchify
#
# A network that *makes* pictures gives its answer patch by patch. Somebody has to put them together.
#
# **Write** `unpatchify(patches, height, width, patch)`: the pictures, `(batch, channels, height, width)`.
#
# - `patches`: `(batch, patches, channels · patch²)`, in the order of `patchify` above.
# - `height`, `width`: of the pictures, in pixels; `patch` divides both. The number of channels follows.
#
# **Example.** The patches 0 1 4 5 and 2 3 6 7, with `height=2`, `width=4`, `patch=2`, give back the picture above.


# %%
def unpatchify(patches, height, width, patch):
    """The picture that these squares were cut from."""
    ### BEGIN SOLUTION
    batch, rows, columns = patches.shape[0], height // patch, width // patch
    channels = patches.shape[2] // patch**2
    squares = patches.reshape(batch, rows, columns, channels, patch, patch)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, height, width)
    ### END SOLUTION


# %%
check("multimodal.unpatchify", unpatchify)

# %% [markdown]
# ## latent_attention
#
# Among $m$ inputs, self-attention compares $m^2$ pairs: too many for every pixel of a photograph. The Perceiver keeps a
# few *latent* vectors $Z$, and only they ask questions; the inputs $X$ answer:
#
# $$Z + \text{softmax}\left(\frac{Z W_q^\top (X W_k^\top)^\top}{\sqrt{d_{head}}}\right) X W_v^\top$$
#
# **Write** `latent_attention(latents, inputs, query, key, value, mask=None)`: the new latents, of the shape of the old.
#
# - `latents`: `(batch, latents, d_latent)`; `inputs`: `(batch, time, d_input)`.
# - `query`: `(d_head, d_latent)`; `key`: `(d_head, d_input)`; `value`: `(d_latent, d_input)`. The softmax of each
#   latent is over the inputs.
# - `mask`: None, or `(batch, time)` of bools; True means that this input is there, False that it is filler, which
#   nobody reads. Where all inputs of a row are filler the latents come back as they are, without NaN, neither in the
#   result nor in the gradients.
# - Scores may be very large and very low: above 1,000, or all of them below −1,000,000. torch's fused attention is not
#   allowed; `torch.softmax` is.
#
# <details><summary>A hint</summary>
#
# `scores.masked_fill(~mask[:, None], …)` hides filler from all latents. What does the softmax of a row give in which
# all scores are equally low, and what should it give?
# </details>


# %%
def latent_attention(latents, inputs, query, key, value, mask=None):
    """What the latents hold after they have looked at the inputs."""
    ### BEGIN SOLUTION
    scores = (latents @ query.T) @ (inputs @ key.T).mT / query.shape[0] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores, dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask[:, None], 0)
    return latents + weights @ (inputs @ value.T)
    ### END SOLUTION


# %%
check("multimodal.latent_attention", latent_attention)

# %% [markdown]
# ## mel_filter_bank
#
# A Fourier transform says how much of each frequency there is in a moment of sound, at equal distances in hertz. Ears
# hear otherwise: 100 and 200 Hz are far apart for them, 5000 and 5100 Hz are not. So the frequencies are gathered into
# bands, narrow ones below and wide ones above.
#
# **Write** `mel_filter_bank(frequencies, mels, lowest, highest)`: the bank $B$, a tensor of shape `(mels, bins)` with
# the dtype of `frequencies`; compute in that dtype, too. Multiplied by the energies of the frequencies, it gives the
# energies of the bands.
#
# - `frequencies`: `(bins,)`, growing, in hertz; `mels`: how many bands; `lowest`, `highest`: numbers, in hertz.
# - The corners $c_0, c_1, \dots, c_{mels+1}$ go from `lowest` to `highest` and have equal distances *in mel*:
#   $$\text{mel} = 2595 \log_{10}\Bigl(1 + \frac{\text{hertz}}{700}\Bigr).$$
# - Band $m = 0, 1, \dots, mels - 1$ is a triangle over the frequencies *in hertz*: 0 up to $c_m$, rising in a straight
#   line to 1 at $c_{m+1}$, falling in a straight line to 0 at $c_{m+2}$, and 0 from there on.
#
# **Example.** One band from 0 to 4000 Hz has its top at 1112 Hz, not at 2000.
#
# <details><summary>A hint</summary>
#
# A triangle is the lower one of two lines, where that is above 0. With the corners in the shape `(mels, 1)` and the
# frequencies in the shape `(bins,)`, one expression makes the whole bank.
# </details>


# %%
def mel_filter_bank(frequencies, mels, lowest, highest):
    """Triangles at equal distances on the mel scale, over frequencies in hertz."""
    ### BEGIN SOLUTION
    ends = [2595 * math.log10(1 + hertz / 700) for hertz in (lowest, highest)]
    corners = 700 * (10 ** (torch.linspace(*ends, mels + 2, dtype=torch.float64) / 2595) - 1)
    left, top, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising = (frequencies - left) / (top - left)
    falling = (right - frequencies) / (right - top)
    return torch.minimum(rising, falling).clamp(min=0).to(frequencies.dtype)
    ### END SOLUTION


# %%
check("multimodal.mel_filter_bank", mel_filter_bank)

# %% [markdown]
# ## adaln_zero
#
# A network that makes pictures must be told what to make. DiT tells it through the norms: a condition $c$, one vector
# for each sample, says how every branch stretches and shifts its tokens, and how far it is open:
#
# $$[\text{shift}, \text{scale}, \text{gate}] = W\,\text{silu}(c) + b, \qquad
# x + \text{gate} \odot f\bigl(\text{LN}(x) \odot (1 + \text{scale}) + \text{shift}\bigr)$$
#
# **Write** `adaln_zero(x, condition, weight, bias, sublayer)`: the new tokens, of the shape of `x`.
#
# - `x`: `(batch, time, d_model)`; `condition`: `(batch, d_condition)`, shared by all tokens of its sample.
# - `weight`: $W$, `(3 * d_model, d_condition)`; `bias`: $b$, `(3 * d_model,)`. The first third of what comes out is the
#   shift, then come the scale and the gate. In the formula $c$ is a column; your conditions are rows, so it is
#   `@ weight.T`.
# - $\text{silu}(c) = c \cdot \sigma(c)$. LN brings each token's numbers to mean 0 and variance 1 (divided by d_model,
#   $\varepsilon = 10^{-6}$ under the root) and has no weights of its own.
# - `sublayer`: $f$, a function of tokens `(batch, time, d_model)` that returns as many. It may mix them, as attention
#   does.
#
# **Example.** While `weight` and `bias` are all zeros, the result is `x`, whatever the sublayer does.
#
# <details><summary>A hint</summary>
#
# `tensor[:, None]` makes `(batch, 1, features)` out of `(batch, features)`, which meets all tokens.
# `F.layer_norm(x, x.shape[-1:], eps=…)` is a norm without weights.
# </details>


# %%
def adaln_zero(x, condition, weight, bias, sublayer):
    """A residual branch that is steered by a condition, and shut while weight and bias are zero."""
    ### BEGIN SOLUTION
    steering = F.silu(condition) @ weight.T + bias
    shift, scale, gate = steering[:, None].chunk(3, dim=-1)
    h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift
    return x + gate * sublayer(h)
    ### END SOLUTION


# %%
check("multimodal.adaln_zero", adaln_zero)

# %% [markdown]
# ## unmask
#
# A network has learned to guess hidden tokens of a picture, all at once. To make a picture, everything is hidden at
# first. In each of a few steps the network guesses all that is hidden, and the guesses it is surest of stay.
#
# **Write** `unmask(predict, tokens, mask_token, steps)`: the tokens without masks, a new tensor of the same shape
# (also when there is nothing to fill in).
#
# - `tokens`: `(time,)`, whole numbers. Where one equals `mask_token`, it is hidden; all others are known and stay as
#   they are. Let $n$ be how many are hidden at the beginning; it may be 0.
# - `predict(tokens)` returns logits, `(time, vocab)`. The vocabulary has no mask: `mask_token` may be larger than the
#   number of any column, so there is nothing to forbid.
# - `steps` is $S$. In step $s = 1, 2, \dots, S$ ask `predict` once, with the tokens as they are now. At each hidden
#   place take the likeliest token; its **probability** is the confidence. The most confident ones stay from now on, so
#   many of them that
#   $$\min\bigl(\lfloor n \cos(\tfrac{\pi}{2} \cdot \tfrac{s}{S}) \rfloor,\; n - s\bigr)$$
#   are still hidden after the step (never fewer than 0). Take `math.cos`: in float32 the cosine of 60° is less than
#   1/2, and the floor one too few.
# - When nothing is hidden any more, stop: `predict` is not asked again.
#
# **Example.** With 16 hidden tokens and 4 steps, 14, 11, 6 and 0 are still hidden after the steps.
#
# <details><summary>A hint</summary>
#
# `(tokens == mask_token).nonzero()[:, 0]` are the numbers of the hidden places; `argsort(descending=True)` sorts their
# confidences from the largest down.
# </details>


# %%
def unmask(predict, tokens, mask_token, steps):
    """Fills in all masks in a few steps, the surest first."""
    ### BEGIN SOLUTION
    tokens = tokens.clone()
    count = int((tokens == mask_token).sum())
    for step in range(1, steps + 1):
        hidden = (tokens == mask_token).nonzero()[:, 0]
        if len(hidden) == 0:
            break
        confidence, best = predict(tokens).softmax(dim=1).max(dim=1)
        surest = hidden[confidence[hidden].argsort(descending=True)]
        left = min(math.floor(count * math.cos(math.pi / 2 * step / steps)), count - step)
        chosen = surest[: len(hidden) - left]
        tokens[chosen] = best[chosen]
    return tokens
    ### END SOLUTION


# %%
check("multimodal.unmask", unmask)
