"""Small wrong changes of a module: all that can be made, and the source with one made.

A mutant is one change at one place: a comparison turned, a number moved by one, a condition
negated, `and` for `or`, a result dropped, a statement left out, ... Asserts, annotations, texts and
slots are left alone. To add a kind of change: a line in `_changes`.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
REVERSED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
}
SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
}


class Mutant(NamedTuple):
    """One change: where, what, the source line.

    ``function`` is the outermost one around it; '' if it counts while the module is imported.
    """

    module: str
    line: int
    number: int
    what: str
    text: str
    function: str


def mutants(module: str, source: str) -> list[Mutant]:
    """All changes that can be made, in order."""
    tree, lines = ast.parse(source), source.splitlines()
    early, found = at_import(tree), []
    for number, (node, what, inside) in enumerate(_places(tree)):
        function = "" if inside in early else inside
        text = lines[node.lineno - 1].strip()  # type: ignore[attr-defined]
        found.append(Mutant(module, node.lineno, number, what, text, function))  # type: ignore[attr-defined]
    return found


def at_import(tree: ast.Module) -> set[str]:
    """Names of the functions that run while the module is being imported."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    todo: list[ast.AST] = [
        n for n in tree.body if not isinstance(n, ast.FunctionDef | ast.ClassDef)
    ]
    found: set[str] = set()
    while todo:
        for node in ast.walk(todo.pop()):
            called = node.func.id if isinstance(node, ast.Call) and _plain(node.func) else ""
            if called in functions and called not in found:
                found.add(called)
                todo.append(functions[called])
    return found


def _plain(node: ast.expr) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)


def mutated(source: str, number: int) -> ast.Module:
    """The module with change ``number`` made; -1 is none."""
    tree = ast.parse(source)
    if number == -1:
        return tree
    for i, (node, what, _) in enumerate(_places(tree)):
        if i == number:
            _make(tree, node, what)
            return ast.fix_missing_locations(tree)
    raise IndexError(number)


def _places(tree: ast.Module) -> Iterator[tuple[ast.AST, str, str]]:
    for node, function in _walk(tree, ""):
        for what in _changes(node):
            yield node, what, function


def _walk(node: ast.AST, function: str, path: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Every node that may be changed, with the qualified name of its outermost function."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "keywords_of_class"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _left_alone(child):
                continue
            inner_path, inner = path, function
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner_path = f"{path}.{child.name}" if path else child.name
                if not isinstance(child, ast.ClassDef) and not function:
                    inner = inner_path
            if isinstance(child, ast.arguments):
                inner = ""  # defaults are made where the function is
            yield child, inner
            yield from _walk(child, inner, inner_path)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.Raise):
        return True
    if isinstance(node, ast.keyword) and node.arg in ("gc", "strict"):
        return True  # for speed, and for what cannot happen
    if isinstance(node, ast.ClassDef):
        return any("Protocol" in ast.unparse(base) for base in node.bases)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
        return True
    typed = isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation)
    return typed or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _changes(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Compare(ops=[op]):
            yield f"turn {TURNED[type(op)].__name__}"
            if type(op) in REVERSED:
                yield f"reverse {REVERSED[type(op)].__name__}"
        case ast.Constant(value=bool()):
            yield "flip"
        case ast.Constant(value=int() | float()):
            yield "one more"
            yield "one less"
        case ast.BoolOp():
            yield "and/or"
        case ast.UnaryOp(op=ast.Not()):
            yield "drop not"
        case ast.UnaryOp(op=ast.USub()):
            yield "drop minus"
        case ast.BinOp(op=op) if type(op) in SWAPPED and not isinstance(node.left, ast.Constant):
            yield f"{SWAPPED[type(op)].__name__} instead"
        case ast.AugAssign(op=op):
            yield f"{SWAPPED[type(op)].__name__} instead"
            yield "leave out"
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) not in ("None", "False"):
            yield "return None"
        case ast.If() | ast.While() | ast.IfExp():
            yield "negate"
        case ast.Break() | ast.Continue():
            yield "break/continue"
        case ast.Expr(value=ast.Call()) | ast.Delete():
            yield "leave out"
        case ast.Assign():
            yield "leave out"


def _make(tree: ast.Module, node: ast.AST, what: str) -> None:
    match node, what.split():
        case ast.Compare(), ["turn", _]:
            node.ops = [TURNED[type(node.ops[0])]()]
        case ast.Compare(), ["reverse", _]:
            node.ops = [REVERSED[type(node.ops[0])]()]
        case ast.Constant(), ["flip"]:
            node.value = not node.value
        case ast.Constant(value=int() | float() as value), ["one", way]:
            node.value = value + (1 if way == "more" else -1)
        case ast.BoolOp(), _:
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.UnaryOp(), _:
            _replace(tree, node, node.operand)
        case ((ast.BinOp() | ast.AugAssign()), [_, "instead"]):
            node.op = SWAPPED[type(node.op)]()
        case ast.Return(), _:
            node.value = ast.Constant(None)
        case ((ast.If() | ast.While() | ast.IfExp()), _):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Break(), _:
            _replace(tree, node, ast.Continue())
        case ast.Continue(), _:
            _replace(tree, node, ast.Break())
        case _:
            _replace(tree, node, ast.Pass())


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    copied = ast.copy_location(copy.copy(new), old)
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, copied)
            elif isinstance(value, list) and any(one is old for one in value):
                setattr(parent, field, [copied if one is old else one for one in value])
