# %% [markdown]
# # Homework: fast generation
#
# A Transformer writes one token at a time. You will make it remember instead of reading everything again, share what it
# remembers between its heads, and let a draft guess ahead without changing a single probability of what is written.
#
# There are eight exercises. Plan about two hours. Below each answer stands one line, `check(…)`: run it as often as you
# like. It tells you which parts are right, the first case that fails, and, when it recognises your mistake, what went
# wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: the batch comes first, then heads, then time; masks are `bool` and **True means may attend**; results have
# the dtype of the inputs. The axes are called `batch`, `heads`, `kv_heads` (heads of keys and values), `time`,
# `d_head`, `vocab`.

# %%
import math

import torch
import torch.nn.functional as F
from einops import rearrange

from autograder import check

# %% [markdown]
# ## cache_bytes
#
# How much does a model have to remember? For every token, in every layer, each head of keys and values keeps one key
# and one value of `d_head` numbers.
#
# **Write** `cache_bytes(tokens, batch, layers, kv_heads, d_head, bytes_per_number)`: the bytes that the caches of all
# layers take for `batch` texts of `tokens` tokens each.
#
# **Example.** One token of one text, 96 layers, 96 heads, `d_head = 128` and two bytes a number, the sizes of GPT-3:
# 4,718,592 bytes. Four and a half mebibytes for *one* token!


# %%
def cache_bytes(tokens, batch, layers, kv_heads, d_head, bytes_per_number):
    """Bytes of all keys and values of `batch` texts of `tokens` tokens."""
    ### BEGIN SOLUTION
    keys = tokens * kv_heads * d_head
    values = keys
    return (keys + values) * layers * batch * bytes_per_number
    ### END SOLUTION


# %%
check("decoding.cache_bytes", cache_bytes)

# %% [markdown]
# ## append
#
# A cache keeps the keys and values of the tokens so far. It would be slow to copy all of them for each new token, so
# room is made beforehand: `stored_keys` and `stored_values` have more places than there are tokens, and `length` says
# how many of them belong to the text. What stands in the places behind that means nothing: nobody has written there
# yet, or guesses that were rejected.
#
# **Write** `append(stored_keys, stored_values, length, keys, values)`. It writes the new keys and values into the
# storage, behind the first `length` places, and returns **three** things: all keys, all values, the new length.
#
# - `stored_keys`, `stored_values`: `(batch, heads, room, d_head)`; `keys`, `values`: `(batch, heads, new, d_head)`.
#   There is always room enough.
# - All keys and all values are `(batch, heads, length + new, d_head)`: the text's, and nothing else. Whether they are
#   views of the storage or copies is up to you.
# - Here the arguments **shall** be changed: the next call must find in the storage what this one has written.
#
# **Example.** With `length = 2` and one new token, the third place of the storage is written, three keys and three
# values come back, and the new length 3.


# %%
def append(stored_keys, stored_values, length, keys, values):
    """Writes the new keys and values behind the first `length` places; returns all keys, all values, the new length."""
    ### BEGIN SOLUTION
    longer = length + keys.shape[2]
    stored_keys[:, :, length:longer] = keys
    stored_values[:, :, length:longer] = values
    return stored_keys[:, :, :longer], stored_values[:, :, :longer], longer
    ### END SOLUTION


# %%
check("decoding.append", append)

# %% [markdown]
# ## cached_attention
#
# The newest tokens ask; the keys and values of the older ones are remembered. Each new token may see all old ones, the
# new ones before it, and itself.
#
# **Write** `cached_attention(queries, keys, values, past_keys, past_values)`: scaled dot product attention,
# $\operatorname{softmax}(QK^\top/\sqrt{d_{head}})\,V$, of the new queries over past and new keys.
#
# - `queries`, `keys`: `(batch, heads, new, d_head)`, `values`: `(batch, heads, new, features)` belong to the new
#   tokens; `past_keys`: `(batch, heads, past, d_head)` and `past_values`: `(batch, heads, past, features)` to those
#   before them. `past` may be 0.
# - The result is `(batch, heads, new, features)`.
# - `torch.softmax` is allowed, torch's ready-made attention is not.
#
# **Example.** With three old tokens and two new ones the first new token sees four keys and the second five.
#
# <details><summary>A hint</summary>
#
# Put past and new keys together first. `tril` has an argument that says on which diagonal it begins: on which one, when
# the first query stands at position `past`?
# </details>


