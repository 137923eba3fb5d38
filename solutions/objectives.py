# %% [markdown]
# # Homework: pretraining objectives
#
# You will write what makes GPT, T5 and XLNet different from each other, which is not their layers: what each reads,
# what each may see, and what it is asked. Then one step of byte-pair encoding, and the loss that turns preferences into
# a better model.
#
# There are seven exercises. Plan about two hours and a quarter. Below each answer stands one line, `check(…)`: run it
# as often as you like. It tells you which parts are right, the first case that fails, and, when it recognises your
# mistake, what went wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: masks are `bool` and **True means may attend** (or is real); the batch comes first, then time; your
# arguments must come back unchanged, lists as well as tensors; results that are numbers with a fraction have the dtype
# of the inputs. Sizes are never fixed: take them from the arguments.

# %%
import torch

from autograder import check

# %% [markdown]
# ## causal_shift
#
# GPT reads a text and says at each place what comes next. So the text is used twice: as what is read, and, one place
# on, as what is to be said.
#
# **Write** `causal_shift(tokens, mask)`, which returns the pair `(reads, labels)`, both `(batch, time − 1)` and of the
# dtype of `tokens`.
#
# - `tokens`: `(batch, time)`, whole numbers, at least two in a row; `mask`: `bool`, True at real tokens. Filler stands
#   at the end of a row; it may be any number, and a real token may have the same number.
# - `reads`: all tokens of a row but the last one, whether they are real or not.
# - `labels`: at each place the token *after* the one that is read; −100, "not asked", where that token is filler.
# - `tokens` must keep what they hold.
#
# **Example.** `tokens = [[5, 6, 7, 0]]` with the last one filler: reads `[[5, 6, 7]]`, labels `[[6, 7, -100]]`.


# %%
def causal_shift(tokens, mask):
    """What is read, and what is to be said after each of it: −100 where that would be filler."""
    ### BEGIN SOLUTION
    labels = tokens[:, 1:].masked_fill(~mask[:, 1:], -100)
    return tokens[:, :-1], labels
    ### END SOLUTION


# %%
check("objectives.causal_shift", causal_shift)

# %% [markdown]
# ## corrupt_spans
#
# T5 takes spans out of a text, leaves a *sentinel* in place of each, and asks for what was there:
#
# ```text
# text      Thank you for inviting me to your party last week
# inputs    Thank you <X> me to your party <Y> week
# targets   <X> for inviting <Y> last <Z>
# ```
#
# Tokens that are taken out side by side are *one* span. The last sentinel of the target, `<Z>`, has no span: it says
# that the target ends.
#
# **Write** `corrupt_spans(tokens, taken, sentinels)`, which returns the pair `(inputs, targets)`, two new lists.
#
# - `tokens`: a list of token numbers; `taken`: a list of as many bools, True where a token is taken out.
# - `sentinels`: a list of numbers, to be used in its order: the first for the first span, and so on; then one more for
#   the end. There are always enough of them, and often more. Do not rely on how the numbers are ordered: T5's count
#   downwards.
# - Nothing may be taken, or everything.
# - None of the three lists may change.
#
# **Example.** `corrupt_spans([1, 2, 3, 4], [False, True, True, False], [90, 91])` is `([1, 90, 4], [90, 2, 3, 91])`.
#
# <details><summary>A hint</summary>
#
# A span begins where a token is taken and the one before it is not (or there is none before it).
# </details>


# %%
def corrupt_spans(tokens, taken, sentinels):
    """The text with a sentinel for each span, and each sentinel with its span, one more at the end."""
    ### BEGIN SOLUTION
    inputs, targets, spans, inside = [], [], 0, False
    for place, token in enumerate(tokens):
        gone = taken[place]
        if gone and not inside:
            inputs.append(sentinels[spans])
            targets.append(sentinels[spans])
            spans += 1
        inside = gone
        if gone:
            targets.append(token)
        else:
            inputs.append(token)
    targets.append(sentinels[spans])
    return inputs, targets
    ### END SOLUTION


# %%
check("objectives.corrupt_spans", corrupt_spans)

