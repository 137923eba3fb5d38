# %% [markdown]
# # Homework: encoder, decoder, alignment, beam search
#
# From counting which word goes with which, over what a decoder learns from and how it searches, to the numbers that say
# how good a translation is.
#
# There are seven exercises; no answer needs an earlier one. Plan about two and a half hours. Below each answer stands
# one line, `check(…)`: run it as often as you like. It tells you which parts are right, the first case that fails, and,
# when it recognises your mistake, what went wrong and a hint.
#
# Everywhere: the batch comes first, masks are `bool` and True means a real token, logarithms are natural ones, and the
# arguments of a function are never changed.

# %%
import math
from collections import Counter, defaultdict

import numpy as np
import torch
import torch.nn.functional as F

from autograder import check

# %% [markdown]
# ## em_step
#
# IBM Model 1 learns $t(f \mid e)$, the chance that the word $e$ is translated as $f$, from pairs of sentences in which
# nobody marked what belongs to what. Every word $f$ of the target comes from one word $e$ of its source sentence. With
# the table of now, it comes from $e$ with the probability
#
# $$\frac{t(f \mid e)}{\sum_{e'} t(f \mid e')}, \qquad e' \text{ all words of this source sentence.}$$
#
# Expectation: add these shares up, over all sentences, as fractions of a count for each pair $(e, f)$. Maximisation:
# divide the counts of every $e$ by their sum. That is the new table.
#
# **Write** `em_step(pairs, table)`.
#
# - `pairs` is a list of `(source, target)`, two lists of words each. A word may stand in a sentence more than once;
#   then every place of it counts.
# - `table` is a dictionary of dictionaries: `table[e][f]` is $t(f \mid e)$. Every word of the pairs is in it.
# - Return a new table with a row for each source word of the old one. A chance of 0 may stand in a row or be left out.
# - The row of a source word that stands in no pair keeps its numbers.
# - `table` itself must not change, not even when somebody writes into the new table: the two share no row.
#
# **Example.** The pairs `(["the", "house"], ["das", "haus"])` and `(["the"], ["das"])`, all chances ½: each word of the
# first pair comes from “the” and from “house” with ½. “the” has the counts das 1½, haus ½: its new row is ¾, ¼. “house”
# keeps ½, ½.
#
# <details><summary>A hint</summary>
#
# Three loops: over the pairs, over the words of the target, over the words of the source. The sum in the denominator
# belongs between the second and the third.
# </details>


# %%
def em_step(pairs, table):
    """A new table {e: {f: chance}} after one step of expectation–maximisation on the pairs of sentences."""
    ### BEGIN SOLUTION
    counts = {e: dict.fromkeys(row, 0.0) for e, row in table.items()}
    for source, target in pairs:
        for f in target:
            norm = sum(table[e][f] for e in source)
            for e in source:
                counts[e][f] += table[e][f] / norm
    new = {}
    for e, row in counts.items():
        total = sum(row.values())
        new[e] = {f: count / total for f, count in row.items()} if total else dict(table[e])
    return new
    ### END SOLUTION


# %%
# The example of the text.
try:
    half = {"das": 0.5, "haus": 0.5}
    print(em_step([(["the", "house"], ["das", "haus"]), (["the"], ["das"])], {"the": half, "house": half}))
except NotImplementedError:
    print("not written yet")

# %%
check("seq2seq.em_step", em_step)

# %% [markdown]
# ## teacher_forcing
#
# While it learns, a decoder reads the true target and says at every place the token that comes *next*. To begin, it
# reads the token `bos`; after the last word it says the token `eos`.
#
# **Write** `teacher_forcing(sentences, bos, eos, filler)` for a list of sentences, each a list of token numbers. Return
# three tensors of shape `(batch, time)`, where `time` is one more than the longest sentence has tokens:
#
# - what the decoder reads, and what it says, both of type `torch.long`; what is no token is `filler` (in what is read,
#   `eos` may stand there as well: nothing is said at that place);
# - a `bool` mask, True where there is something to say.
#
# A sentence may be empty, and the number of the filler may also be that of a real token. The lists in `sentences` stay
# as they are.
#
# **Example.** `teacher_forcing([[7, 8], [9]], bos=2, eos=3, filler=0)`:
#
# ```text
# reads  2 7 8      says  7 8 3      mask  True True True
#        2 9 0            9 3 0            True True False
# ```


# %%
def teacher_forcing(sentences, bos, eos, filler):
    """What the decoder reads, what it says, and where that is real; each (batch, time)."""
    ### BEGIN SOLUTION
    time = max(len(sentence) for sentence in sentences) + 1
    reads = torch.full((len(sentences), time), filler)
    says, real = reads.clone(), torch.zeros(len(sentences), time, dtype=torch.bool)
    for n, sentence in enumerate(sentences):
        count = len(sentence) + 1
        reads[n, :count] = torch.tensor([bos, *sentence])
        says[n, :count] = torch.tensor([*sentence, eos])
        real[n, :count] = True
    return reads, says, real
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(*teacher_forcing([[7, 8], [9]], bos=2, eos=3, filler=0), sep="\n")
except NotImplementedError:
    print("not written yet")

