# %% [markdown]
# # Homework: BERT
#
# You will write the parts of BERT that were new in 2018: word pieces, the input of two texts, what the model is taught
# with (hidden words, and pairs of sentences), and two of the heads that are put on top of it.
#
# There are eight exercises. Plan about two and a half hours. Below each answer stands one line, `check(…)`: run it as
# often as you like. It tells you which parts are right, the first case that fails, and, when it recognises your
# mistake, what went wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: masks are `bool` and **True means may attend** (or may be chosen); the batch comes first, then time;
# your arguments must come back unchanged, lists as well as tensors; results that are numbers with a fraction have the
# dtype of the inputs. Sizes are never fixed: take them from the arguments.

# %%
import torch

from autograder import check

# %% [markdown]
# ## word_pieces
#
# WordPiece cuts a word from the left: the *longest* prefix of what is left that the vocabulary has is the next piece.
# Pieces that do not begin the word are looked up, and returned, with `##` in front. There is no going back: when no
# piece fits, the *whole word* is unknown.
#
# **Write** `word_pieces(word, vocabulary, longest=100)`: a list of pieces.
#
# - `word`: a string of at least one character; `vocabulary`: a set of strings.
# - When no piece fits at some place, the result is `["[UNK]"]`, whatever was found before.
# - A word of more than `longest` characters is `["[UNK]"]` as well.
#
# **Example.** With the pieces `un`, `##aff`, `##able` and `##a`, the word `unaffable` becomes
# `["un", "##aff", "##able"]`, and `unaffected` becomes `["[UNK]"]`.
#
# <details><summary>A hint</summary>
#
# Two numbers are enough: where the next piece starts, and where it might stop. Try the stops from the end of the word
# downwards. A `for` loop with an `else` says what happens when no stop was good.
# </details>


# %%
def word_pieces(word, vocabulary, longest=100):
    """The word's pieces, the longest that fits each time; ["[UNK]"] when it cannot be cut."""
    ### BEGIN SOLUTION
    if len(word) > longest:
        return ["[UNK]"]
    pieces, start = [], 0
    while start < len(word):
        for stop in range(len(word), start, -1):
            piece = word[start:stop] if start == 0 else "##" + word[start:stop]
            if piece in vocabulary:
                pieces.append(piece)
                start = stop
                break
        else:
            return ["[UNK]"]
    return pieces
    ### END SOLUTION


# %%
check("bert.word_pieces", word_pieces)

# %% [markdown]
# ## build_inputs
#
# BERT reads one text, or two in a row, with special tokens around them. The *segment* of a token says which text it
# belongs to: 0 for `[CLS]`, the first text and the `[SEP]` that closes it; 1 for the second text and the `[SEP]` that
# closes that.
#
# ```text
# tokens    [CLS]  my  dog  [SEP]  he  barks  [SEP]
# segments    0    0    0     0    1     1      1
# ```
#
# **Write** `build_inputs(firsts, seconds, cls, sep, pad)`, which returns three tensors `(batch, time)`: the tokens, the
# segments (both `torch.long`), and the mask (`bool`, True at real tokens).
#
# - `firsts`: a list of texts, each a list of token numbers; `seconds`: as many texts, or `None` when there are no
#   pairs. A text may be empty. Do not put anything into these lists: make new ones.
# - `cls`, `sep`, `pad`: the numbers of the special tokens. Shorter rows are filled up with `pad` at the end; the filler
#   has segment 0.
# - `time` is the length of the longest row.
#
# **Example.** `build_inputs([[7, 8]], [[9]], cls=1, sep=2, pad=0)` gives the tokens `[[1, 7, 8, 2, 9, 2]]`, the
# segments `[[0, 0, 0, 0, 1, 1]]` and a mask that is all True.


# %%
def build_inputs(firsts, seconds, cls, sep, pad):
    """Tokens, segments and mask of a batch of texts or pairs of texts."""
    ### BEGIN SOLUTION
    rows, of_second = [], []
    for i, first in enumerate(firsts):
        second = [] if seconds is None else [*seconds[i], sep]
        rows.append([cls, *first, sep, *second])
        of_second.append(len(second))
    time = max(len(row) for row in rows)
    tokens = torch.full((len(rows), time), pad)
    segments = torch.zeros(len(rows), time, dtype=torch.long)
    mask = torch.zeros(len(rows), time, dtype=torch.bool)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
        segments[i, len(row) - of_second[i] : len(row)] = 1
        mask[i, : len(row)] = True
    return tokens, segments, mask
    ### END SOLUTION


# %%
check("bert.build_inputs", build_inputs)