# %% [markdown]
# ## restore_spans
#
# The way back: put what the target says in place of the input's sentinels. A model wrote the target, so it need not be
# perfect.
#
# **Write** `restore_spans(inputs, targets, sentinels)`: a new list, the text.
#
# - `inputs`, `targets`, `sentinels`: lists of numbers, as `corrupt_spans` has them.
# - A sentinel of the input is replaced by what follows *that* sentinel in the target, up to the target's next sentinel
#   or its end. The target may name the sentinels in another order, but none twice.
# - Where the target says nothing about a sentinel, nothing is put in its place.
# - What the target says before its first sentinel, or after one that the input lacks, is left out.
#
# **Example.** `restore_spans([1, 90, 4], [90, 2, 3, 91], [90, 91])` is `[1, 2, 3, 4]`.


# %%
def restore_spans(inputs, targets, sentinels):
    """The text, with the target's spans in place of the input's sentinels."""
    ### BEGIN SOLUTION
    spans, current = {}, []
    for token in targets:
        if token in sentinels:
            current = spans[token] = []
        else:
            current.append(token)
    restored = []
    for token in inputs:
        if token in sentinels:
            restored.extend(spans.get(token, []))
        else:
            restored.append(token)
    return restored
    ### END SOLUTION


# %%
check("objectives.restore_spans", restore_spans)

# %% [markdown]
# ## permutation_masks
#
# XLNet guesses the tokens of a text in a random order, each from those that came before it *in that order*. The text
# itself is not reordered: only the masks know the order. There are two of them:
#
# - the **content** stream, where a token's vector may know the token: it sees itself and what came before it in the
#   order;
# - the **query** stream, where a vector asks for the token: it sees what came before, and *not* itself.
#
# **Write** `permutation_masks(order)`, which returns the pair `(content, query)`, two `bool` tensors
# `(batch, time, time)`: row = who looks, column = who is looked at.
#
# - `order`: `(batch, time)`, whole numbers; each row holds the places 0 … time − 1, the one that is guessed first
#   standing first.
#
# **Example.** `order = [[2, 0, 1]]`: place 2 is guessed first, then place 0, then place 1. The query of place 1 sees
# the places 0 and 2; the query of place 2 sees nobody.
#
# <details><summary>A hint</summary>
#
# `order` says who is when. What you need is when each place comes, its *rank*. In the example the ranks are
# `[1, 2, 0]`.
# </details>


# %%
def permutation_masks(order):
    """Who may see whom in the content stream and in the query stream."""
    ### BEGIN SOLUTION
    ranks = order.argsort()
    sees, seen = ranks.unsqueeze(2), ranks.unsqueeze(1)
    return seen <= sees, seen < sees
    ### END SOLUTION


# %%
check("objectives.permutation_masks", permutation_masks)

# %% [markdown]
# ## two_streams
#
# One head of XLNet's attention. Both streams use the same three matrices, and both look at *contents*:
#
# $$h' = \operatorname{Attention}(hW_q,\ hW_k,\ hW_v), \qquad g' = \operatorname{Attention}(gW_q,\ hW_k,\ hW_v)$$
#
# with $\operatorname{Attention}(Q, K, V) = \operatorname{softmax}(QK^\top/\sqrt{d_\text{head}})\,V$ and a mask for each
# stream.
#
# **Write** `two_streams(content, query, w_query, w_key, w_value, content_mask, query_mask)`, which returns the pair
# `(new_content, new_query)`, both `(batch, time, d_head)`.
#
# - `content` $h$, `query` $g$: `(batch, time, d_model)`; the three matrices: `(d_model, d_head)`.
# - The masks: `bool`, `(batch, time, time)`, True = may attend. A row may be all False: who is first in the order sees
#   nobody. Its result is zeros, and never NaN.
# - Gradients must flow to all but the masks, and none of them may be NaN.
# - torch's ready-made attention is not allowed.
#
# <details><summary>A hint</summary>
#
# Put a very low number in place of the scores that are hidden, take the softmax, and multiply the weights by the mask:
# a row of zeros stays a row of zeros.
# </details>