# %%
def cached_attention(queries, keys, values, past_keys, past_values):
    """What the new tokens find among the past and each other; shape (batch, heads, new, features)."""
    ### BEGIN SOLUTION
    past = past_keys.shape[2]
    keys, values = torch.cat([past_keys, keys], dim=2), torch.cat([past_values, values], dim=2)
    place = torch.arange(keys.shape[2])
    future = place > place[past:].unsqueeze(1)
    scores = torch.einsum("bhqd,bhkd->bhqk", queries, keys) / math.sqrt(queries.shape[3])
    return torch.softmax(scores.masked_fill(future, -math.inf), dim=3) @ values
    ### END SOLUTION


# %%
check("decoding.cached_attention", cached_attention)

# %% [markdown]
# ## grouped_attention
#
# In grouped-query attention several heads of queries share one head of keys and values: the first `heads / kv_heads`
# query heads ask the first head of keys, the next ones the second, and so on. With `kv_heads = heads` this is
# multi-head attention, with `kv_heads = 1` multi-query attention.
#
# **Write** `grouped_attention(queries, keys, values, mask=None)`.
#
# - `queries`: `(batch, heads, query, d_head)`; `keys`, `values`: `(batch, kv_heads, key, d_head)`; `heads` is divisible
#   by `kv_heads`.
# - `mask`: `None` or `bool`, `(query, key)`, the same for all; every query may attend to something.
# - The result is `(batch, heads, query, d_head)`; each head is scaled dot product attention.
# - `torch.softmax` is allowed, torch's ready-made attention is not.
#
# **Example.** With four heads of queries and two of keys, query heads 0 and 1 ask key head 0, query heads 2 and 3 ask
# key head 1.


# %%
def grouped_attention(queries, keys, values, mask=None):
    """Attention in which neighbouring query heads share keys and values; shape (batch, heads, query, d_head)."""
    ### BEGIN SOLUTION
    kv_heads = keys.shape[1]
    by_group = rearrange(queries, "batch (kv group) query d -> batch kv group query d", kv=kv_heads)
    scores = by_group @ keys.unsqueeze(2).mT / math.sqrt(queries.shape[3])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return (torch.softmax(scores, dim=4) @ values.unsqueeze(2)).flatten(1, 2)
    ### END SOLUTION


# %%
check("decoding.grouped_attention", grouped_attention)

# %% [markdown]
# ## accept
#
# A draft has drawn several tokens, each from its own distribution $q_i$. The target has its distributions $p_i$ for the
# same places. Guess $x_i$ stays if **all guesses before it stay** and
#
# $$u_i < \frac{p_i(x_i)}{q_i(x_i)}, \qquad u_i \text{ uniform in } [0, 1).$$
#
# **Write** `accept(p, q, drafted, coins)`: how many guesses stay.
#
# - `p`, `q`: `(ahead, vocab)`; `drafted`: `(ahead,)`, the guesses $x_i$ as integers; `coins`: `(ahead,)`, the $u_i$.
# - $q_i(x_i) > 0$ always, since the draft has drawn $x_i$.
# - The result is a whole number from 0 to `ahead`.
#
# **Example.** Three guesses with $p/q$ = 0.5, 2 and 0.1, and coins 0.4, 0.9 and 0.3: the first two stay, 2.


# %%
def accept(p, q, drafted, coins):
    """How many guesses stay, from the first on."""
    ### BEGIN SOLUTION
    for place, token in enumerate(drafted):
        if not coins[place] < p[place, token] / q[place, token]:
            return place
    return len(drafted)
    ### END SOLUTION


# %%
check("decoding.accept", accept)