# %% [markdown]
# ## embed_inputs
#
# Three learned tables, one sum, one norm:
#
# $$x_t = \operatorname{LayerNorm}\left(E_{\text{token}_t} + P_t + S_{\text{segment}_t}\right)$$
#
# **Write** `embed_inputs(tokens, segments, token_table, position_table, segment_table, scale, shift, epsilon=1e-12)`.
#
# - `tokens`, `segments`: `(batch, time)`, whole numbers; the tables have a row for each token, each position (from 0;
#   there may be more rows than tokens) and each segment, all `d_model` wide.
# - The norm: for each token $(x - \mu) / \sqrt{\sigma^2 + \varepsilon} \cdot \text{scale} + \text{shift}$, with mean
#   and variance (divisor `d_model`) of the token's own numbers. You may use torch's.
# - The result: `(batch, time, d_model)`, with the dtype of the tables. Gradients must flow to the tables, `scale` and
#   `shift`.


# %%
def embed_inputs(tokens, segments, token_table, position_table, segment_table, scale, shift, epsilon=1e-12):
    """The sum of the three tables' rows, normalised; shape (batch, time, d_model)."""
    ### BEGIN SOLUTION
    x = token_table[tokens] + position_table[: tokens.shape[1]] + segment_table[segments]
    return torch.nn.functional.layer_norm(x, x.shape[-1:], scale, shift, epsilon)
    ### END SOLUTION


# %%
check("bert.embed_inputs", embed_inputs)

# %% [markdown]
# ## corrupt_tokens
#
# BERT learns by guessing tokens. Of those that may be chosen, 15 % are; of the chosen, 80 % are hidden behind `[MASK]`,
# 10 % are replaced by another token, and 10 % stay as they are, and are asked for all the same. The dice are already
# thrown, so that there is one right answer:
#
# - a token is **chosen** when it is maskable and its number in `choice` is below 0.15;
# - a chosen token becomes `mask` when its number in `fate` is below 0.8; the token in `others` when that number is at
#   least 0.8 but below 0.9; and stays otherwise.
#
# **Write** `corrupt_tokens(tokens, maskable, choice, fate, others, mask)`, which returns the pair
# `(corrupted, labels)`, both of the shape and dtype of `tokens`.
#
# - `tokens`, `others`: `(batch, time)`, whole numbers; `maskable`: `bool`, True where a token may be chosen; `choice`,
#   `fate`: numbers from 0 up to 1; `mask`: the number of `[MASK]`.
# - `labels` holds what the chosen tokens *were*, and −100 everywhere else: "not asked".
# - `tokens` itself must not change.
#
# <details><summary>A hint</summary>
#
# One bool tensor says what is chosen. `torch.where(condition, a, b)` takes each number from a or from b.
# </details>


# %%
def corrupt_tokens(tokens, maskable, choice, fate, others, mask):
    """The corrupted tokens, and the labels: what the chosen ones were, −100 elsewhere."""
    ### BEGIN SOLUTION
    chosen = maskable & (choice < 0.15)
    labels = tokens.clone()
    labels[~chosen] = -100
    corrupted = torch.where(chosen & (fate < 0.9), others, tokens)
    corrupted[chosen & (fate < 0.8)] = mask
    return corrupted, labels
    ### END SOLUTION


# %%
check("bert.corrupt_tokens", corrupt_tokens)

# %% [markdown]
# ## masked_loss
#
# The loss is the mean surprise at the chosen tokens $C$, and at no others:
#
# $$-\frac{1}{|C|}\sum_{t\in C} \log \operatorname{softmax}(\text{logits}_t)_{\text{label}_t}$$
#
# **Write** `masked_loss(logits, labels)`: a tensor of one number (shape `()`).
#
# - `logits`: `(batch, time, vocab)`; `labels`: `(batch, time)`, a token's number where it is asked for, else −100.
# - Every chosen token of the batch weighs the same.
# - Gradients must flow to `logits`. When nothing is chosen, the loss is 0, and so is its gradient.
# - `labels` must keep its −100.
# - Logits may be as large as 1,000 and more.
# - torch's ready-made cross-entropies are not allowed.
#
# <details><summary>A hint</summary>
#
# `torch.log_softmax` never overflows. `gather` picks one number from each row; −100 is no place in a row, so put some
# other number there first and leave the result out afterwards.
# </details>


# %%
def masked_loss(logits, labels):
    """Mean surprise at the tokens that are asked for, in nats; 0 when there is none."""
    ### BEGIN SOLUTION
    asked = labels != -100
    logs = torch.log_softmax(logits, dim=-1)
    right = logs.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(right * asked).sum() / asked.sum().clamp(min=1)
    ### END SOLUTION


# %%
check("bert.masked_loss", masked_loss)

