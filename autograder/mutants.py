"""Small wrong versions of a right answer, made from its syntax tree.

Each mutant changes one thing: an operator, a comparison, a constant, the order of arguments, a keyword, a condition, or
drops one statement. An exercise whose cases let one pass has a hole, unless the change cannot be seen from outside.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

BINARY = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
COMPARISON = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclass(frozen=True)
class Mutant:
    """A changed source and what was changed, as `old line → new line`."""

    change: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """All mutants of a source that defines a function or class, without repetition, docstrings and signatures alone."""
    tree = ast.parse(source)
    made: dict[str, Mutant] = {}
    for path, statement in statements(tree):
        for changed in changes(statement):
            mutated = copy.deepcopy(tree)
            replace(mutated, path, changed)
            text = ast.unparse(ast.fix_missing_locations(mutated))
            old = header(statement)
            new = header(changed) if changed is not None else "(dropped)"
            if old != new:
                made.setdefault(text, Mutant(f"{old} → {new}", text))
    return list(made.values())


Path = tuple[tuple[str, int], ...]


def statements(tree: ast.AST, path: Path = ()) -> Iterator[tuple[Path, ast.stmt]]:
    """Every statement inside a function, with the way to it from the root."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(tree, name, None)
        for index, statement in enumerate(block if isinstance(block, list) else ()):
            here = (*path, (name, index))
            if is_docstring(statement):
                continue
            if path and not isinstance(statement, ast.FunctionDef | ast.ClassDef):
                yield here, statement
            yield from statements(statement, here)


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def replace(tree: ast.AST, path: Path, statement: ast.stmt | None) -> None:
    """Put `statement` (a `pass` for None) at the place `path` names."""
    for name, index in path[:-1]:
        tree = getattr(tree, name)[index]
    name, index = path[-1]
    getattr(tree, name)[index] = ast.Pass() if statement is None else statement


def header(statement: ast.stmt) -> str:
    """The statement's own line: of a compound one, what stands before its block."""
    return ast.unparse(statement).splitlines()[0]


def changes(statement: ast.stmt) -> Iterator[ast.stmt | None]:
    """Each single change of the statement's own expressions, then its removal."""
    for position, node in enumerate(own_nodes(statement)):
        for edit in edits(node):
            changed = copy.deepcopy(statement)
            target = list(own_nodes(changed))[position]
            edited = edit(target)
            if edited is not target:
                substitute(changed, target, edited)
            yield changed
    if isinstance(statement, ast.Return):
        if statement.value is not None:
            yield ast.Return(value=None)
    elif isinstance(statement, ast.Break):
        yield ast.Continue()
    elif not isinstance(statement, ast.Pass | ast.Raise | ast.Import | ast.ImportFrom):
        yield None


def own_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """The statement and its expressions, not the statements of its block."""
    stack: list[ast.AST] = [statement]
    while stack:
        node = stack.pop()
        yield node
        children = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]
        if isinstance(node, ast.JoinedStr) or is_annotation_holder(node):
            children = [child for child in children if child is getattr(node, "value", None)]
        stack.extend(reversed(children))


def is_annotation_holder(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign)


def substitute(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                value[:] = [new if item is old else item for item in value]


def edits(node: ast.AST) -> Iterator:
    """Functions that change a (copied) node in place or return another in its stead."""
    match node:
        case ast.BinOp() if type(node.op) in BINARY:
            yield lambda n: _set(n, op=BINARY[type(n.op)]())
        case ast.AugAssign() if type(node.op) in BINARY:
            yield lambda n: _set(n, op=BINARY[type(n.op)]())
        case ast.Compare() if type(node.ops[0]) in COMPARISON:
            yield lambda n: _set(n, ops=[COMPARISON[type(n.ops[0])](), *n.ops[1:]])
        case ast.BoolOp():
            yield lambda n: _set(n, op=ast.Or() if isinstance(n.op, ast.And) else ast.And())
        case ast.UnaryOp() if not isinstance(node.op, ast.UAdd):
            yield lambda n: n.operand
        case ast.Constant() if isinstance(node.value, bool):
            yield lambda n: _set(n, value=not n.value)
        case ast.Constant() if isinstance(node.value, int):
            yield lambda n: _set(n, value=n.value + 1)
        case ast.Constant() if isinstance(node.value, float):
            yield lambda n: _set(n, value=n.value * 2 if n.value else 1.0)
        case ast.Call():
            if len(node.args) >= 2 and ast.dump(node.args[0]) != ast.dump(node.args[1]):
                yield lambda n: _set(n, args=[n.args[1], n.args[0], *n.args[2:]])
            for index in range(len(node.keywords)):
                yield lambda n, index=index: _set(n, keywords=n.keywords[:index] + n.keywords[index + 1 :])
        case ast.If() | ast.While() | ast.IfExp():
            yield lambda n: _set(n, test=ast.UnaryOp(op=ast.Not(), operand=n.test))


def _set(node: ast.AST, **fields) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node
