"""The exercise on highway layers: a gate mixes what a layer would make of its input with the input itself."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import GRADIENTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import elmo

highway = Exercise(
    "elmo.highway",
    reference=elmo.highway,
    facets={"values": 3, GRADIENTS: 1},
    difficulty=2,
    minutes=15,
)


@highway.cases
def highway_cases(rng):
    def inputs(*batch, features=4, gate=0.0, dtype=np.float64):
        shapes = dict(
            x=(*batch, features),
            weight=(features, features),
            bias=(features,),
            gate_weight=(features, features),
            gate_bias=(features,),
        )
        made = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        made["gate_bias"] += gate
        return {name: value.astype(dtype) for name, value in made.items()}

    features = int(rng.integers(3, 7))
    yield Case("one vector", **inputs(1, features=features))
    yield Case("several vectors", **inputs(5, features=features))
    yield Case("sentences of words", **inputs(2, 3, features=features))
    yield Case("one feature", **inputs(4, features=1))
    yield Case("gates nearly closed", **inputs(3, gate=-12.0))
    yield Case("gates wide open", **inputs(3, gate=12.0))
    yield Case("float32", **inputs(2, 3, dtype=np.float32))


@highway.probe
def ask_highway(answer, **inputs):
    def call(**tensors):
        return {"y": answer(*tensors.values())}

    return with_gradients(call, **inputs)


@highway.alternative
def by_difference(x, weight, bias, gate_weight, gate_bias):
    new = F.relu(x @ weight.T + bias)
    gate = torch.sigmoid(x @ gate_weight.T + gate_bias)
    return x + gate * (new - x)


@highway.alternative
def both_at_once(x, weight, bias, gate_weight, gate_bias):
    both = F.linear(x, torch.cat([weight, gate_weight]), torch.cat([bias, gate_bias]))
    new, gate = both.chunk(2, dim=-1)
    t = 1 / (1 + torch.exp(-gate))
    return t * new.clamp(min=0) + (1 - t) * x


@highway.alternative
def by_lerp(x, weight, bias, gate_weight, gate_bias):
    new = torch.relu(torch.einsum("...i,oi->...o", x, weight) + bias)
    return torch.lerp(x, new, torch.sigmoid(torch.einsum("...i,oi->...o", x, gate_weight) + gate_bias))


highway.slip(
    "gate the wrong way round",
    both_at_once,
    "t * new.clamp(min=0) + (1 - t) * x",
    "(1 - t) * new.clamp(min=0) + t * x",
    cause="The gate carries where it should change: t and 1 − t are swapped.",
    hint="With t = 0 a highway layer returns x unchanged.",
)
highway.slip(
    "no ReLU",
    by_difference,
    "F.relu(x @ weight.T + bias)",
    "x @ weight.T + bias",
    cause="The ReLU is missing.",
    hint="Let the gates be open: what is left of a negative sum?",
)
highway.slip(
    "no sigmoid",
    by_difference,
    "torch.sigmoid(x @ gate_weight.T + gate_bias)",
    "x @ gate_weight.T + gate_bias",
    cause="The gate is not between 0 and 1: its sigmoid is missing.",
    hint="A mixture of two things has shares that sum to one and are not negative.",
)
highway.slip(
    "a residual connection",
    both_at_once,
    "(1 - t) * x",
    "x",
    cause="x is added in full: that is a residual connection. A highway takes away as much of x as it puts in anew.",
    hint="What should be left of x where the gate is 1?",
)
highway.slip(
    "x not carried",
    both_at_once,
    "t * new.clamp(min=0) + (1 - t) * x",
    "t * new.clamp(min=0)",
    cause="The second half of the mixture is missing: where the gate is closed nothing comes through.",
    hint="With closed gates y should be x, not 0.",
)
highway.slip(
    "ReLU of the mixture",
    by_difference,
    "return x + gate * (new - x)",
    "return F.relu(x + gate * (x @ weight.T + bias - x))",
    cause="The ReLU comes after the mixing, so that negative numbers of x are lost on the way.",
    hint="With closed gates y should be x, also where x is negative.",
)
highway.slip(
    "weights not transposed",
    by_difference,
    "F.relu(x @ weight.T + bias)",
    "F.relu(x @ weight + bias)",
    cause="The weights are (out, in), as in torch.nn.Linear; they are applied here without transposing.",
    hint="Both shapes fit, since the matrix is square. Compare with F.linear.",
)


@highway.mistake(hint="x *= 1 - t writes into the caller's x, and torch still needs it. y = … makes a new tensor.")
def written_into_the_input(x, weight, bias, gate_weight, gate_bias):
    """The numbers are right, but they are written over x: the caller's vectors are gone, and so are the gradients."""
    new = F.relu(F.linear(x, weight, bias))
    gate = torch.sigmoid(F.linear(x, gate_weight, gate_bias))
    x *= 1 - gate
    x += gate * new
    return x
