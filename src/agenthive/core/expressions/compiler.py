"""From Python's syntax tree to something that can be run, by an allow-list.

Each node that is allowed becomes a small closure over JSON values; any other node is refused when
the expression is compiled. A dot is a look-up in a map, never an attribute of a Python object.
Nothing here may call anything but `FUNCTIONS`, ``has`` and ``default``. To allow a node: add a case
to `Compiler.node`, a method that makes its closure, and rows to the tests, hostile ones too.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping
from typing import Final

from agenthive.core.expressions import functions as fn
from agenthive.core.expressions.functions import FUNCTIONS, Meter, Missing, Oops
from agenthive.core.values import JSONValue

MAX_DEPTH: Final = 64
"""How deep the parts of one expression may nest."""

_CONSTANTS: Final[dict[str, JSONValue]] = {"null": None, "true": True, "false": False}
_LAZY: Final = ("default", "has")
_WORDS: Final = {
    "Lambda": "lambda",
    "JoinedStr": "an f-string",
    "NamedExpr": "':='",
    "Await": "await",
    "Yield": "yield",
    "YieldFrom": "yield",
    "Starred": "'*'",
    "Set": "a set",
    "SetComp": "a set comprehension",
    "DictComp": "a map comprehension",
    "Tuple": "a tuple (write a list)",
}


class Frame:
    """What one evaluation works on."""

    __slots__ = ("item", "meter", "scope")

    def __init__(self, scope: Mapping[str, JSONValue], meter: Meter) -> None:
        self.scope = scope
        self.meter = meter
        self.item: JSONValue = None


Run = Callable[[Frame], JSONValue]


class Compiler:
    """Compiles one expression and notes which tasks and inputs it reads.

    ``plain`` stays true while the expression is nothing but a look-up, so that its value cannot be
    larger than what was there already.
    """

    def __init__(self, roots: Collection[str], column: Callable[[ast.expr], int]) -> None:
        self._roots = roots
        self._column = column
        self._variable = ""
        self._depth = 0
        self.task_names: set[str] = set()
        self.input_names: set[str] = set()
        self.plain = True

    def compile(self, node: ast.expr) -> Run:
        """The closure for a node; it fills in the column of any fault that has none."""
        column = self._column(node)
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise Oops(f"nests more than {MAX_DEPTH} deep")
            return _placed(self._node(node), column)
        except Oops as oops:
            oops.column = oops.column or column
            raise
        finally:
            self._depth -= 1

    def _node(self, node: ast.expr) -> Run:
        match node:
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.Name():
                return self._name(node)
            case ast.Constant():
                return self._constant(node)
        self.plain = False
        match node:
            case ast.Call():
                return self._call(node)
            case ast.BoolOp():
                return self._bool_op(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp():
                return self._binary(node)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp():
                return self._if(node)
            case ast.List():
                return self._list(node)
            case ast.Dict():
                return self._dict(node)
            case ast.ListComp() | ast.GeneratorExp():
                return self._comprehension(node)
        name = type(node).__name__
        raise Oops(f"{_WORDS.get(name, name)} is not part of expressions")

    def _name(self, node: ast.Name) -> Run:
        name = node.id
        if name == self._variable:
            return lambda frame: frame.item
        if name in _CONSTANTS:
            value = _CONSTANTS[name]
            return lambda frame: value
        if name not in self._roots:
            raise Oops(f"unknown name {name!r}; known here: {', '.join(sorted(self._roots))}")
        if name == "tasks":
            raise Oops("'tasks' must be followed by the name of a task, as in tasks.NAME.result")
        return lambda frame: _root(frame, name)

    def _constant(self, node: ast.Constant) -> Run:
        value = node.value
        if value is not None and not isinstance(value, str | int | float):
            raise Oops(f"{type(value).__name__} values are not part of expressions")
        if isinstance(value, int | float):
            fn.finite(value)
        return lambda frame: value

    def _attribute(self, node: ast.Attribute) -> Run:
        key = node.attr
        if key.startswith("__"):
            raise Oops(f"{key!r} is not a name expressions may use")
        if self._is_root(node.value, "tasks"):
            return self._task(key)
        if self._is_root(node.value, "inputs"):
            self.input_names.add(key)
        base = self.compile(node.value)
        return lambda frame: _look_up(base(frame), key)

    def _subscript(self, node: ast.Subscript) -> Run:
        if isinstance(node.slice, ast.Slice):
            self.plain = False
            return self._slice(node.value, node.slice)
        literal = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if self._is_root(node.value, "tasks"):
            if not isinstance(literal, str):
                raise Oops('a task is named by a text in quotes, as in tasks["my-task"]')
            return self._task(literal)
        if self._is_root(node.value, "inputs") and isinstance(literal, str):
            self.input_names.add(literal)
        base, key = self.compile(node.value), self.compile(node.slice)
        return lambda frame: _look_up(base(frame), key(frame))

    def _is_root(self, node: ast.expr, name: str) -> bool:
        return isinstance(node, ast.Name) and node.id == name and name in self._roots

    def _task(self, name: str) -> Run:
        self.task_names.add(name)
        return lambda frame: _look_up(_root(frame, "tasks"), name)

    def _slice(self, value: ast.expr, part: ast.Slice) -> Run:
        if part.step is not None:
            raise Oops("a slice with a step is not part of expressions")
        base = self.compile(value)
        lower = self.compile(part.lower) if part.lower else None
        upper = self.compile(part.upper) if part.upper else None
        return lambda frame: _cut(
            frame.meter,
            base(frame),
            lower(frame) if lower else None,
            upper(frame) if upper else None,
        )

    def _call(self, node: ast.Call) -> Run:
        if isinstance(node.func, ast.Attribute):
            raise Oops(f"values have no methods; write {node.func.attr}(value, ...)")
        if not isinstance(node.func, ast.Name):
            raise Oops("only the functions of the language can be called")
        name = node.func.id
        if node.keywords:
            raise Oops(f"{name}() takes no named arguments")
        if name in _LAZY:
            return self._forgiving(name, node)
        if name not in FUNCTIONS:
            known = ", ".join(sorted((*FUNCTIONS, *_LAZY)))
            raise Oops(f"unknown function {name!r}; there are: {known}")
        function, fewest, most = FUNCTIONS[name]
        _arity(name, len(node.args), fewest, most)
        args = [self.compile(arg) for arg in node.args]
        return lambda frame: _apply(frame, name, function, args)

    def _forgiving(self, name: str, node: ast.Call) -> Run:
        count = 1 if name == "has" else 2
        _arity(name, len(node.args), count, count)
        value = self.compile(node.args[0])
        if name == "has":
            return lambda frame: _forgive(frame, value) is not None
        other = self.compile(node.args[1])

        def default(frame: Frame) -> JSONValue:
            found = _forgive(frame, value)
            return other(frame) if found is None else found

        return default

    def _bool_op(self, node: ast.BoolOp) -> Run:
        parts = [self.compile(value) for value in node.values]
        stop_at = isinstance(node.op, ast.Or)

        def run(frame: Frame) -> JSONValue:
            value: JSONValue = None
            for part in parts:
                value = part(frame)
                if bool(value) is stop_at:
                    return value
            return value

        return run

    def _unary(self, node: ast.UnaryOp) -> Run:
        value = self.compile(node.operand)
        match node.op:
            case ast.Not():
                return lambda frame: not value(frame)
            case ast.USub():
                return lambda frame: fn.finite(-fn.number(value(frame)))
            case ast.UAdd():
                return lambda frame: fn.number(value(frame))
            case _:
                raise Oops("this operator is not part of expressions")

    def _binary(self, node: ast.BinOp) -> Run:
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            raise Oops(f"the operator {_sign(node.op)} is not part of expressions")
        left, right = self.compile(node.left), self.compile(node.right)
        return lambda frame: operation(frame.meter, left(frame), right(frame))

    def _compare(self, node: ast.Compare) -> Run:
        first = self.compile(node.left)
        rest: list[tuple[_Test, Run]] = []
        for op, right in zip(node.ops, node.comparators, strict=True):
            test = _TESTS.get(type(op))
            if test is None:
                raise Oops("'is' is not part of expressions; use ==")
            rest.append((test, self.compile(right)))

        def run(frame: Frame) -> JSONValue:
            left = first(frame)
            for test, part in rest:
                right = part(frame)
                if not test(frame.meter, left, right):
                    return False
                left = right
            return True

        return run

    def _if(self, node: ast.IfExp) -> Run:
        test, then = self.compile(node.test), self.compile(node.body)
        other = self.compile(node.orelse)
        return lambda frame: then(frame) if test(frame) else other(frame)

    def _list(self, node: ast.List) -> Run:
        parts = [self.compile(part) for part in node.elts]
        return lambda frame: [part(frame) for part in parts]

    def _dict(self, node: ast.Dict) -> Run:
        pairs: list[tuple[Run, Run]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise Oops("'**' is not part of expressions")
            pairs.append((self.compile(key), self.compile(value)))
        return lambda frame: {fn.text(key(frame)): value(frame) for key, value in pairs}

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> Run:
        loop = node.generators[0]
        if len(node.generators) > 1 or self._variable:
            raise Oops("a comprehension may have one 'for' and none inside it")
        if loop.is_async or not isinstance(loop.target, ast.Name):
            raise Oops("a comprehension needs one plain name after 'for'")
        name = loop.target.id
        if name in self._roots or name in _CONSTANTS or name.startswith("__"):
            raise Oops(f"{name!r} cannot be the name of an item")
        source = self.compile(loop.iter)
        self._variable = name
        try:
            tests = [self.compile(test) for test in loop.ifs]
            value = self.compile(node.elt)
        finally:
            self._variable = ""
        return lambda frame: _loop(frame, source, tests, value)


_Test = Callable[[Meter, JSONValue, JSONValue], bool]


def _placed(run: Run, column: int) -> Run:
    def call(frame: Frame) -> JSONValue:
        try:
            frame.meter.work(1)
            return run(frame)
        except Oops as oops:
            oops.column = oops.column or column
            raise

    return call


def _root(frame: Frame, name: str) -> JSONValue:
    if name not in frame.scope:
        raise Missing(f"{name!r} is not known at this point")
    return frame.scope[name]


def _look_up(base: JSONValue, key: JSONValue) -> JSONValue:
    if isinstance(base, dict):
        if not isinstance(key, str):
            raise Oops(f"a map is indexed by text, not {fn.kind(key)}")
        if key in base:
            return base[key]
        raise Missing(f"no key {_short(key)}; there {_there(base)}")
    if isinstance(base, list | str):
        return _at(base, key)
    fault = Missing if base is None else Oops
    raise fault(f"cannot look up {_short(key)} in {fn.kind(base)}")


def _at(base: list[JSONValue] | str, key: JSONValue) -> JSONValue:
    what = fn.kind(base if isinstance(base, str) else [])
    if isinstance(key, bool) or not isinstance(key, int):
        raise Oops(f"{what} is indexed by a whole number, not {_short(key)}")
    if not -len(base) <= key < len(base):
        raise Missing(f"{what} of length {len(base)} has no item {key}")
    return base[key]


def _short(key: JSONValue) -> str:
    return repr(key if not isinstance(key, str) or len(key) <= 40 else key[:40] + "...")


def _there(base: dict[str, JSONValue]) -> str:
    if not base:
        return "are none"
    names = [_short(name) for name, _ in zip(base, range(8), strict=False)]
    more = f" and {len(base) - 8} more" if len(base) > 8 else ""
    return f"are {', '.join(names)}{more}"


def _cut(meter: Meter, base: JSONValue, lower: JSONValue, upper: JSONValue) -> JSONValue:
    bounds: list[int | None] = []
    for bound in (lower, upper):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise Oops(f"a slice needs whole numbers, not {fn.kind(bound)}")
        bounds.append(bound)
    if not isinstance(base, list | str):
        raise Oops(f"cannot take a slice of {fn.kind(base)}")
    part = base[bounds[0] : bounds[1]]
    meter.work(len(part) // (64 if isinstance(part, str) else 1))
    return part


def _arity(name: str, given: int, fewest: int, most: int) -> None:
    if not fewest <= given <= most:
        wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise Oops(f"{name}() takes {wanted} argument{'' if wanted == '1' else 's'}, not {given}")


def _apply(frame: Frame, name: str, function: fn.Function, args: list[Run]) -> JSONValue:
    values = [arg(frame) for arg in args]
    try:
        return function(frame.meter, values)
    except Oops as oops:
        oops.args = (f"{name}() {oops}",)
        raise


def _forgive(frame: Frame, value: Run) -> JSONValue:
    try:
        return value(frame)
    except Missing:
        return None


def _loop(frame: Frame, source: Run, tests: list[Run], value: Run) -> JSONValue:
    found: list[JSONValue] = []
    for item in fn.items(frame.meter, source(frame)):
        frame.item = item
        if all(test(frame) for test in tests):
            found.append(value(frame))
    return found


def _add(meter: Meter, left: JSONValue, right: JSONValue) -> JSONValue:
    if isinstance(left, str) and isinstance(right, str):
        meter.text(len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        meter.work(len(left) + len(right))
        return left + right
    if isinstance(left, str) or isinstance(right, str):
        raise Oops(f"cannot add {fn.kind(left)} and {fn.kind(right)}; use str(...)")
    return fn.finite(fn.number(left) + fn.number(right))


def _subtract(meter: Meter, left: JSONValue, right: JSONValue) -> JSONValue:
    return fn.finite(fn.number(left) - fn.number(right))


def _multiply(meter: Meter, left: JSONValue, right: JSONValue) -> JSONValue:
    return fn.finite(fn.number(left) * fn.number(right))


def _divide(meter: Meter, left: JSONValue, right: JSONValue) -> JSONValue:
    return fn.finite(fn.number(left) / _divisor(right))


def _modulo(meter: Meter, left: JSONValue, right: JSONValue) -> JSONValue:
    return fn.finite(fn.number(left) % _divisor(right))


def _divisor(value: JSONValue) -> int | float:
    if not fn.number(value):
        raise Oops("divides by zero")
    return fn.number(value)


def _sign(op: ast.operator) -> str:
    return {"Pow": "**", "FloorDiv": "//", "MatMult": "@"}.get(type(op).__name__, "used here")


_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Meter, JSONValue, JSONValue], JSONValue]]] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _multiply,
    ast.Div: _divide,
    ast.Mod: _modulo,
}

_TESTS: Final[dict[type[ast.cmpop], _Test]] = {
    ast.Eq: fn.equal,
    ast.NotEq: lambda meter, left, right: not fn.equal(meter, left, right),
    ast.Lt: fn.less,
    ast.LtE: lambda meter, left, right: not fn.less(meter, right, left),
    ast.Gt: lambda meter, left, right: fn.less(meter, right, left),
    ast.GtE: lambda meter, left, right: not fn.less(meter, left, right),
    ast.In: fn.contains,
    ast.NotIn: lambda meter, left, right: not fn.contains(meter, left, right),
}