# %% [markdown]
# ## residual_distribution
#
# A rejected guess is replaced by a draw from what the target has *more* of than the draft:
#
# $$r(x) = \frac{\max(0,\, p(x) - q(x))}{\sum_y \max(0,\, p(y) - q(y))}$$
#
# Together with the accepted guesses this gives exactly $p$. (Why? $\min(p, q) + \max(0, p - q) = p$.)
#
# **Write** `residual_distribution(p, q)` for tensors of any shape whose last axis is `vocab`.
#
# - Each row of the result sums to one.
# - Where $p$ and $q$ are the same distribution nothing is ever rejected, and the formula is 0/0: return $p$ there.
# - `q` may be all zeros in a row (no draft at all): the formula then gives $p$ by itself.
#
# **Example.** For $p$ = (0.5, 0.5, 0) and $q$ = (0.2, 0.3, 0.5) it is (0.6, 0.4, 0).


# %%
def residual_distribution(p, q):
    """The distribution that replaces a rejected guess."""
    ### BEGIN SOLUTION
    surplus = F.relu(p - q)
    mass = surplus.sum(dim=-1, keepdim=True)
    return torch.where(mass == 0, p, surplus / mass)
    ### END SOLUTION


# %%
check("decoding.residual_distribution", residual_distribution)

# %% [markdown]
# ## speed_up
#
# Suppose each guess is accepted with probability $\alpha$, whatever happened to the others. A round makes `ahead`
# guesses, of which those up to the first rejection stay, and adds one token of the target's own: the replacement, or a
# bonus when all stay. On average that is $1 + \alpha + \alpha^2 + \dots + \alpha^{ahead}$ tokens. The round takes
# `ahead` steps of the draft, each `cost` times as long as a step of the target, and one step of the target.
#
# **Write** `speed_up(alpha, ahead, cost)`: the tokens of a round divided by the time it takes, in steps of the target.
# Without a draft this is 1 token a step, so the result says how many times as fast speculation is.
#
# - $0 \le \alpha \le 1$, both ends included; `ahead` is 0 or more; `cost` is 0 or more.
#
# **Example.** `speed_up(0.5, 2, 0.0)` is $1 + 0.5 + 0.25 = 1.75$; with `cost = 0.25` it is $1.75 / 1.5 \approx 1.17$.


# %%
def speed_up(alpha, ahead, cost):
    """How many times as fast as token by token."""
    ### BEGIN SOLUTION
    tokens, chance = 1.0, 1.0
    for _ in range(ahead):
        chance *= alpha
        tokens += chance
    return tokens / (1 + ahead * cost)
    ### END SOLUTION


# %%
check("decoding.speed_up", speed_up)

# %% [markdown]
# ## greedy_speculation
#
# The whole loop, for greedy decoding, where it needs no chance at all: a guess stays exactly if it is the token that
# the target would have written.
#
# **Write** `greedy_speculation(target, draft, prompt, steps, ahead)`.
#
# - `prompt` is a list of one or more tokens (integers). The result is a list: the prompt and the `steps` tokens that
#   the target alone would write after it.
# - `target(tokens)` takes a list and returns a list of the same length: entry `t` is the token it would write after
#   `tokens[0] … tokens[t]`. One call judges all guesses at once. **It is expensive: call it once in a round**, and
#   never for anything else.
# - `draft(tokens)` returns one token: its guess at what follows the list. It is cheap.
# - A round makes `ahead` guesses one after the other (in the last round fewer will do). All guesses up to the first
#   wrong one stay, then comes the target's own token: in place of the wrong guess, or, if all are right, after them.
#
# **Example.** The target counts up, 1 2 3 4 5 6 …, and the draft does too but for 4, after which it guesses 9. From the
# prompt `[1]` with `ahead = 4` the draft guesses 2 3 4 9. The target's one call says 2 3 4 5 6: three guesses stay, and
# 5 replaces the 9. (The 6 is of no use: it followed a wrong token.)


# %%
def greedy_speculation(target, draft, prompt, steps, ahead):
    """The prompt and what the target would write after it, with few calls of the target."""
    ### BEGIN SOLUTION
    tokens, stop = list(prompt), len(prompt) + steps
    while len(tokens) < stop:
        known = len(tokens)
        guessed = list(tokens)
        for _ in range(ahead):
            guessed.append(draft(guessed))
        answers = target(guessed)[known - 1 :]
        for place, answer in enumerate(answers):
            tokens.append(answer)  # right guess or not, this is what the target writes
            if place == ahead or guessed[known + place] != answer:
                break
    return tokens[:stop]
    ### END SOLUTION


# %%
check("decoding.greedy_speculation", greedy_speculation)