# %%
def two_streams(content, query, w_query, w_key, w_value, content_mask, query_mask):
    """Both streams a layer higher: contents look at contents, and so do queries."""
    ### BEGIN SOLUTION
    keys, values = content @ w_key, content @ w_value

    def attend(asks, mask):
        scores = asks @ w_query @ keys.mT / w_key.shape[1] ** 0.5
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=2)
        return weights.masked_fill(~mask, 0) @ values

    return attend(content, content_mask), attend(query, query_mask)
    ### END SOLUTION


# %%
check("objectives.two_streams", two_streams)

# %% [markdown]
# ## merge_once
#
# One step of byte-pair encoding: find the pair of neighbouring pieces that is most frequent, and make it one piece,
# everywhere.
#
# **Write** `merge_once(words, counts)`, which returns `(pair, merged)`.
#
# - `words`: a list of words, each a list of pieces (strings, one character or more; a word may be empty); `counts`: how
#   often each of these words occurs in the text, as many whole numbers. Nothing of it may change.
# - `pair`: the most frequent pair, as a tuple of two pieces. A pair counts at *every* place where it stands (in
#   `a a a` the pair `(a, a)` stands at two), as often as the word occurs. Of pairs that are equally frequent take the
#   first in alphabetical order, as Python compares tuples. `None` when no word has two pieces.
# - `merged`: a list of the words, in which the pair is one piece wherever it stands. Go from left to right; what was
#   joined is not joined again: `a a a` becomes `aa a`.
#
# **Example.** `merge_once([["l", "o", "w"], ["l", "o", "w", "e", "r"]], [5, 2])` is
# `(("l", "o"), [["lo", "w"], ["lo", "w", "e", "r"]])`: the pairs `(l, o)` and `(o, w)` stand there seven times each.


# %%
def merge_once(words, counts):
    """The most frequent pair, and the words with that pair as one piece."""
    ### BEGIN SOLUTION
    often = {}
    for number, word in enumerate(words):
        for place in range(len(word) - 1):
            pair = word[place], word[place + 1]
            often[pair] = often.get(pair, 0) + counts[number]
    if not often:
        return None, [list(word) for word in words]
    best = min(often, key=lambda pair: (-often[pair], pair))
    merged = []
    for word in words:
        joined, place = [], 0
        while place < len(word):
            if tuple(word[place : place + 2]) == best:
                joined.append(word[place] + word[place + 1])
                place += 2
            else:
                joined.append(word[place])
                place += 1
        merged.append(joined)
    return best, merged
    ### END SOLUTION


# %%
check("objectives.merge_once", merge_once)

# %% [markdown]
# ## dpo_loss
#
# People were shown two answers to a question and chose one. Direct preference optimisation makes the chosen answer
# $y_w$ more probable and the rejected one $y_l$ less, measured from the model $\pi_\text{ref}$ with which one began:
#
# $$-\frac{1}{B}\sum \log \sigma\left(\beta \log\frac{\pi(y_w)}{\pi_\text{ref}(y_w)} -
# \beta \log\frac{\pi(y_l)}{\pi_\text{ref}(y_l)}\right), \qquad \sigma(z) = \frac{1}{1 + e^{-z}}$$
#
# **Write** `dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta)`: a tensor of one number, shape
# `()`.
#
# - The first four: `(batch,)`, the *logarithms* $\log\pi(y_w)$, $\log\pi(y_l)$, $\log\pi_\text{ref}(y_w)$,
#   $\log\pi_\text{ref}(y_l)$; `beta`: a number above 0.
# - The differences may be as large as 1,000 and more: the loss must stay finite.
# - Gradients must flow to `chosen` and `rejected`, and none to the two of the reference: it does not learn.
#
# <details><summary>A hint</summary>
#
# The logarithm of a ratio is a difference of logarithms. `torch.nn.functional` has a function for $\log\sigma$ that
# never overflows.
# </details>


# %%
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    """How badly the model's rewards explain which answer was chosen."""
    ### BEGIN SOLUTION
    before = reference_chosen.detach() - reference_rejected.detach()
    margin = chosen - rejected - before
    return -torch.nn.functional.logsigmoid(beta * margin).mean()
    ### END SOLUTION


# %%
check("objectives.dpo_loss", dpo_loss)
