"""Mutants: each changes one thing, runs or fails to, and never touches what does not matter."""

import ast

from autograder.mutants import mutants

SOURCE = '''
def scaled(x, weight=2, *, shift=1.0):
    """Words that must stay as they are: 1 + 1."""
    total = 0
    for item in x:
        if item > 0 and weight != 3:
            total += item * weight
    return max(total, shift, key=None) / len(x)
'''


def changes():
    return {mutant.change for mutant in mutants(SOURCE)}


def test_the_kinds_of_change():
    assert {
        "total = 0 → total = 1",
        "total = 0 → (dropped)",
        "for item in x: → (dropped)",
        "if item > 0 and weight != 3: → if item >= 0 and weight != 3:",
        "if item > 0 and weight != 3: → if item > 0 or weight != 3:",
        "if item > 0 and weight != 3: → if item > 0 and weight == 3:",
        "if item > 0 and weight != 3: → if item > 1 and weight != 3:",
        "if item > 0 and weight != 3: → if not (item > 0 and weight != 3):",
        "total += item * weight → total -= item * weight",
        "total += item * weight → total += item / weight",
        "return max(total, shift, key=None) / len(x) → return max(shift, total, key=None) / len(x)",
        "return max(total, shift, key=None) / len(x) → return max(total, shift) / len(x)",
        "return max(total, shift, key=None) / len(x) → return max(total, shift, key=None) * len(x)",
        "return max(total, shift, key=None) / len(x) → return",
    } <= changes()


def test_every_mutant_is_python_and_differs():
    original = ast.unparse(ast.parse(SOURCE))
    made = mutants(SOURCE)
    assert len({mutant.source for mutant in made}) == len(made)
    for mutant in made:
        ast.parse(mutant.source)
        assert mutant.source != original and "Words that must stay as they are: 1 + 1." in mutant.source


def test_methods_of_classes_are_mutated_too():
    made = mutants("class A:\n    def f(self):\n        return self.x + 1\n")
    assert "return self.x + 1 → return self.x - 1" in {mutant.change for mutant in made}
