r"""A language model of characters: it reads a text once and guesses at every place what comes next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.rnn.elman import RNN
from ml_course.rnn.scan import State, each


class CharLM(nn.Module):
    r"""Embedding, recurrent layer, and a linear layer that gives each next token its logit.

    zₜ = W hₜ + b,  h = RNN(E[x₁], E[x₂], …);  P(xₜ₊₁ | x₁ … xₜ) = softmax(zₜ)

    vocab       number of tokens
    d_model     length of an embedding
    hidden      length of the state
    recurrent   recurrent(features, hidden, layers=…, dropout=…) makes the layer; RNN, or later LSTM and GRU
    layers, dropout   of the recurrent layer; dropout also before the last linear layer

    The parameters of all parts are drawn as torch draws them. Source: mikolov2010recurrent, there with words.

    >>> model = CharLM(vocab=50, d_model=8, hidden=16)
    >>> model(torch.zeros(2, 7, dtype=torch.long)).shape
    torch.Size([2, 7, 50])
    """

    def __init__(
        self,
        vocab: int,
        d_model: int,
        hidden: int,
        *,
        recurrent: Callable[..., nn.Module] = RNN,
        layers: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocab, d_model)
        self.recurrent = recurrent(d_model, hidden, layers=layers, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, vocab)

    def forward(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of what follows each token, for rows that begin here."""
        return self.step(tokens)[0]

    def step(
        self, tokens: Int[Tensor, "batch time"], state: State | None = None
    ) -> tuple[Float[Tensor, "batch time vocab"], State]:
        r"""Logits, and the state to go on from: for texts in pieces, and for `generate(model.step, stateful=True)`."""
        outputs, state = self.recurrent(self.embedding(tokens), state)
        return self.output(self.dropout(outputs)), state


class Window(NamedTuple):
    r"""A piece of each of several streams of text."""

    inputs: Int[Tensor, "batch time"]
    targets: Int[Tensor, "batch time"]  # the inputs, one token later
    first: bool  # the streams begin here: no state is carried in


class Windows:
    r"""Cuts a text into `batch` streams side by side, and these into windows that follow one another.

    Window after window continues the same streams, so that a state may be carried from one to the next: what truncated
    back-propagation through time needs. A rest too short for another token in every stream is left out.

    tokens   the text as numbers
    batch    streams; the text is cut into as many equally long parts
    length   tokens in a window; the last one may be shorter
    Raises: ValueError when a number is below 1 or the text is too short to give each stream two tokens.

    >>> [(w.inputs.tolist(), w.targets.tolist(), w.first) for w in Windows(torch.arange(9), batch=2, length=2)]
    [([[0, 1], [4, 5]], [[1, 2], [5, 6]], True), ([[2], [6]], [[3], [7]], False)]
    """

    def __init__(self, tokens: Int[Tensor, " time"], batch: int, length: int):
        if batch < 1 or length < 1:
            raise ValueError(f"batch = {batch}, length = {length}: expected at least 1")
        if len(tokens) < 2 * batch:
            raise ValueError(f"tokens has {len(tokens)} entries, too few for batch = {batch} streams of two tokens")
        self.length, self.streams = length, tokens[: len(tokens) // batch * batch].reshape(batch, -1)

    def __len__(self) -> int:
        return -(-(self.streams.shape[1] - 1) // self.length)

    def __iter__(self) -> Iterator[Window]:
        last = self.streams.shape[1] - 1
        for start in range(0, last, self.length):
            stop = min(start + self.length, last)
            yield Window(self.streams[:, start:stop], self.streams[:, start + 1 : stop + 1], start == 0)


class CarriedLoss:
    r"""Loss of a model with memory on `Windows`, in nats a token, for `ml_course.training.fit`: truncated BPTT.

    The state at the end of a window is where the next begins, but detached: the gradient goes back through one window
    and no further. Where the streams begin, so does the state. Source: williams1990efficient.

    >>> windows = Windows(torch.arange(40) % 4, batch=2, length=5)
    >>> model, loss_of = CharLM(vocab=4, d_model=3, hidden=5), CarriedLoss()
    >>> [loss_of(model, window).shape for window in windows][-1], loss_of.state.requires_grad
    (torch.Size([]), False)
    """

    def __init__(self) -> None:
        self.state: State | None = None

    def __call__(self, model: CharLM, window: Window) -> Float[Tensor, ""]:
        logits, state = model.step(window.inputs, None if window.first else self.state)
        self.state = each(Tensor.detach, state)
        return F.cross_entropy(logits.flatten(0, 1), window.targets.flatten())


@torch.no_grad()
def nats_per_token(model: CharLM, tokens: Int[Tensor, " time"], length: int = 1000) -> float:
    r"""Mean surprise at each token after the first, in nats; the state is carried from the first to the last.

    −1/(n−1) Σ ln P(xₜ | x₁ … xₜ₋₁)

    length   tokens taken at once; it changes the memory needed, not the result
    Raises: ValueError when there are fewer than two tokens. A model with dropout should be in evaluation mode.
    """
    loss_of, total = CarriedLoss(), 0.0
    for window in Windows(tokens, batch=1, length=length):
        total += loss_of(model, window).item() * window.inputs.numel()
    return total / (len(tokens) - 1)


def bits(nats: float) -> float:
    r"""The same surprise in bits.

    nats / ln 2

    >>> bits(math.log(8))
    3.0
    """
    return nats / math.log(2)


def perplexity(nats: float) -> float:
    r"""Among how many equally likely tokens the model would be as unsure.

    exp(mean nats a token) = 2^(mean bits a token); the mean goes over all tokens of all texts, not over texts.

    Source: jelinek1977perplexity.

    >>> round(perplexity(math.log(8)), 9)
    8.0
    """
    return math.exp(nats)
