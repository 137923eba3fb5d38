"""References as plain text, from book/references.bib: “Rosenblatt (1958)” in a sentence, the whole entry in a list."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from pybtex.database import BibliographyData, Entry, parse_file
from pybtex.plugin import find_plugin


class Bibliography:
    """The entries of one .bib file."""

    def __init__(self, path: Path):
        self.path, self.entries = path, _parsed(path, path.stat().st_mtime_ns).entries

    def cite(self, keys: list[str], *, textual: bool) -> str:
        """“Rosenblatt (1958)” or, not textual, “(Rosenblatt, 1958; Minsky and Papert, 1969)”."""
        pairs = [(self._people(self._entry(key)), self._entry(key).fields.get("year", "n.d.")) for key in keys]
        if textual:
            return ", ".join(f"{people} ({year})" for people, year in pairs)
        return "(" + "; ".join(f"{people}, {year}" for people, year in pairs) + ")"

    def listed(self, keys: list[str]) -> str:
        """The works cited as a Markdown list in the order of their authors."""
        chosen = {key: self._entry(key) for key in keys}
        style = find_plugin("pybtex.style.formatting", "unsrt")(abbreviate_names=True)
        backend = find_plugin("pybtex.backends", "markdown")()
        entries = sorted(
            style.format_bibliography(BibliographyData(chosen)),
            key=lambda entry: (self._people(self._entry(entry.key)), self._entry(entry.key).fields.get("year", "")),
        )
        texts = (entry.text.render(backend).replace("\n", " ") for entry in entries)
        # The backend escapes every mark; these mean nothing inside a line, and the source is easier to read without.
        return "\n".join("- " + re.sub(r"\\([.:()+-])", r"\1", text) for text in texts)

    def _entry(self, key: str) -> Entry:
        if key not in self.entries:
            raise KeyError(f"{key!r} is not a key of {self.path.name}")
        return self.entries[key]

    def _people(self, entry: Entry) -> str:
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        names = [_plain(" ".join(person.prelast_names + person.last_names)) for person in people]
        if len(names) > 2:
            return f"{names[0]} et al."
        return " and ".join(names) or _plain(entry.fields.get("title", entry.key))


@cache
def _parsed(path: Path, changed: int) -> BibliographyData:
    return parse_file(str(path), bib_format="bibtex")


def _plain(text: str) -> str:
    """LaTeX's accents and braces as plain text."""
    from pybtex.richtext import Text

    return str(Text.from_latex(text))
