r"""Fast weights: attention without the softmax, as a matrix that is written to and read, one token after another."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def linear_attention(
    queries: Float[Tensor, "*batch time d_head"],
    keys: Float[Tensor, "*batch time d_head"],
    values: Float[Tensor, "*batch time features"],
) -> Float[Tensor, "*batch time features"]:
    r"""Causal attention whose weights are the scores themselves: no softmax, no root, nothing divided.

    ((QKᵀ) ∘ causal) V

    Cost: O(time²·(d_head + features)) time, O(time²) memory. Source: schlag2021linear, section 3.1; normalised, and
    with a feature map on queries and keys, it is katharopoulos2020transformers's.

    >>> one = torch.ones(3, 1)
    >>> linear_attention(one, one, values=torch.tensor([[1.0], [2.0], [3.0]])).T
    tensor([[1., 3., 6.]])
    """
    return (queries @ keys.mT).tril() @ values


def write_and_read(
    queries: Float[Tensor, "*batch time d_head"],
    keys: Float[Tensor, "*batch time d_head"],
    values: Float[Tensor, "*batch time features"],
    memory: Float[Tensor, "*batch features d_head"] | None = None,
) -> tuple[Float[Tensor, "*batch time features"], Float[Tensor, "*batch features d_head"]]:
    r"""At each step writes the pair of key and value into a matrix, then asks the matrix the step's query.

    M_t = M_{t−1} + v_t k_tᵀ,  o_t = M_t q_t

    Returns all answers and the last matrix; `memory` is the first one, zeros when None. The answers are those of
    `linear_attention`, because (v kᵀ) q = v (k · q).

    Cost: O(time·d_head·features) time; the matrix has the same size however long the sequence. Source:
    schmidhuber1992learning, in the words of schlag2021linear; the fast net is linear, without a squashing function.

    >>> keys, values = torch.eye(2), torch.tensor([[5.0], [7.0]])
    >>> answers, matrix = write_and_read(keys.flip(0), keys, values)
    >>> answers.T, matrix  # asked for what was not yet written it answers 0
    (tensor([[0., 5.]]), tensor([[5., 7.]]))
    """
    if memory is None:
        memory = keys.new_zeros(*keys.shape[:-2], values.shape[-1], keys.shape[-1])
    answers = []
    for query, key, value in zip(queries.unbind(-2), keys.unbind(-2), values.unbind(-2), strict=True):
        memory = memory + value[..., :, None] * key[..., None, :]
        answers.append((memory @ query[..., None])[..., 0])
    return torch.stack(answers, dim=-2), memory


class FastWeights(nn.Module):
    r"""A slow network that learns what to write into the weights of a fast one, which change with every token.

    q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t;  M_t = M_{t−1} + v_t k_tᵀ;  o_t = M_t q_t

    The W are the slow weights, learned once; M are the fast ones, computed anew for each sequence.

    d_model   width of a token; d_key   of queries and keys; d_value   of values and outputs, d_key when None
    Cost: as `write_and_read` step by step, as `linear_attention` in parallel.
    Source: schmidhuber1992learning, whose fast net reads the input itself where ours reads a query made from it.

    >>> layer, x = FastWeights(d_model=6, d_key=4), torch.randn(2, 5, 6)
    >>> outputs, memory = layer(x)
    >>> outputs.shape, memory.shape, torch.allclose(layer(x, parallel=True)[0], outputs, atol=1e-5)
    (torch.Size([2, 5, 4]), torch.Size([2, 4, 4]), True)
    """

    def __init__(self, d_model: int, d_key: int, d_value: int | None = None):
        super().__init__()
        d_value = d_key if d_value is None else d_value
        self.query = nn.Linear(d_model, d_key, bias=False)
        self.key = nn.Linear(d_model, d_key, bias=False)
        self.value = nn.Linear(d_model, d_value, bias=False)

    def forward(
        self,
        x: Float[Tensor, "*batch time d_model"],
        memory: Float[Tensor, "*batch features d_head"] | None = None,
        *,
        parallel: bool = False,
    ) -> tuple[Float[Tensor, "*batch time features"], Float[Tensor, "*batch features d_head"]]:
        r"""Outputs, and the fast weights after the last token; `memory` is that of a call before, to go on from there.

        parallel   all steps at once as linear attention, the same to rounding
        """
        queries, keys, values = self.query(x), self.key(x), self.value(x)
        if not parallel:
            return write_and_read(queries, keys, values, memory)
        outputs, written = linear_attention(queries, keys, values), values.mT @ keys
        if memory is None:
            return outputs, written
        return outputs + queries @ memory.mT, memory + written