# %%
check("seq2seq.teacher_forcing", teacher_forcing)

# %% [markdown]
# ## masked_cross_entropy
#
# The loss is the mean surprise of the **real** tokens of the batch, each with the same weight:
#
# $$L = -\frac{1}{\sum_{n,t} m_{nt}} \sum_{n,t} m_{nt}\, \log p_{nt}(y_{nt}), \qquad
# p_{nt} = \operatorname{softmax}(\text{logits}_{nt})$$
#
# **Write** `masked_cross_entropy(logits, target, mask)`.
#
# - `logits`: `(batch, time, vocab)`; `target`: `(batch, time)`, token numbers; `mask`: `(batch, time)`, bool. At least
#   one token is real.
# - The result is a tensor with one number and no axis, in the dtype of the logits, and gradients flow through it.
# - The logits of the filler are numbers that mean nothing, but never NaN or infinite.
# - Logits may be thousands. Softmax and its logarithm are allowed; torch's ready-made losses are not.
#
# **Example.** With all logits 0 and a vocabulary of 8 every token has the surprise $\log 8 \approx 2.08$, and so has
# the mean, whatever the mask.


# %%
def masked_cross_entropy(logits, target, mask):
    """Mean of −log p(target) over the places where the mask is True."""
    ### BEGIN SOLUTION
    log_chance = F.log_softmax(logits, dim=2)
    surprise = -log_chance.gather(2, target.unsqueeze(2)).squeeze(2)
    return surprise[mask].mean()
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(masked_cross_entropy(torch.zeros(1, 2, 8), torch.tensor([[3, 0]]), torch.tensor([[True, False]])))
except NotImplementedError:
    print("not written yet")

# %%
check("seq2seq.masked_cross_entropy", masked_cross_entropy)

# %% [markdown]
# ## beam_search
#
# A *way* is a list of tokens with the sum of their log-probabilities. Begin with the empty way. At every step extend
# each way by every token of the vocabulary, and of all you have keep the `beam` best. A way that ends with `eos` has
# ended: it is not extended any more, but keeps its place in the list as long as it is good enough.
#
# **Write** `beam_search(log_chances, beam, steps, eos, alpha=0.0)`.
#
# - `log_chances(prefix)` takes a tuple of tokens (at first the empty one) and gives an array with the log-probability
#   of each token to come next.
# - Make `steps` steps. Ways are ranked, at every step and at the end, by their score: the sum of the log-probabilities
#   divided by `length ** alpha`. The length counts all tokens of the way, `eos` among them.
# - Return a list of `(tokens, score)`, the best first; `tokens` is a list or a tuple of numbers. It has at most `beam`
#   entries, fewer where there are no more ways. Those that have not ended after the last step are among them.
#
# **Example.** Two tokens: 0 is `eos` and has the chance 0.4 at first, token 1 has 0.6. After a 1, both have ½. With
# `beam=1, steps=2` the way is `[1, 0]` or `[1, 1]`, of chance 0.3; with `beam=2` the best is `[0]`, of chance 0.4.
#
# <details><summary>A hint</summary>
#
# Keep a list of pairs `(tokens, total)`. In each step build one long list of candidates: an ended way as it is, any
# other with each token. Sort by score, cut after `beam`.
# </details>


# %%
def beam_search(log_chances, beam, steps, eos, alpha=0.0):
    """The `beam` best ways as (tokens, score), the best first."""

    ### BEGIN SOLUTION
    def score(way):
        tokens, total = way
        return total / len(tokens) ** alpha

    ways = [([], 0.0)]
    for _ in range(steps):
        candidates = []
        for tokens, total in ways:
            if eos in tokens:
                candidates.append((tokens, total))
            else:
                for token, chance in enumerate(log_chances(tuple(tokens))):
                    candidates.append(([*tokens, token], total + chance))
        ways = sorted(candidates, key=score, reverse=True)[:beam]
    return [(tokens, score((tokens, total))) for tokens, total in ways]
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(beam_search(lambda prefix: np.log([0.5, 0.5] if prefix else [0.4, 0.6]), beam=2, steps=2, eos=0))
except NotImplementedError:
    print("not written yet")

# %%
check("seq2seq.beam_search", beam_search)

