# %% [markdown]
# # Homework: transfer learning
#
# You will write what it takes to go on from a model that somebody else has trained: freeze it in part, give each
# part its own pace, thaw it from the top, change it by thin matrices and merge them, and teach a small model what a
# large one knows.
#
# There are six exercises. Plan about two hours. Below each answer stands one line, `check(…)`: run it as often as you
# like. It tells you which parts are right, the first case that fails, and, when it recognises your mistake, what went
# wrong and a hint. Each exercise stands alone: no answer needs an earlier one.
#
# Everywhere: sizes are never fixed, take them from the arguments; results have the dtype of what came in; tensors and
# lists that you are given must come back unchanged. Where the very task is to switch `requires_grad`, the text says so.

# %%
import torch
from torch import nn

from autograder import check

# %% [markdown]
# ## freeze_all_but
#
# A network was trained on one task. For the next one, most of it stays as it is and only a few parts go on learning.
#
# **Write** `freeze_all_but(model, names)`. It switches `requires_grad` of every parameter of the model, in place: True
# for those that `names` tells, False for all others. It returns how many *numbers* learn then, as an `int`.
#
# - `model`: any `nn.Module`; `names`: a list of names, perhaps empty.
# - A name tells a parameter when it is the parameter's whole name (`"head.bias"`), or the whole name of a part that the
#   parameter is in: `"layers.1"` tells `layers.1.first.weight`, but not `layers.10.first.weight`, and `"head"` does not
#   tell `head_of_before.weight`.
# - Whatever was frozen before the call: afterwards exactly the named ones learn. The weights' numbers must not change.
#
# **Example.** For `nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))` and `["2"]` the result is 10: the second
# linear layer has $4 \cdot 2 + 2$ numbers.
#
# <details><summary>A hint</summary>
#
# `model.named_parameters()` gives whole names, with dots between the parts: what is below `layers.1` begins with
# `layers.1.`, dot included. `parameter.numel()` counts the numbers of a tensor.
# </details>


# %%
def freeze_all_but(model, names):
    """Switches requires_grad of every parameter; returns how many numbers learn."""
    ### BEGIN SOLUTION
    count = 0
    for name, parameter in model.named_parameters():
        learns = any(name == kept or name.startswith(kept + ".") for kept in names)
        parameter.requires_grad_(learns)
        if learns:
            count += parameter.numel()
    return count
    ### END SOLUTION


# %%
check("transfer.freeze_all_but", freeze_all_but)

# %% [markdown]
# ## parameter_groups
#
# The lower parts of a network know general things, which should change little; the top is new and has to hurry. So
# every block gets its own learning rate. And weight decay is for matrices: it makes no sense for the scales of norms
# and for biases, which have one axis.
#
# **Write** `parameter_groups(blocks, rate, factor, decay)`: a list of dicts for `torch.optim.AdamW`, each with the keys
# `"params"` (a list of parameters), `"lr"` and `"weight_decay"`.
#
# - `blocks`: a list of `nn.Module`s, from the bottom up. No parameter is in two of them.
# - The topmost block learns with `rate`, each one below with `factor` times the rate of the block above it.
# - Parameters with two axes or more decay with `decay`, those with one axis with 0.
# - Every parameter with `requires_grad` stands in exactly one group; frozen ones stand in none. Frozen blocks count
#   all the same: the rate depends on a block's place among all of them. How many groups you make, and in which order,
#   is up to you.
#
# **Example.** Three blocks, `rate=0.08`, `factor=0.5`: the rates are 0.02, 0.04 and 0.08, from the bottom up.


# %%
def parameter_groups(blocks, rate, factor, decay):
    """Groups for AdamW: rates that fall from the top down, decay for matrices alone."""
    ### BEGIN SOLUTION
    groups = []
    for number, block in enumerate(blocks):
        own = rate * factor ** (len(blocks) - 1 - number)
        for parameter in block.parameters():
            if parameter.requires_grad:
                decayed = decay if parameter.ndim > 1 else 0.0
                groups.append({"params": [parameter], "lr": own, "weight_decay": decayed})
    return groups
    ### END SOLUTION


# %%
check("transfer.parameter_groups", parameter_groups)

# %% [markdown]
# ## thaw
#
# Gradual unfreezing: at first only the topmost block learns, then the two topmost, and so on, until all do.
#
# **Write** `thaw(blocks, step, every)`. It switches `requires_grad` of all parameters of all blocks as it should be in
# this step, and returns how many blocks are open, as an `int`.
#
# - `blocks`: a list of `nn.Module`s, from the bottom up, at least one.
# - `step` counts from 1. In the steps 1 … `every` one block is open, the topmost; in the next `every` steps two; and so
#   on. When all are open, they stay so.
# - Whatever learned before the call: afterwards the open blocks do, and the others do not.
#
# **Example.** With `every=2` and three blocks, the number of open ones in the steps 1 to 7 is 1, 1, 2, 2, 3, 3, 3.


