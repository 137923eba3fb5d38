"""Figures say what they were given: colours, names, numbers, spreads."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

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
