r"""Four ways to put a recurrent network between what comes in and what goes out: one or many on either side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ml_course.rnn.elman import RNN, RNNCell
from ml_course.rnn.scan import real_steps


class OneToOne(nn.Module):
    r"""One input, one answer: a single step from a state of zeros, which is an ordinary layer with one hidden layer.

    y = W tanh(W_ih x + b_ih + b_hh) + b;  W_hh meets only zeros and never learns anything

    >>> OneToOne(features=64, hidden=32, classes=10)(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """

    def __init__(self, features: int, hidden: int, classes: int):
        super().__init__()
        self.cell = RNNCell(features, hidden)
        self.output = nn.Linear(hidden, classes)

    def forward(self, inputs: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        return self.output(self.cell(inputs))


class OneToMany(nn.Module):
    r"""One input, many answers: the input becomes the first state, and a language model goes on from there.

    h₀ = tanh(W x + b);  hₜ = RNN(E[yₜ₋₁], hₜ₋₁);  P(yₜ | y₁ … yₜ₋₁, x) = softmax(W′ hₜ + b′)

    features   length of the input, as the pixels of a picture
    vocab      number of tokens
    d_model    length of a token's embedding

    >>> model = OneToMany(features=64, vocab=20, d_model=8, hidden=16)
    >>> model(torch.zeros(5, 64), torch.zeros(5, 3, dtype=torch.long)).shape
    torch.Size([5, 3, 20])
    """

    def __init__(self, features: int, vocab: int, d_model: int, hidden: int):
        super().__init__()
        self.start = nn.Linear(features, hidden)
        self.embedding = nn.Embedding(vocab, d_model)
        self.recurrent = RNN(d_model, hidden)
        self.output = nn.Linear(hidden, vocab)

    def forward(
        self, inputs: Float[Tensor, "batch features"], tokens: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of what follows each of the tokens said so far; the first one is a begin mark."""
        start = torch.tanh(self.start(inputs))[None]
        return self.output(self.recurrent(self.embedding(tokens), start)[0])


class ManyToOne(nn.Module):
    r"""Many inputs, one answer: read to the end, then decide from the last state.

    y = W h_time + b,  h = RNN(E[x₁], E[x₂], …)

    recurrent   recurrent(features, hidden) makes the layer; RNN, or later LSTM and GRU

    >>> model = ManyToOne(vocab=20, d_model=8, hidden=16, classes=2)
    >>> model(torch.zeros(5, 3, dtype=torch.long), torch.tensor([3, 2, 1, 3, 3])).shape
    torch.Size([5, 2])
    """

    def __init__(
        self, vocab: int, d_model: int, hidden: int, classes: int, *, recurrent: Callable[..., nn.Module] = RNN
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocab, d_model)
        self.recurrent = recurrent(d_model, hidden)
        self.output = nn.Linear(hidden, classes)

    def forward(
        self, tokens: Int[Tensor, "batch time"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        r"""Logits of each row; what stands beyond its length has no say.

        Raises: ValueError when a length is not in 1 … time.
        """
        answers = self.after_each_prefix(tokens, lengths)
        if lengths is None:
            return answers[:, -1]
        if len(lengths) and lengths.min() < 1:
            raise ValueError(
                f"lengths has {lengths.tolist()}, expected at least 1: nothing read, nothing to decide from"
            )
        return answers[torch.arange(len(tokens), device=tokens.device), lengths - 1]

    def after_each_prefix(
        self, tokens: Int[Tensor, "batch time"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch time classes"]:
        r"""What it would answer if the text ended at each of its tokens."""
        return self.output(self.recurrent(self.embedding(tokens), None, lengths)[0])


class ManyToMany(nn.Module):
    r"""Many inputs, an answer at each: as the next value of a series, when each one has come.

    yₜ = W hₜ + b

    >>> ManyToMany(features=1, hidden=16, outputs=1)(torch.zeros(5, 30, 1)).shape
    torch.Size([5, 30, 1])
    """

    def __init__(self, features: int, hidden: int, outputs: int, *, recurrent: Callable[..., nn.Module] = RNN):
        super().__init__()
        self.recurrent = recurrent(features, hidden)
        self.output = nn.Linear(hidden, outputs)

    def forward(
        self, inputs: Float[Tensor, "batch time features"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch time outputs"]:
        r"""An answer for each time; those beyond a row's length are of no meaning and zero."""
        answers = self.output(self.recurrent(inputs, None, lengths)[0])
        if lengths is None:
            return answers
        return answers.masked_fill(~real_steps(lengths, inputs.shape[1])[..., None], 0)