# %% [markdown]
# ## clipped_matches
#
# How much of an output is also in a right translation? Take all its runs of $n$ tokens (its *n-grams*). Each different
# one matches as often as the output has it, but **at most as often as the one reference that has it most often**.
#
# **Write** `clipped_matches(output, references, n)`. `output` is a list of tokens, `references` a list of one or more
# such lists. Return two numbers: how many n-grams match, and how many the output has. An output that is shorter than
# $n$ has none.
#
# **Example.** For `["the"] * 7` and the reference “the cat is on the mat”, with $n = 1$: 2 of 7.
#
# <details><summary>A hint</summary>
#
# `Counter` counts tuples as well as words. Of two counters `a & b` has the smaller counts, `a | b` the larger.
# </details>


# %%
def clipped_matches(output, references, n):
    """How many n-grams of the output match, clipped, and how many it has."""

    ### BEGIN SOLUTION
    def count(tokens):
        return Counter(tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))

    found, matches = count(output), 0
    rows = [count(reference) for reference in references]
    for gram, times in found.items():
        matches += min(times, max(row[gram] for row in rows))
    return matches, sum(found.values())
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(clipped_matches(["the"] * 7, [["the", "cat", "is", "on", "the", "mat"]], 1))
except NotImplementedError:
    print("not written yet")

# %%
check("seq2seq.clipped_matches", clipped_matches)

# %% [markdown]
# ## bleu_score
#
# BLEU of a whole test set, from the counts of its sentences:
#
# $$\text{BLEU} = \min\left(1,\; e^{1 - r/c}\right) \cdot \Bigl(\prod_{n=1}^{N} p_n\Bigr)^{1/N}, \qquad
# p_n = \frac{\text{matches of all sentences}}{\text{n-grams of all sentences}}$$
#
# with $c$ the length of all outputs together and $r$ that of all references.
#
# **Write** `bleu_score(matches, possible, output_lengths, reference_lengths)`.
#
# - `matches[s][n-1]` is how many n-grams of sentence `s` match, `possible[s][n-1]` how many its output has. All
#   sentences have the same $N$ numbers.
# - `output_lengths` and `reference_lengths` hold a length for each sentence.
# - Return one number from 0 to 1. Where there is no match at all of some length, it is 0.
#
# **Example.** One sentence, $N = 2$, matches `[5, 3]` of `[6, 5]`, both lengths 6: $\sqrt{5/6 \cdot 3/5} \approx 0.71$.
# Were the reference 12 tokens long, that would be multiplied by $e^{-1}$.


# %%
def bleu_score(matches, possible, output_lengths, reference_lengths):
    """BLEU of a test set from clipped matches, n-grams and lengths of each sentence."""
    ### BEGIN SOLUTION
    total = 0.0
    order = len(matches[0])
    for n in range(order):
        matched = sum(row[n] for row in matches)
        if matched == 0:
            return 0.0
        total += math.log(matched / sum(row[n] for row in possible))
    c, r = sum(output_lengths), sum(reference_lengths)
    penalty = min(0.0, 1 - r / c)
    return math.exp(total / order + penalty)
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(bleu_score([[5, 3]], [[6, 5]], [6], [6]), bleu_score([[5, 3]], [[6, 5]], [6], [12]))
except NotImplementedError:
    print("not written yet")

# %%
check("seq2seq.bleu_score", bleu_score)

# %% [markdown]
# ## character_error_rate
#
# For names BLEU is too coarse; one counts letters. The *edit distance* of two texts is the least number of letters to
# insert, delete or replace that makes one of the other. Between the first $i$ letters of one text and the first $j$ of
# the other it is
#
# $$d_{ij} = \min\bigl(d_{i-1,\,j} + 1,\;\; d_{i,\,j-1} + 1,\;\; d_{i-1,\,j-1} + [a_i \ne b_j]\bigr),
# \qquad d_{i0} = i,\; d_{0j} = j.$$
#
# **Write** `character_error_rate(outputs, references)` for two lists of texts: the edit distances of all pairs, added
# up, divided by the number of letters of all references. A text may be empty, but not all references are.
#
# **Example.** “kitten” becomes “sitting” by two replacements and an insertion; the rate is 3/7.


# %%
def character_error_rate(outputs, references):
    """Sum of the edit distances by the sum of the references' lengths."""
    ### BEGIN SOLUTION
    errors = 0
    for output, reference in zip(outputs, references, strict=True):
        d = defaultdict(int)
        for i in range(len(output) + 1):
            for j in range(len(reference) + 1):
                if i == 0 or j == 0:
                    d[i, j] = i + j
                else:
                    changed = d[i - 1, j - 1] + (output[i - 1] != reference[j - 1])
                    d[i, j] = min(d[i - 1, j] + 1, d[i, j - 1] + 1, changed)
        errors += d[len(output), len(reference)]
    return errors / sum(len(reference) for reference in references)
    ### END SOLUTION


# %%
# The example of the text.
try:
    print(character_error_rate(["kitten"], ["sitting"]))
except NotImplementedError:
    print("not written yet")

# %%
check("seq2seq.character_error_rate", character_error_rate)
