# %% [markdown]
# # Homework: from static embeddings to ELMo
#
# You will make training pairs of a text, write the loss of word2vec, look for neighbours by direction, and then write
# three parts of ELMo: a highway layer, what its two language models have to guess, and the mixture of its layers.
#
# There are seven exercises. Plan about one and a half hours. Below each answer stands one line, `check(…)`: run it as
# often as you like. It tells you which parts are right, the first case that fails, and, when it recognises your
# mistake, what went wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: words are numbers; the batch comes first, then time; weights are as in `torch.nn.Linear`, `(out, in)`;
# masks are `bool` and True means *a real word*. What comes in as tensors goes out as tensors, of the same dtype where
# nothing else is said. Never write into an argument: it belongs to whoever called you.

# %%
import torch
import torch.nn.functional as F

from autograder import check

# %% [markdown]
# ## skipgram_pairs
#
# Skip-gram gives a word and asks for the words around it. From a sentence it makes pairs: each word, as the *middle*,
# with every word that stands at most `window` places to its left or right.
#
# **Write** `skipgram_pairs(sentence, window)`. `sentence` is a list of whole numbers, one a word, and `window` is 1 or
# more. It returns a list of pairs `(middle, other)`: the first word's pairs come first, and for each middle the others
# go from left to right.
#
# - A word is not paired with itself. But a sentence may have the same word at two places, and these two are neighbours
#   like any others.
# - The window may be wider than the sentence. A sentence of one word has no pairs: the list is empty.
#
# **Example.** `skipgram_pairs([7, 8, 9], 1)` is `[(7, 8), (8, 7), (8, 9), (9, 8)]`.


# %%
def skipgram_pairs(sentence, window):
    """All pairs (middle, other) of words at most `window` places apart."""
    ### BEGIN SOLUTION
    pairs = []
    for i, middle in enumerate(sentence):
        for j in range(max(0, i - window), min(len(sentence), i + window + 1)):
            if j != i:
                pairs.append((middle, sentence[j]))
    return pairs
    ### END SOLUTION


# %%
check("elmo.skipgram_pairs", skipgram_pairs)

# %% [markdown]
# ## noise_distribution
#
# Negative examples are drawn at random, but not all words are equally likely to be drawn. word2vec raises the counts to
# a power between 0 and 1, so that frequent words are still drawn more often, but less so than in the text:
#
# $$P(w) = \frac{\text{count}(w)^{p}}{\sum_{v} \text{count}(v)^{p}}$$
#
# **Write** `noise_distribution(counts, power=0.75)`. `counts` is an `int64` tensor of shape `(vocab,)`; the result is a
# `float32` tensor of the same shape and holds probabilities. At least one word occurs.
#
# - A word that never occurs has probability 0, whatever the power, also for `power = 0`.
#
# **Example.** For the counts `[16, 1, 0]` and the power ¾ it is `[8/9, 1/9, 0]`, since $16^{3/4} = 8$.


# %%
def noise_distribution(counts, power=0.75):
    """How likely each word is drawn as a negative example; shape (vocab,)."""
    ### BEGIN SOLUTION
    powers = torch.where(counts > 0, counts.float() ** power, 0.0)
    return powers / powers.sum()
    ### END SOLUTION


# %%
check("elmo.noise_distribution", noise_distribution)

# %% [markdown]
# ## negative_sampling_loss
#
# In each sample a word is given, with vector $v$; a word $u$ really stood near it; and $k$ words $u_1 \dots u_k$ were
# drawn at random. The scalar product of two vectors is to say whether they belong together. So $\sigma(v\cdot u)$
# should be near 1 and every $\sigma(v\cdot u_i)$ near 0:
#
# $$-\log \sigma(v\cdot u) - \sum_{i=1}^{k} \log \sigma(-v\cdot u_i)$$
#
# **Write** `negative_sampling_loss(given, asked, negatives)`. It returns the **mean** of this over the samples, as a
# tensor without axes.
#
# - `given` and `asked`: `(samples, d_model)`; `negatives`: `(samples, k, d_model)`, the negatives of each sample.
# - Gradients have to reach all three, so that vectors can be learned: no `.item()`, no `.detach()`, no NumPy.
# - Products may be large. $\sigma(-200)$ is rounded to 0 in `float32`, but $\log\sigma(-200)$ is an ordinary number:
#   about $-200$.
#
# **Example.** When all vectors are zero every σ is ½, and with $k$ negatives the loss is $(1 + k)\log 2$.
#
# <details><summary>A hint</summary>
#
# Look in `torch.nn.functional` for a function that takes the logarithm of σ in one step.
# </details>


# %%
def negative_sampling_loss(given, asked, negatives):
    """The mean loss of samples with one real neighbour and k negatives each."""
    ### BEGIN SOLUTION
    real = (given * asked).sum(dim=1)
    drawn = (negatives * given.unsqueeze(1)).sum(dim=2)
    return -(F.logsigmoid(real) + F.logsigmoid(-drawn).sum(dim=1)).mean()
    ### END SOLUTION


# %%
check("elmo.negative_sampling_loss", negative_sampling_loss)