# %% [markdown]
# ## sentence_pairs
#
# For next-sentence prediction BERT is shown pairs: a sentence with the one that follows it, or with a stranger. Again
# the dice are thrown already.
#
# Go through the documents in their order, and in each through its neighbours: sentence 0 with 1, 1 with 2, and so on.
# These are the pairs; number them from 0 through *all* documents. Pair $n$ becomes
#
# - `(first, following, 0)` when `coins[n]` is True;
# - `(first, stranger, 1)` when it is False. The stranger is number `picks[n] % count` of the sentences of all *other*
#   documents, taken in their order; `count` is how many these are.
#
# **Write** `sentence_pairs(documents, coins, picks)`: the list of these tuples. `documents` is a list of documents,
# each a list of sentences (here strings); `coins` and `picks` are lists, as long as there are pairs. A document of one
# sentence gives no pair, but its sentence may be a stranger. All three lists must come back as they were.
#
# **Example.** With `[["A0", "A1", "A2"], ["B0", "B1"]]`, the coins `[True, False, False]` and the picks `[5, 5, 5]`:
# `[("A0", "A1", 0), ("A1", "B1", 1), ("B0", "A2", 1)]`.


# %%
def sentence_pairs(documents, coins, picks):
    """Pairs (first, second, label): label 0 when the second follows the first, 1 when it is a stranger."""
    ### BEGIN SOLUTION
    pairs = []
    for document in documents:
        strangers = [sentence for other in documents if other is not document for sentence in other]
        for i in range(1, len(document)):
            n = len(pairs)
            if coins[n]:
                pairs.append((document[i - 1], document[i], 0))
            else:
                pairs.append((document[i - 1], strangers[picks[n] % len(strangers)], 1))
    return pairs
    ### END SOLUTION


# %%
check("bert.sentence_pairs", sentence_pairs)

# %% [markdown]
# ## classify
#
# To classify a text, BERT looks at what became of its first token, `[CLS]`. This vector goes through the *pooler*, a
# linear layer with a tanh, and then through the classifier's own linear layer:
#
# $$\text{logits} = W_c \tanh(W_p\, h_{[CLS]} + b_p) + b_c$$
#
# **Write** `classify(hidden, pool_weight, pool_bias, class_weight, class_bias)`: the logits `(batch, classes)`.
#
# - `hidden`: `(batch, time, d_model)`, what BERT made of each token.
# - `pool_weight`: `(d_model, d_model)`, `class_weight`: `(classes, d_model)`; as in `nn.Linear` each row makes one
#   output.
# - The result has the dtype of the inputs; gradients must flow to all five.


# %%
def classify(hidden, pool_weight, pool_bias, class_weight, class_bias):
    """Logits of the classes from the vector of [CLS]; shape (batch, classes)."""
    ### BEGIN SOLUTION
    pooled = torch.tanh(torch.nn.functional.linear(hidden[:, 0], pool_weight, pool_bias))
    return torch.nn.functional.linear(pooled, class_weight, class_bias)
    ### END SOLUTION


# %%
check("bert.classify", classify)

# %% [markdown]
# ## best_span
#
# To answer a question from a text, BERT scores each token twice: how well the answer would *start* there, and how well
# it would *end* there. The answer is the span from $i$ to $j$, both included, with the largest $\text{start}_i +
# \text{end}_j$ among the *possible* ones: $i \le j$, at most `longest` tokens, and both $i$ and $j$ inside the text.
#
# **Write** `best_span(start, end, inside, longest)`: a `torch.long` tensor `(batch, 2)` with $i$ and $j$ of each row.
#
# - `start`, `end`: `(batch, time)`; `inside`: `bool`, `(batch, time)`, True at tokens of the text (not of the question,
#   not filler); each row has at least one.
# - Scores may be negative. `start` and `end` must come back as they were.
#
# **Example.** Starts `[0, 9, 5, 0]`, ends `[9, 0, 0, 1]`, all inside, `longest=30`: `[1, 3]`, though the best end of
# all is at 0.
#
# <details><summary>A hint</summary>
#
# Two loops per row are fine. Without loops: a matrix of all sums, $-\infty$ where a pair is not possible, and one
# `argmax` over the flattened matrix; `divmod` by the number of tokens gives back row and column.
# </details>


# %%
def best_span(start, end, inside, longest):
    """First and last token of the best possible span of each row; shape (batch, 2)."""
    ### BEGIN SOLUTION
    time = start.shape[1]
    sums = start[:, :, None] + end[:, None, :]
    possible = torch.ones(time, time, dtype=torch.bool).triu().tril(longest - 1)
    possible = possible & inside[:, :, None] & inside[:, None, :]
    best = sums.masked_fill(~possible, -torch.inf).flatten(1).argmax(dim=1)
    return torch.stack([best // time, best % time], dim=1)
    ### END SOLUTION


# %%
check("bert.best_span", best_span)
