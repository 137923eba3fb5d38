"""Figures say what they were given: colours, names, numbers, spreads."""

import sys
from types import SimpleNamespace

import IPython
import IPython.display
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from nbclient import NotebookClient

from ml_course import plots


@pytest.fixture(autouse=True)
def clean_figures():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def luminance(colour: str) -> float:
    """Relative luminance as the web's contrast rules define it, from the hexadecimal name."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_cards_are_opaque_and_text_stands_out():
    assert plt.rcParams["figure.facecolor"] == plt.rcParams["savefig.facecolor"] == plots.CARD
    assert (luminance(plots.CARD) + 0.05) / (luminance(plots.INK) + 0.05) >= 7
    assert plt.rcParams["font.size"] >= 10


def test_decision_boundary_colours_the_plane_by_class():
    points, labels = np.array([[-1.0, 0.0], [1.0, 0.0], [2.0, 1.0]]), np.array([-1.0, 1.0, 1.0])
    axes = plots.decision_boundary(None, lambda plane: np.sign(plane[:, 0]), points, labels, names={1: "yes"})
    mesh = axes.collections[0].get_array().reshape(200, 200)
    assert mesh[0, 0] != mesh[0, -1]
    _, names = axes.get_legend_handles_labels()
    assert names == ["-1.0", "yes"]
    with pytest.raises(ValueError, match=r"points has shape \(3,\)"):
        plots.decision_boundary(None, np.sign, points[:, 0], labels)


def test_heat_map_writes_numbers_and_names():
    axes = plots.heat_map(None, [[0.25, 0.75], [1.0, -np.inf]], ["a", "b"], ["c", "d"])
    assert [text.get_text() for text in axes.texts] == ["0.25", "0.75", "1.00", "−∞"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["c", "d"]
    assert not plots.heat_map(None, np.zeros((20, 20))).texts
    with pytest.raises(ValueError, match="rows has 1 names, expected 2"):
        plots.heat_map(None, np.eye(2), rows=["a"])
    with pytest.raises(ValueError, match="two axes"):
        plots.heat_map(None, np.ones(3))


def test_heat_map_text_is_legible_on_every_shade():
    axes = plots.heat_map(None, np.linspace(0, 1, 8)[None])
    image = axes.images[0]
    for text, value in zip(axes.texts, np.linspace(0, 1, 8), strict=True):
        ground = luminance(to_hex(image.cmap(image.norm(value))))
        ink = luminance(to_hex(text.get_color()))
        assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) >= 4.5


def test_learning_curve_shows_median_and_the_whole_spread():
    runs = np.array([[3.0, 1.0], [5.0, 2.0], [4.0, 9.0]])
    axes = plots.learning_curve(None, {"three seeds": runs, "one run": [1.0, 1.0]}, log=True)
    assert axes.lines[0].get_ydata().tolist() == [4.0, 2.0]
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == 1.0 and band.max() == 9.0
    assert len(axes.collections) == 1 and axes.get_yscale() == "log"
    with pytest.raises(ValueError, match="steps has 3 entries"):
        plots.learning_curve(None, {"a": runs}, steps=[1, 2, 3])


# Sliders: with a notebook, without one, and when something is wrong.


def line(states):
    """A drawing that remembers the states it drew."""

    def draw(axes, slope, sign="+"):
        states.append((slope, sign))
        axes.plot([0, 1], [0, float(sign + "1") * slope])

    return draw


@pytest.fixture
def quiet_show(monkeypatch):
    """Without a window, `plt.show` would only warn."""
    monkeypatch.setattr(plt, "show", lambda: None)


@pytest.mark.usefixtures("quiet_show")
def test_play_without_a_notebook_draws_the_middle_and_says_how_to_get_sliders(capsys):
    states = []
    plots.play(line(states), slope=(0, 10), sign=["-", "+"])
    assert set(states) == {(5, "+")} and len(plt.get_fignums()) == 1
    assert plt.gca().lines[0].get_ydata().tolist() == [0.0, 5.0]
    said = capsys.readouterr().out
    assert "pip install ipywidgets" in said and said.count("\n") == 1


@pytest.mark.usefixtures("quiet_show")
def test_play_without_ipywidgets_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # what `import` makes an ImportError of
    states = []
    plots.play(line(states), slope=(0.0, 1.0, 0.25))
    assert set(states) == {(0.5, "+")}
    assert capsys.readouterr().out == "Here is one state; `pip install ipywidgets` gives sliders.\n"


@pytest.mark.usefixtures("quiet_show")
def test_play_in_a_notebook_draws_again_when_a_slider_moves(monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "get_ipython", lambda: SimpleNamespace(kernel=True))
    monkeypatch.setattr(IPython.display, "display", shown.append)
    states = []
    plots.play(line(states), slope=(-1.0, 1.0), sign=["-", "+"])
    slope, sign, _ = shown[0].children
    assert (slope.min, slope.value, slope.max) == (-1.0, 0.0, 1.0) and sign.value == "+"
    assert (slope.description, sign.description) == ("slope", "sign")
    slope.value = 0.5
    sign.value = "-"
    assert states[-2:] == [(0.5, "+"), (0.5, "-")]


def test_play_in_a_real_kernel_sends_a_slider_and_a_picture():
    """What JupyterLab sees: a cell that runs without an error and shows a widget."""
    play = "plots.play(lambda axes, slope: axes.plot([0, 1], [0, slope]), slope=(0, 4))"
    source = f"from ml_course import plots\nplots.use_style()\n{play}"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert "application/vnd.jupyter.widget-view+json" in output.data
    kept = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    assert [one["state"]["value"] for one in kept if one["model_name"] == "IntSliderModel"] == [2]
    (pictures,) = [one["state"]["outputs"] for one in kept if one["model_name"] == "OutputModel"]
    assert "image/svg+xml" in pictures[0]["data"]


def test_play_raises_what_draw_raises(monkeypatch):
    """Inside a widget an error is easily overseen."""
    monkeypatch.setattr(plots, "get_ipython", lambda: SimpleNamespace(kernel=True))
    with pytest.raises(ZeroDivisionError):
        plots.play(lambda axes, slope: axes.plot([1 / slope]), slope=(-1, 1))


@pytest.mark.parametrize("extent", [(1,), (2, 1), (0, 1, 0), (0, 1, 5), (0, 1, 2, 3), [], ("a", "b")])
def test_play_refuses_what_is_no_range(extent):
    with pytest.raises(ValueError, match=r"slope = .*: expected \(low, high\), \(low, high, step\) or a list"):
        plots.play(line([]), slope=extent)


@settings(deadline=None)
@given(low=st.floats(-100, 100), span=st.floats(0.01, 100), parts=st.integers(2, 40))
def test_a_slider_reaches_both_ends(low, span, parts):
    found = plots._choices("speed", (low, low + span, span / parts))
    assert len(found) == parts + 1
    assert np.allclose(found, np.linspace(low, low + span, parts + 1))