# %% [markdown]
# ## cosine_neighbours
#
# Vectors of frequent words tend to be longer than others. So "near" means: of nearly the same direction. The
# cosine of the angle between two vectors says how much their directions agree:
#
# $$\cos(a, b) = \frac{a\cdot b}{\lVert a\rVert\,\lVert b\rVert}$$
#
# **Write** `cosine_neighbours(vectors, word, count)`. It returns **two** tensors of shape `(count,)`: numbers of the
# words whose vectors have the largest cosine with that of `word`, the largest first, and these cosines.
#
# - `vectors`: `(vocab, d_model)`, one word a row; `word`: the number of a word; `count`: from 1 to `vocab` − 1.
# - The numbers are `int64`; the cosines have the dtype of `vectors`. `vectors` itself must stay as it is.
# - The word itself is not its own neighbour.
# - A vector of zeros has no direction: its cosine with any other counts as 0. `vectors[word]` is not zero.
#
# **Example.** With the vectors `[[2, 0], [1, 1], [0, 3]]` the neighbours of word 0 are `[1, 2]`, with cosines
# `[0.7071, 0]`.


# %%
def cosine_neighbours(vectors, word, count):
    """The numbers of the nearest words by direction, and their cosines."""
    ### BEGIN SOLUTION
    lengths = vectors.norm(dim=1)
    sizes = lengths * lengths[word]
    agreement = vectors @ vectors[word] / torch.where(sizes > 0, sizes, 1)
    agreement[word] = -2  # below every cosine
    cosines, numbers = torch.sort(agreement, descending=True)
    return numbers[:count], cosines[:count]
    ### END SOLUTION


# %%
check("elmo.cosine_neighbours", cosine_neighbours)

# %% [markdown]
# ## highway
#
# ELMo makes a vector of a word's letters, and then sends it through highway layers. A highway layer computes something
# new, like any layer. But feature by feature a gate $t$ decides how much of the new is taken, and the rest of the
# mixture is the input itself:
#
# $$t = \sigma(W_t\,x + b_t), \qquad y = t \odot \operatorname{relu}(W x + b) + (1 - t) \odot x$$
#
# **Write** `highway(x, weight, bias, gate_weight, gate_bias)`. It returns $y$, of the shape of `x`.
#
# - `x`: `(…, features)`, with any number of axes before the last.
# - `weight` and `gate_weight`: `(features, features)`; `bias` and `gate_bias`: `(features,)`.
# - Gradients have to reach all five arguments.
#
# **Example.** Where the gate is 0, $y = x$.


# %%
def highway(x, weight, bias, gate_weight, gate_bias):
    """A highway layer's output, of the shape of x."""
    ### BEGIN SOLUTION
    gate = torch.sigmoid(F.linear(x, gate_weight, gate_bias))
    new = F.relu(F.linear(x, weight, bias))
    return gate * new + (1 - gate) * x
    ### END SOLUTION


# %%
check("elmo.highway", highway)

# %% [markdown]
# ## language_model_targets
#
# Two language models read the same sentences, one forwards and one backwards. At each word the forward model, which has
# read up to this word, guesses the **next** one. The backward model, which has read from the end back to this word,
# guesses the one **before**.
#
# **Write** `language_model_targets(tokens, mask)`. It returns **four** tensors of shape `(batch, time)`:
#
# 1. `ahead`: what the forward model shall guess at each place;
# 2. `ahead_mask`: True where there is something for it to guess;
# 3. `back`: what the backward model shall guess at each place;
# 4. `back_mask`: True where there is something for it to guess.
#
# - `tokens` and `mask`: `(batch, time)`; in each row the words come first, then filler, where the mask is False. Each
#   row has at least one word.
# - Where there is nothing to guess the target is 0, whatever the filler is. `tokens` itself must stay as it is.
# - The targets are `int64` like `tokens`, the masks are `bool`.
#
# **Example.** For `tokens = [[2, 7, 8, 3], [2, 9, 3, 0]]`, of which the second row has three words, `ahead` is
# `[[7, 8, 3, 0], [9, 3, 0, 0]]` and `back` is `[[0, 2, 7, 8], [0, 2, 9, 0]]`.


# %%
def language_model_targets(tokens, mask):
    """Targets and mask of the forward model, then targets and mask of the backward model."""
    ### BEGIN SOLUTION
    nothing = torch.zeros_like(tokens[:, :1])
    no = torch.zeros_like(mask[:, :1])
    ahead_mask = torch.cat([mask[:, 1:], no], dim=1)
    back_mask = torch.cat([no, mask[:, 1:]], dim=1)
    ahead = torch.cat([tokens[:, 1:], nothing], dim=1)
    back = torch.cat([nothing, tokens[:, :-1]], dim=1)
    return ahead * ahead_mask, ahead_mask, back * back_mask, back_mask
    ### END SOLUTION


# %%
check("elmo.language_model_targets", language_model_targets)

# %% [markdown]
# ## scalar_mix
#
# ELMo has three vectors for each word: one from its letters and one from each of two layers that read the sentence.
# Which is best depends on the task. So every task learns its own mixture: shares for the layers, which a softmax makes
# of any numbers, and one factor for the size of the whole.
#
# $$\gamma \sum_j \operatorname{softmax}(s)_j\, h_j$$
#
# **Write** `scalar_mix(layers, weights, scale)`. It returns the mixture, of the shape of one layer.
#
# - `layers`: a list of tensors $h_j$ of the same shape, of one layer or more; `weights`: $s$, of shape `(layers,)`;
#   `scale`: $\gamma$, a tensor without axes.
# - Gradients have to reach the weights, the scale and the layers.
#
# **Example.** With equal weights and $\gamma = 1$ it is the mean of the layers.


# %%
def scalar_mix(layers, weights, scale):
    """The layers' weighted mean, times the scale."""
    ### BEGIN SOLUTION
    shares = torch.softmax(weights, dim=0)
    return scale * sum(share * layer for share, layer in zip(shares, layers, strict=True))
    ### END SOLUTION


# %%
check("elmo.scalar_mix", scalar_mix)
