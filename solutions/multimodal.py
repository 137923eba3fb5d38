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
import torch
from torch import nn
from torch.nn import functional as F

from autograder import check
