r"""GPT: nothing but the decoder-only language model of an earlier chapter, larger each time."""

from __future__ import annotations

from torch import nn

from ml_course.transformer import LMConfig, TransformerLM

# Published sizes; the numbers of parameters are those of `TransformerLM`, and tests count them on the meta device.
GPT = LMConfig(40_478, d_model=768, heads=12, d_ff=3072, layers=12, context=512, dropout=0.1)  # post-norm in 2018
GPT2_SMALL = LMConfig(50_257, d_model=768, heads=12, d_ff=3072, layers=12, context=1024, dropout=0.1)  # 124,439,808
GPT2_XL = LMConfig(50_257, d_model=1600, heads=25, d_ff=6400, layers=48, context=1024, dropout=0.1)  # 1,557,611,200
GPT3 = LMConfig(50_257, d_model=12_288, heads=96, d_ff=49_152, layers=96, context=2048)  # 174,604,259,328


def parameter_count(config: LMConfig) -> int:
    r"""How many numbers are learned, by formula: (vocab + context) d + layers (4d² + 2 d f + 9d + f) + 2d.

    With f = 4d a layer has 12d² + 13d. Positions are learned, the output is the embedding's own table.

    >>> parameter_count(GPT2_SMALL), parameter_count(GPT3)
    (124439808, 174604259328)
    """
    d, f = config.d_model, config.d_ff
    return (config.vocab + config.context) * d + config.layers * (4 * d * d + 2 * d * f + 9 * d + f) + 2 * d


def without_embeddings(model: TransformerLM) -> int:
    r"""The parameters that scaling laws count: all but the tables of tokens and positions.

    Source: kaplan2020scaling, section 2.1.

    >>> model = TransformerLM(LMConfig(vocab=30, d_model=8, heads=2, d_ff=32, layers=3))
    >>> without_embeddings(model) == 3 * (12 * 8**2 + 13 * 8) + 2 * 8
    True
    """
    tables = (table for table in model.embedding.parameters())
    return count(model) - sum(table.numel() for table in tables)


def count(model: nn.Module) -> int:
    r"""How many numbers a model learns; a matrix that is used twice counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
