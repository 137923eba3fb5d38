"""Citations as “Rosenblatt (1958)” and “(Rosenblatt, 1958)”; the list of references bears the same labels."""

from dataclasses import dataclass, field

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting.author_year_title import SortingStyle
from sphinxcontrib.bibtex.plugin import register_plugin as register_reference_style
from sphinxcontrib.bibtex.style.referencing import BracketStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle


def round_brackets() -> BracketStyle:
    return BracketStyle(left="(", right=")")


@dataclass
class CourseReferences(AuthorYearReferenceStyle):
    bracket_textual: BracketStyle = field(default_factory=round_brackets)
    bracket_parenthetical: BracketStyle = field(default_factory=round_brackets)


class AuthorYearLabels(BaseLabelStyle):
    """“Vaswani et al. 2017”; a letter is added where two works would share a label."""

    def format_labels(self, sorted_entries):
        seen: dict[str, int] = {}
        for entry in sorted_entries:
            people = entry.persons.get("author") or entry.persons.get("editor") or []
            names = [" ".join(person.last_names) for person in people]
            who = names[0] if names else entry.key
            who = f"{who} and {names[1]}" if len(names) == 2 else who
            who = f"{who} et al." if len(names) > 2 else who
            label = f"{who} {entry.fields.get('year', '')}".strip()
            seen[label] = seen.get(label, 0) + 1
            yield label + (chr(ord("a") + seen[label] - 1) if seen[label] > 1 else "")


class CourseStyle(Style):
    default_sorting_style = SortingStyle
    default_label_style = AuthorYearLabels


def setup(app):
    register_reference_style("sphinxcontrib.bibtex.style.referencing", "course", CourseReferences, force=True)
    register_plugin("pybtex.style.formatting", "course", CourseStyle, force=True)
