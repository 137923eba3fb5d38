"""The exercise on one step of Adam."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import backprop


def step_of_the_library(
    parameter, gradient, mean, square, step, learning_rate, beta1, beta2, epsilon=1e-8, weight_decay=0.0
):
    """The library's AdamW in the middle of its work, with the answer's signature."""
    tensor = backprop.Tensor(parameter.copy(), requires_grad=True)
    tensor.grad = gradient
    optimiser = backprop.AdamW([tensor], learning_rate, (beta1, beta2), epsilon, weight_decay)
    optimiser.memories[0].update(steps=step - 1, mean=mean, square=square)
    optimiser.step()
    return tensor.data, optimiser.memories[0]["mean"], optimiser.memories[0]["square"]


adam_step = Exercise(
    "backprop.adam_step",
    difficulty=2,
    minutes=20,
    reference=step_of_the_library,
    facets={"values": 2, "weight decay": 1, "no side effects": 1},
    forbidden=("Adam", "AdamW", "adam", "adamw", "step"),
)


@adam_step.cases
def adam_step_cases(rng):
    def inputs(step, shape=(3,), epsilon=1e-8, weight_decay=0.0):
        first = step == 1
        return {
            "parameter": rng.normal(size=shape),
            "gradient": rng.normal(size=shape),
            "mean": np.zeros(shape) if first else 0.3 * rng.normal(size=shape),
            "square": np.zeros(shape) if first else rng.uniform(0.1, 1, size=shape),
            "step": step,
            "learning_rate": float(rng.uniform(0.05, 0.5)),
            "beta1": float(rng.uniform(0.7, 0.95)),
            "beta2": float(rng.uniform(0.96, 0.999)),
            "epsilon": epsilon,
            "weight_decay": weight_decay,
        }

    yield Case("the first step", **inputs(1))
    yield Case("the second step", **inputs(2, shape=(2, 3)))
    yield Case("a later step", **inputs(int(rng.integers(5, 50))))
    yield Case("epsilon of some size", **inputs(3, epsilon=0.5))
    still = inputs(1)
    still["gradient"][1] = 0.0
    yield Case("a gradient of zero in the first step", **still)
    yield Case("weight decay", "weight decay", **inputs(4, weight_decay=0.5))
    yield Case("weight decay in the first step", "weight decay", **inputs(1, weight_decay=0.1))


@adam_step.probe
def adam_step_probe(
    answer, parameter, gradient, mean, square, step, learning_rate, beta1, beta2, epsilon, weight_decay
):
    new, new_mean, new_square = answer(
        parameter, gradient, mean, square, step, learning_rate, beta1, beta2, epsilon, weight_decay
    )
    return {"parameter": new, "mean": new_mean, "square": new_square}


@adam_step.alternative
def corrections_in_the_learning_rate(
    parameter, gradient, mean, square, step, learning_rate, beta1, beta2, epsilon=1e-8, weight_decay=0.0
):
    mean = mean + (1 - beta1) * (gradient - mean)
    square = square + (1 - beta2) * (np.square(gradient) - square)
    rate = learning_rate / (1 - beta1**step)
    size = np.sqrt(square) / np.sqrt(1 - beta2**step) + epsilon
    return parameter - rate * mean / size - learning_rate * weight_decay * parameter, mean, square


@adam_step.alternative
def number_by_number(
    parameter, gradient, mean, square, step, learning_rate, beta1, beta2, epsilon=1e-8, weight_decay=0.0
):
    new, new_mean, new_square = parameter.copy(), mean.copy(), square.copy()
    for place in np.ndindex(parameter.shape):
        g = gradient[place]
        m = new_mean[place] = beta1 * mean[place] + (1 - beta1) * g
        s = new_square[place] = beta2 * square[place] + (1 - beta2) * g * g
        new[place] *= 1 - learning_rate * weight_decay
        new[place] -= learning_rate * (m / (1 - beta1**step)) / ((s / (1 - beta2**step)) ** 0.5 + epsilon)
    return new, new_mean, new_square


def right_step(parameter, gradient, mean, square, step, learning_rate, beta1, beta2, epsilon=1e-8, weight_decay=0.0):
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient**2
    fair_mean = mean / (1 - beta1**step)
    fair_square = square / (1 - beta2**step)
    shrunk = parameter * (1 - learning_rate * weight_decay)
    return shrunk - learning_rate * fair_mean / (np.sqrt(fair_square) + epsilon), mean, square


adam_step.slip(
    "no bias correction",
    right_step,
    "    fair_mean = mean / (1 - beta1**step)\n    fair_square = square / (1 - beta2**step)\n",
    "    fair_mean, fair_square = mean, square\n",
    cause="The averages are used as they are, though they began at zero and are too small at first.",
    hint="In the first step with β₁ = 0.9 the mean is a tenth of the gradient. Is that a fair average of one gradient?",
)
adam_step.slip(
    "steps counted from 0",
    right_step,
    "    fair_mean = mean / (1 - beta1**step)\n    fair_square = square / (1 - beta2**step)\n",
    "    step -= 1\n    fair_mean = mean / (1 - beta1**step)\n    fair_square = square / (1 - beta2**step)\n",
    cause="The correction is that of the step before: the first step has the number 1.",
    hint="After one step the mean is (1 − β₁)·g. By what must it be divided to give g?",
)
adam_step.slip(
    "epsilon inside the root",
    right_step,
    "(np.sqrt(fair_square) + epsilon)",
    "np.sqrt(fair_square + epsilon)",
    cause="ε is added under the root; in Adam it is added to the root.",
    hint="Let the gradients be zero: by what should the step be divided, ε or √ε?",
)
adam_step.slip(
    "the square is not squared",
    right_step,
    "(1 - beta2) * gradient**2",
    "(1 - beta2) * np.abs(gradient)",
    cause="The second average collects |g| instead of g².",
    hint="Its root is taken later: whose units should it have then?",
)
adam_step.slip(
    "betas exchanged",
    right_step,
    "    mean = beta1 * mean + (1 - beta1) * gradient\n    square = beta2 * square + (1 - beta2) * gradient**2\n",
    "    mean = beta2 * mean + (1 - beta2) * gradient\n    square = beta1 * square + (1 - beta1) * gradient**2\n",
    cause="β₁ and β₂ are exchanged in the averages.",
    hint="Which of the two averages should remember longer, and which β is nearer to 1?",
)
adam_step.slip(
    "uphill",
    right_step,
    "shrunk - learning_rate",
    "shrunk + learning_rate",
    cause="The step goes along the gradient, uphill.",
    hint="Minimise f(x) = x² from x = 1 with your function.",
)
adam_step.slip(
    "corrected averages are remembered",
    right_step,
    "epsilon), mean, square",
    "epsilon), fair_mean, fair_square",
    cause="The corrected averages are returned, so the next step corrects them again.",
    hint="The correction belongs to this step only. What should the next one start from?",
)
adam_step.slip(
    "decay inside the gradient",
    right_step,
    "    mean = beta1",
    "    gradient = gradient + weight_decay * parameter\n    weight_decay = 0\n    mean = beta1",
    cause="This is L2 regularisation: the decay goes through the averages and is rescaled with the gradient.",
    hint="Decoupled means: the weights shrink by ηλθ, whatever the gradients are.",
)
adam_step.slip(
    "decay without the learning rate",
    right_step,
    "(1 - learning_rate * weight_decay)",
    "(1 - weight_decay)",
    cause="The weights shrink by λθ in each step; the learning rate is forgotten.",
    hint="When the learning rate is 0, should anything move?",
)
adam_step.slip(
    "the averages are overwritten",
    right_step,
    "    mean = beta1 * mean + (1 - beta1) * gradient\n",
    "    mean *= beta1\n    mean += (1 - beta1) * gradient\n",
    cause="`*=` and `+=` write into the arrays that were passed in.",
    hint="Print the mean you passed in after your function has returned.",
)
