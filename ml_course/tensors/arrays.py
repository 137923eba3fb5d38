r"""Arrays and their axes: what broadcasting allows, what einsum means, and two products one meets everywhere."""

from __future__ import annotations

from itertools import product, zip_longest

import numpy as np
from jaxtyping import Float, Shaped


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    r"""The shape that arrays of these shapes take together, by NumPy's rule of broadcasting.

    Shapes are aligned at their *right* ends; an axis that is missing counts as 1; on each axis all sizes must be equal,
    except that a 1 is stretched to whatever the others are.
    Raises: ValueError when two sizes on one axis differ and neither is 1.
    Source: harris2020array.

    >>> broadcast_shape((3, 1), (4,))
    (3, 4)
    >>> broadcast_shape((3, 4), (3,))
    Traceback (most recent call last):
    ValueError: shapes (3, 4) and (3,) do not broadcast: sizes 4 and 3 meet on axis -1, and neither is 1
    """
    result: list[int] = []
    for place, sizes in enumerate(zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1), start=1):
        stretched = sorted({size for size in sizes if size != 1}, reverse=True)
        if len(stretched) > 1:
            told = " and ".join(map(str, shapes))
            raise ValueError(
                f"shapes {told} do not broadcast: sizes {stretched[0]} and {stretched[1]} meet on axis {-place}, "
                "and neither is 1"
            )
        result.append(stretched[0] if stretched else 1)
    return tuple(reversed(result))


def einsum_loops(pattern: str, *arrays: Shaped[np.ndarray, " ..."]) -> Shaped[np.ndarray, " ..."]:
    r"""Einstein's summation as nothing but loops, which is what `np.einsum` means: C_kept = Σ_rest A_… · B_… · ….

    Every letter is an index of one size wherever it occurs. Letters behind the arrow stay, all others are summed over.
    Raises: ValueError when the pattern has no arrow, does not fit the arrays, or asks for a letter that is not there.
    Cost: the product of the sizes of *all* letters: read it off the pattern before you run it.

    >>> a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([10.0, 1.0])
    >>> einsum_loops("ij,j->i", a, b)  # a matrix times a vector
    array([12., 34.])
    >>> einsum_loops("ii->", a)  # the trace
    array(5.)
    """
    inputs, arrow, kept = pattern.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow:
        raise ValueError(f"pattern = {pattern!r} has no arrow, expected one as in 'ij,jk->ik'")
    if len(terms) != len(arrays):
        raise ValueError(f"pattern = {pattern!r} describes {len(terms)} arrays, but {len(arrays)} came")
    sizes: dict[str, int] = {}
    for term, array in zip(terms, arrays, strict=True):
        if len(term) != array.ndim:
            raise ValueError(f"{term!r} names {len(term)} axes of an array of shape {array.shape}")
        for letter, size in zip(term, array.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ValueError(f"letter {letter!r} has size {sizes[letter]} in one place and {size} in another")
    if unknown := set(kept) - set(sizes):
        raise ValueError(f"pattern = {pattern!r} keeps {sorted(unknown)}, which no array has")

    result = np.zeros([sizes[letter] for letter in kept], dtype=np.result_type(*arrays))
    for indices in product(*map(range, sizes.values())):
        at = dict(zip(sizes, indices, strict=True))
        factors = [array[tuple(at[letter] for letter in term)] for term, array in zip(terms, arrays, strict=True)]
        result[tuple(at[letter] for letter in kept)] += np.prod(factors)
    return result


def batched_matmul(
    a: Float[np.ndarray, "*batch rows inner"], b: Float[np.ndarray, "*batch inner columns"], *, fused: bool = True
) -> Float[np.ndarray, "*batch rows columns"]:
    r"""One matrix product for each pair of a stack: Cₙᵢₖ = Σⱼ Aₙᵢⱼ Bₙⱼₖ.

    `fused` is NumPy's `@`; without it the sum is spelled out by broadcasting, at the price of an array of all products.
    Cost: batch · rows · inner · columns multiplications.

    >>> batched_matmul(np.ones((2, 1, 3)), np.ones((2, 3, 1)))
    array([[[3.]],
    <BLANKLINE>
           [[3.]]])
    """
    if fused:
        return a @ b
    return (a[..., :, :, None] * b[..., None, :, :]).sum(axis=-2)


def squared_distances(
    a: Float[np.ndarray, "query features"], b: Float[np.ndarray, "key features"], *, fast: bool = False
) -> Float[np.ndarray, "query key"]:
    r"""How far each row of `a` is from each row of `b`, squared: Dᵢⱼ = Σ_f (a_if − b_jf)².

    `fast` multiplies the square out, ‖a‖² + ‖b‖² − 2a·b, so that one matrix product does the work. Where rows are much
    nearer to each other than to the mean of `b`, the large terms cancel and digits are lost.
    Cost: O(query · key · features) time; as much memory, or with `fast` O(query · key).

    >>> squared_distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [1.0, 0.0]]))
    array([[25.,  1.]])
    """
    if not fast:
        return ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=-1)
    middle = b.mean(axis=0)  # distances do not change when everything is shifted, but the terms that cancel shrink
    a, b = a - middle, b - middle
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return squares.clip(min=0)  # rounding may leave a hair less than nothing