# %%
def thaw(blocks, step, every):
    """Opens as many blocks, from the top, as this step wants; returns their number."""
    ### BEGIN SOLUTION
    opened = min(len(blocks), 1 + (step - 1) // every)
    for number, block in enumerate(blocks):
        block.requires_grad_(number >= len(blocks) - opened)
    return opened
    ### END SOLUTION


# %%
check("transfer.thaw", thaw)

# %% [markdown]
# ## LoraLinear
#
# LoRA leaves a linear layer as it is and learns a *change* of low rank beside it:
#
# $$y = \underbrace{x W^\top + \text{bias}}_{\text{frozen}} + \frac{\alpha}{r}\, x A^\top B^\top$$
#
# **Write** the class `LoraLinear(linear, rank, alpha)`, an `nn.Module`.
#
# - `linear`: an `nn.Linear`, with or without bias, which your layer keeps and **freezes** (its `requires_grad` is False
#   afterwards).
# - Its own parameters are called `a`, of shape `(rank, inputs)`, and `b`, of shape `(outputs, rank)`; both have the
#   dtype of the linear layer's weight and learn. Nothing else learns.
# - At the start `a` is random (no number in it is zero), and `b` is all zeros. So the layer begins as the one it
#   wraps, bit for bit.
# - `forward(x)`: `x` has `inputs` numbers on its last axis and any axes before it.
#
# <details><summary>A hint</summary>
#
# `nn.Parameter(tensor)` makes a tensor that learns. `linear.weight.new_zeros(…)` and `linear.weight.new_empty(…)` make
# tensors of the same dtype; `nn.init.xavier_normal_` fills one with random numbers of a sensible size.
# </details>


# %%
class LoraLinear(nn.Module):
    """A frozen linear layer, and beside it a change of low rank that learns."""

    def __init__(self, linear, rank, alpha):
        ### BEGIN SOLUTION
        super().__init__()
        self.linear = linear.requires_grad_(False)
        outputs, inputs = linear.weight.shape
        self.scale = alpha / rank
        self.a = nn.Parameter(nn.init.xavier_normal_(linear.weight.new_empty(rank, inputs)))
        self.b = nn.Parameter(linear.weight.new_zeros(outputs, rank))
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        return self.linear(x) + self.scale * (x @ self.a.T @ self.b.T)
        ### END SOLUTION


# %%
check("transfer.LoraLinear", LoraLinear)

# %% [markdown]
# ## merge
#
# When all is learned, the change can be added to the weight, and nothing tells the layer from one that was fine-tuned
# as a whole. Several changes, of several ranks, can be added to one weight:
#
# $$W' = W + \sum_k \frac{\alpha_k}{r_k}\, B_k A_k$$
#
# **Write** `merge(weight, changes)`: the new weight, a tensor.
#
# - `weight`: `(outputs, inputs)`; `changes`: a list of tuples `(a, b, alpha)` with `a` of shape `(rank, inputs)` and
#   `b` of shape `(outputs, rank)`. Each has its own rank. The list may be empty.
# - `weight` must come back as it was, and the result is always a tensor of its own: whoever writes into it must not
#   change `weight`.


# %%
def merge(weight, changes):
    """The weight with all changes added; a new tensor."""
    ### BEGIN SOLUTION
    merged = weight.clone()
    for a, b, alpha in changes:
        merged = merged + alpha / a.shape[0] * (b @ a)
    return merged
    ### END SOLUTION


# %%
check("transfer.merge", merge)

# %% [markdown]
# ## distillation_loss
#
# A student model learns from the labels and from its teacher's probabilities, softened by a temperature $T$:
#
# $$\alpha\,\text{CE}(\text{labels}, z_s)
# + (1 - \alpha)\, T^2\, \text{KL}\bigl(p \,\|\, q\bigr), \qquad
# p = \text{softmax}(z_t / T),\; q = \text{softmax}(z_s / T)$$
#
# with $\text{KL}(p \| q) = \sum_k p_k (\log p_k - \log q_k)$. Both parts are means over the texts of the batch.
#
# **Write** `distillation_loss(student, teacher, labels, temperature, alpha)`: a tensor of one number (shape `()`).
#
# - `student`, `teacher`: logits $z_s$ and $z_t$, `(batch, classes)`; `labels`: `(batch,)`, whole numbers.
# - The cross-entropy of the labels is taken without any temperature.
# - Gradients must flow to `student`, and none to `teacher`.
# - Logits may be as large as 1,000 and more.
# - torch's losses are allowed; read what they average over.
#
# <details><summary>A hint</summary>
#
# `torch.log_softmax` never overflows, and its exponential is the softmax. `tensor.detach()` is the same numbers without
# a way back.
# </details>


# %%
def distillation_loss(student, teacher, labels, temperature, alpha):
    """The labels' cross-entropy and the teacher's divergence, weighed."""
    ### BEGIN SOLUTION
    log_p = torch.log_softmax(teacher.detach() / temperature, dim=1)
    log_q = torch.log_softmax(student / temperature, dim=1)
    soft = (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()
    hard = torch.nn.functional.cross_entropy(student, labels)
    return alpha * hard + (1 - alpha) * temperature**2 * soft
    ### END SOLUTION


# %%
check("transfer.distillation_loss", distillation_loss)
