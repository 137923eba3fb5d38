"""Figures that read well on dark and light pages, in colours the colour-blind can tell apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.typing import ColorType
from matplotlib_inline.config import InlineBackend
from numpy.typing import ArrayLike

# The palette of Okabe and Ito: eight colours told apart with any common form of colour blindness.
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
RED, SKY, YELLOW, BLACK = "#D55E00", "#56B4E9", "#F0E442", "#000000"
COLOURS = (BLUE, ORANGE, GREEN, RED, PINK, SKY, BLACK, YELLOW)
MARKERS = "osD^vPX*"  # a second sign beside the colour, for grey print

# Shades that no colour map has by chance: on a dark page the book exchanges these and the palette, and no others.
CARD, INK, GRID, PALE, GREY = "#FFFFFE", "#222223", "#D8D9DA", "#CCCCCD", "#767677"
PRINT = "#010101"  # for words on a patch of colour, which is light on either page: never exchanged
WEIGHTS = LinearSegmentedColormap.from_list("weights", ["#FFFFFF", SKY, BLUE, "#00304F"])  # from nothing to much
SIGNED = LinearSegmentedColormap.from_list("signed", [RED, "#FFFFFF", BLUE])  # negative, zero, positive


def use_style() -> None:
    """Sets matplotlib's defaults: an opaque card, the palette, text of 11 points; in a notebook figures become SVG.

    >>> use_style()
    >>> plt.rcParams["axes.prop_cycle"].by_key()["color"][0] == BLUE
    True
    """
    plt.rcParams.update(
        {
            "figure.facecolor": CARD,
            "savefig.facecolor": CARD,
            "axes.facecolor": CARD,
            "figure.figsize": (6.4, 3.8),
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.7,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "axes.prop_cycle": plt.cycler(color=COLOURS),
            "svg.fonttype": "none",  # text stays text
            "svg.hashsalt": "ml_course",  # the same figure, the same bytes
        }
    )
    shell = get_ipython()
    if hasattr(shell, "kernel"):
        inline = InlineBackend.instance(parent=shell)
        inline.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Date": None}}
        inline.figure_formats = {"svg"}


def decision_boundary(
    axes: Axes | None,
    decide: Callable[[np.ndarray], np.ndarray],
    points: ArrayLike,
    labels: ArrayLike,
    *,
    names: Mapping | None = None,
    resolution: int = 200,
    margin: float = 0.15,
) -> Axes:
    r"""Colours the plane by the class that `decide` gives each point, and draws the labelled `points` on it.

    decide   a function of an array (samples, 2) that returns one label per row
    points   (samples, 2); labels   (samples,); names   what the legend calls each label
    """
    axes = _axes(axes)
    points, labels = np.asarray(points, dtype=float), np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points has shape {points.shape}, expected (samples, 2)")
    low, high = points.min(axis=0), points.max(axis=0)
    space = margin * np.maximum(high - low, 1e-9)
    across, up = (np.linspace(start, stop, resolution) for start, stop in zip(low - space, high + space, strict=True))
    plane = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    decided = np.asarray(decide(plane)).reshape(resolution, resolution)

    classes = np.unique(np.concatenate([labels.ravel(), decided.ravel()]))
    number = np.searchsorted(classes, decided)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(classes))]
    axes.pcolormesh(
        across,
        up,
        number,
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=len(classes) - 0.5,
        alpha=0.22,
        linewidth=0,
        rasterized=True,
    )
    for i in range(len(classes) - 1):
        axes.contour(across, up, (number > i).astype(float), levels=[0.5], colors=INK, linewidths=1.2)
    for i, label in enumerate(classes):
        chosen = labels == label
        if chosen.any():
            name = (names or {}).get(label, label)
            axes.scatter(
                *points[chosen].T,
                c=colours[i],
                marker=MARKERS[i % len(MARKERS)],
                edgecolors=INK,
                linewidths=0.6,
                s=34,
                label=str(name),
            )
    axes.set(xlim=across[[0, -1]], ylim=up[[0, -1]])
    axes.grid(False)
    return axes


def heat_map(
    axes: Axes | None,
    matrix: ArrayLike,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    *,
    title: str = "",
    numbers: bool | str | None = None,
    limits: tuple[float, float] | None = None,
    signed: bool = False,
) -> Axes:
    r"""Draws a matrix as coloured squares with its numbers written in; row names left, column names above.

    numbers  True, False, or a format such as ".1f"; None writes them while the matrix is small
    limits   values of the palest and darkest colour; from zero to the largest when None
    signed   white at zero, blue above, red below
    """
    axes = _axes(axes)
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2:
        raise ValueError(f"matrix has shape {matrix.shape}, expected two axes: rows and columns")
    for name, words, size in (("rows", rows, matrix.shape[0]), ("columns", columns, matrix.shape[1])):
        if len(words) not in (0, size):
            raise ValueError(f"{name} has {len(words)} names, expected {size}")
    finite = matrix[np.isfinite(matrix)]
    if limits is None:
        most = float(np.abs(finite).max(initial=0)) or 1.0
        limits = (-most if signed or finite.min(initial=0) < 0 else 0.0, most)
    image = axes.imshow(matrix, cmap=SIGNED if signed else WEIGHTS, vmin=limits[0], vmax=limits[1], aspect="auto")
    slanted = len(columns) * max(map(len, columns), default=0) > 30  # else neighbours would overlap
    axes.set_xticks(range(len(columns)), columns, rotation=40 if slanted else 0, ha="left" if slanted else "center")
    axes.set_yticks(range(len(rows)), rows)
    axes.xaxis.set_ticks_position("top")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(False)
    if title:
        axes.set_title(title)
    if numbers is None:
        numbers = matrix.size <= 64
    if numbers:
        form = numbers if isinstance(numbers, str) else ".2f"
        for (row, column), value in np.ndenumerate(matrix):
            text = format(value, form) if np.isfinite(value) else ("−∞" if value < 0 else "·")
            dark = np.isfinite(value) and _luminance(image.cmap(image.norm(value))) < 0.18
            ink = ("#FFFFFF" if dark else PRINT) if np.isfinite(value) else INK  # no number, no colour: the card's ink
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=10)
    return axes


def learning_curve(
    axes: Axes | None,
    curves: Mapping[str, ArrayLike],
    *,
    steps: ArrayLike | None = None,
    xlabel: str = "step",
    ylabel: str = "loss",
    log: bool = False,
) -> Axes:
    r"""Draws one line per name: the median over seeds, with a band from the lowest to the highest seed.

    curves   name → array (seeds, steps), or (steps,) for a single run
    steps    where on the horizontal axis the values stand; 0, 1, 2 … when None
    """
    axes = _axes(axes)
    for i, (name, values) in enumerate(curves.items()):
        runs = np.atleast_2d(np.asarray(values, dtype=float))
        where = np.arange(runs.shape[1]) if steps is None else np.asarray(steps)
        if len(where) != runs.shape[1]:
            raise ValueError(f"steps has {len(where)} entries, but curve {name!r} has {runs.shape[1]} values")
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(
            where,
            np.median(runs, axis=0),
            color=colour,
            label=name,
            marker=MARKERS[i % len(MARKERS)],
            markevery=max(1, len(where) // 8),
            markersize=5,
        )
        if len(runs) > 1:
            axes.fill_between(where, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        axes.set_yscale("log")
    if len(curves) > 1:
        axes.legend()
    return axes


def play(draw: Callable[..., object], **ranges: tuple | list) -> None:
    r"""Shows what `draw(axes, **values)` draws, with a slider or a menu for each value; in a notebook.

    ranges   for each value (low, high) or (low, high, step), a slider that starts in the middle; or a list of choices.
             Whole numbers have step 1, others a fiftieth of the way when no step is given.

    Where ipywidgets is not installed, or no notebook listens, draws the middle state alone and says so.
    Raises: ValueError when a range is neither a list of choices nor two or three growing numbers; whatever `draw`
    raises in the middle state, before anything is shown.

    >>> play(lambda axes, slope: axes.plot([0, 1], [0, slope]))
    Traceback (most recent call last):
    ValueError: ranges is empty: give each value that draw takes a range, as in play(draw, speed=(0, 10))
    """
    if not ranges:
        raise ValueError("ranges is empty: give each value that draw takes a range, as in play(draw, speed=(0, 10))")
    middle = {}
    for name, extent in ranges.items():
        choices = _choices(name, extent)
        middle[name] = choices[len(choices) // 2]
    # What goes wrong inside a widget is easily overseen, so the first state is tried outside of it.
    draw(Figure().add_subplot(), **middle)

    def show(**values: object) -> None:
        draw(plt.subplots()[1], **values)
        plt.show()

    try:
        import ipywidgets
        from IPython.display import display
    except ImportError:
        print("Here is one state; `pip install ipywidgets` gives sliders.")
        return show(**middle)
    if not hasattr(get_ipython(), "kernel"):
        print("Here is one state; in a notebook with ipywidgets (`pip install ipywidgets`) there are sliders.")
        return show(**middle)

    def control(name: str, extent: tuple | list) -> ipywidgets.Widget:
        words, choices = name.replace("_", " "), _choices(name, extent)
        if isinstance(extent, list):
            return ipywidgets.Dropdown(
                options=[(str(one), one) for one in choices], value=middle[name], description=words
            )
        slider = ipywidgets.FloatSlider if isinstance(choices[0], float) else ipywidgets.IntSlider
        return slider(middle[name], min=choices[0], max=choices[-1], step=choices[1] - choices[0], description=words)

    display(ipywidgets.interactive(show, **{name: control(name, extent) for name, extent in ranges.items()}))


def live(figure: str, **data: object) -> HTML:
    r"""What stands in a page for a figure the reader can touch: its name and its numbers; the page's script draws it.

    figure   the name of a script in book/_static/live
    data     numbers, texts, arrays, tensors, and lists and dictionaries of them; six digits are kept of each number

    >>> '"weights": [0.333333, 1.0]' in live("perceptron", weights=np.array([1 / 3, 1])).data
    True
    """
    numbers = json.dumps(_plain(data), ensure_ascii=False).replace("<", "\\u003c")
    told = "Here, in the book's page and where scripts run, is a figure to touch; the text above names a still one."
    return HTML(
        f'<div class="live" data-figure="{figure}"><p class="live-waiting">{told}</p>'
        f'<script type="application/json">{numbers}</script></div>'
    )


def _plain(value: object) -> object:
    """As JSON knows it."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _choices(name: str, extent: tuple | list) -> list:
    """Every value that a range stands for, in its order."""
    if isinstance(extent, list) and extent:
        return extent
    numbers = isinstance(extent, tuple) and len(extent) in (2, 3) and all(isinstance(end, Real) for end in extent)
    if not numbers or not extent[0] < extent[1] or (len(extent) == 3 and not 0 < extent[2] <= extent[1] - extent[0]):
        raise ValueError(f"{name} = {extent!r}: expected (low, high), (low, high, step) or a list of choices")
    low, high = extent[:2]
    if all(isinstance(end, Integral) for end in extent):
        return list(range(low, high + 1, extent[2] if len(extent) == 3 else 1))
    step = extent[2] if len(extent) == 3 else (high - low) / 50
    return [float(low + step * i) for i in range(int((high - low) / step + 1e-9) + 1)]


def _axes(axes: Axes | None) -> Axes:
    """The given axes, or new ones."""
    return plt.subplots()[1] if axes is None else axes


def _luminance(colour: ColorType) -> float:
    """Relative luminance, 0 for black to 1 for white, as the contrast rules of the web define it."""
    parts = np.array(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
