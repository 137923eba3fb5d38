"""Draws the timeline of the book and the map of the README out of book/systems.yml, as SVG.

python -m ml_course.scripts.drawings            writes both into book/figures
python -m ml_course.scripts.drawings --check    says which is stale and exits with 1; writes nothing
"""

from __future__ import annotations

import argparse
import sys
from html import escape
from itertools import combinations, pairwise
from pathlib import Path
from textwrap import wrap

from ml_course import plots
from ml_course.scripts import chapters, systems

FONT = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"'
COLOURS = (plots.SKY, plots.BLUE, plots.GREEN, plots.ORANGE, plots.PINK, plots.RED)  # of the parts, in their order
Number = int | float
TIMELINE, MAP = "book/figures/history-timeline.svg", "book/figures/readme-map.svg"


def timeline(root: Path = chapters.ROOT) -> str:
    """Dates in even rows, each tied to its place on an axis that is true to time."""
    dates, parts = systems.dates(root), chapters.parts(root)
    colours = [_colour(date, parts) for date in dates]
    legend = [(caption, colour) for (caption, _), colour in zip(parts, COLOURS, strict=False) if colour in colours]
    legend.append(("told, not built", ""))
    width, row, axis, dot = 400, 23, 50, 104
    top = 30 + 21 * (len(legend) + 1) // 2
    first, last = dates[0].year, dates[-1].year
    height, length = top + row * len(dates) + 12, row * (len(dates) - 1)

    def place(year: int) -> float:
        return top + length * (year - first) / (last - first)

    out = [_head(width, height, "Timeline")]
    for number, (caption, colour) in enumerate(legend):
        x, y = 14 + 200 * (number % 2), 16 + 21 * (number // 2)
        out += [_dot(x, y, colour), _text(x + 12, y + 4.5, caption, size=13)]
    out.append(f'<path d="M{axis} {top}V{top + length}" stroke="{plots.GREY}" stroke-width="1.5" fill="none"/>')
    for decade in range(-(-first // 10) * 10, last + 1, 10):
        y = place(decade)
        out.append(f'<path d="M{axis - 5} {y:.1f}H{axis}" stroke="{plots.GREY}" stroke-width="1.5" fill="none"/>')
        out.append(_text(axis - 9, y + 4.5, str(decade), size=12, fill=plots.GREY, anchor="end"))
    for number, (date, colour) in enumerate(zip(dates, colours, strict=True)):
        true, y = place(date.year), top + row * number
        way = f"M{axis} {true:.1f}C{axis + 30} {true:.1f} {dot - 34} {y} {dot - 6} {y}"
        out.append(f'<path d="{way}" stroke="{plots.PALE}" stroke-width="1.2" fill="none"/>')
        out.append(_dot(dot, y, colour))
        out.append(_text(dot + 11, y + 4.5, str(date.year), size=13, fill=plots.GREY))
        out.append(_text(dot + 50, y + 4.5, date.name, size=14))
    return "\n".join([*out, "</svg>", ""])


def course_map(root: Path = chapters.ROOT) -> str:
    """Every chapter with its systems and their years, in three columns."""
    width, row, line, gap = 960, 19, 18, 14
    found, blocks = systems.systems(root), []
    for (_, topics), colour in zip(chapters.parts(root), COLOURS, strict=False):
        for topic in topics:
            title = wrap(chapters.title(topic, root).split(":")[0], 32)
            blocks.append((title, colour, [each for each in found if each.topic == topic]))
    sizes = [line * len(title) + row * len(rows) + 6 for title, _, rows in blocks]
    cuts = min(combinations(range(1, len(blocks)), 2), key=lambda cuts: max(_heights(sizes, cuts, gap)))

    height = max(_heights(sizes, cuts, gap)) + 18
    out, x, y = [_head(width, height, "Map of the course", ground=True)], 18, 18
    for number, ((title, colour, rows), size) in enumerate(zip(blocks, sizes, strict=True)):
        if number in cuts:
            x, y = x + (width - 20) // 3, 18
        out.append(f'<rect x="{x}" y="{y}" width="5" height="{size}" fill="{colour}"/>')
        for place, words in enumerate(title):
            out.append(_text(x + 14, y + 14 + line * place, words, size=15, weight=600))
        for place, system in enumerate(rows):
            base = y + line * len(title) + 18 + row * place
            out.append(_text(x + 14, base, str(system.year), size=12.5, fill=plots.GREY))
            out.append(_text(x + 51, base, system.name, size=13.5))
        y += size + gap
    return "\n".join([*out, "</svg>", ""])


def _heights(sizes: list[int], cuts: tuple[int, ...], gap: int) -> list[int]:
    """Of the columns, where a new one begins at each cut."""
    return [sum(sizes[a:b]) + gap * (b - a) for a, b in pairwise((0, *cuts, len(sizes)))]


def _head(width: int, height: int, title: str, *, ground: bool = False) -> str:
    """The opening; a picture with a ground of its own is read as well on a white page as on a dark one."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" {FONT}>'
    card = f'<rect width="{width}" height="{height}" rx="10" fill="{plots.CARD}"/>'
    return f"{head}\n<title>{title}</title>" + (f"\n{card}" if ground else "")


def _text(x: Number, y: Number, words: str, *, size: Number, fill=plots.INK, weight=400, anchor="start") -> str:
    style = f'font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}"'
    return f'<text x="{x}" y="{y:.1f}" {style}>{escape(words)}</text>'


def _dot(x: Number, y: Number, colour: str) -> str:
    """A disc, or a ring where there is no colour."""
    look = f'fill="{colour}"' if colour else f'fill="none" stroke="{plots.GREY}" stroke-width="1.6"'
    return f'<circle cx="{x}" cy="{y}" r="5" {look}/>'


def _colour(date: systems.Date, parts: list[tuple[str, list[str]]]) -> str:
    """That of the part where it runs; none where it is only told."""
    if not isinstance(date, systems.System):
        return ""
    return next(COLOURS[place] for place, (_, topics) in enumerate(parts) if date.topic in topics)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The timeline and the map, drawn from book/systems.yml.")
    parser.add_argument("--check", action="store_true", help="write nothing; name what is stale and exit with 1")
    check, stale = parser.parse_args(arguments).check, []
    for name, drawing in ((TIMELINE, timeline()), (MAP, course_map())):
        path = chapters.ROOT / name
        if not path.is_file() or path.read_text(encoding="utf-8") != drawing:
            stale.append(name)
            if not check:
                path.write_text(drawing, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'stale, run python -m ml_course.scripts.drawings' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
