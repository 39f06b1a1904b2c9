"""The compiler: from Python's syntax tree to closures, by an allow-list.

Each allowed node of the tree becomes a small closure over JSON values; any other node is refused
when the expression is compiled. A dot is a look-up in a map, never an attribute of a Python object.
A closure never calls anything but `FUNCTIONS`, ``has`` and ``default``, and charges the meter for
each node that it evaluates.

To allow a node: a case in `Compiler._compile_node`, a method that builds its closure, and rows in
the tests, with hostile inputs too. A closure that builds a value must charge for its size first.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping
from typing import Final

from agenthive.core.expressions import functions as fn
from agenthive.core.expressions.functions import FUNCTIONS, EvaluationError, Meter, MissingValue
from agenthive.core.values import JSONValue

MAX_DEPTH: Final = 64
"""Levels to which the parts of one expression may nest; keeps recursion far from Python's limit."""

_CONSTANTS: Final[dict[str, JSONValue]] = {"null": None, "true": True, "false": False}
# They catch a missing value, so their first argument is not evaluated before the call.
_LAZY_FUNCTIONS: Final = ("default", "has")
# How messages name the nodes that are refused.
_NODE_NAMES: Final = {
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
    """The variables of one evaluation."""

    __slots__ = ("item", "meter", "scope")

    def __init__(self, scope: Mapping[str, JSONValue], meter: Meter) -> None:
        #: Root name -> value.
        self.scope = scope
        self.meter = meter
        #: Value of the variable of a comprehension. One is enough, as comprehensions do not nest.
        self.item: JSONValue = None


Evaluator = Callable[[Frame], JSONValue]


class Compiler:
    """Compiles one expression and records which tasks and inputs it reads."""

    def __init__(self, roots: Collection[str], column: Callable[[ast.expr], int]) -> None:
        #: Root names that the expression may use.
        self._roots = roots
        #: The column of a node in the source text, from 1.
        self._column = column
        #: Variable of the comprehension that is being compiled; empty outside one.
        self._variable = ""
        self._depth = 0
        self.task_names: set[str] = set()
        self.input_names: set[str] = set()
        #: True while the expression is only a look-up: its value exists already, so that its size
        #: need not be measured.
        self.plain = True

    def compile(self, node: ast.expr) -> Evaluator:
        """The closure of a node. An error that has no column yet gets that of the node.

        Raises EvaluationError for a node that is not allowed, or nests too deep.
        """
        column = self._column(node)
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise EvaluationError(f"nests more than {MAX_DEPTH} deep")
            return _with_column(self._compile_node(node), column)
        except EvaluationError as error:
            error.column = error.column or column
            raise
        finally:
            self._depth -= 1

    def _compile_node(self, node: ast.expr) -> Evaluator:
        match node:
            case ast.Attribute():
                return self._compile_attribute(node)
            case ast.Subscript():
                return self._compile_subscript(node)
            case ast.Name():
                return self._compile_name(node)
            case ast.Constant():
                return self._compile_constant(node)
        self.plain = False
        match node:
            case ast.Call():
                return self._compile_call(node)
            case ast.BoolOp():
                return self._compile_bool_op(node)
            case ast.UnaryOp():
                return self._compile_unary(node)
            case ast.BinOp():
                return self._compile_binary(node)
            case ast.Compare():
                return self._compile_comparison(node)
            case ast.IfExp():
                return self._compile_conditional(node)
            case ast.List():
                return self._compile_list(node)
            case ast.Dict():
                return self._compile_map(node)
            case ast.ListComp() | ast.GeneratorExp():
                return self._compile_comprehension(node)
        name = type(node).__name__
        raise EvaluationError(f"{_NODE_NAMES.get(name, name)} is not part of expressions")

    def _compile_name(self, node: ast.Name) -> Evaluator:
        name = node.id
        if name == self._variable:
            return lambda frame: frame.item
        if name in _CONSTANTS:
            value = _CONSTANTS[name]
            return lambda frame: value
        if name not in self._roots:
            raise EvaluationError(
                f"unknown name {name!r}; known here: {', '.join(sorted(self._roots))}"
            )
        if name == "tasks":
            raise EvaluationError(
                "'tasks' must be followed by the name of a task, as in tasks.NAME.result"
            )
        return lambda frame: _read_root(frame, name)

    def _compile_constant(self, node: ast.Constant) -> Evaluator:
        value = node.value
        if value is not None and not isinstance(value, str | int | float):
            raise EvaluationError(f"{type(value).__name__} values are not part of expressions")
        if isinstance(value, int | float):
            fn.require_finite(value)
        return lambda frame: value

    def _compile_attribute(self, node: ast.Attribute) -> Evaluator:
        key = node.attr
        # A look-up in a map could not reach an attribute, but such a name is always a mistake or
        # an attack.
        if key.startswith("__"):
            raise EvaluationError(f"{key!r} is not a name that expressions may use")
        if self._is_root(node.value, "tasks"):
            return self._compile_task(key)
        if self._is_root(node.value, "inputs"):
            self.input_names.add(key)
        base = self.compile(node.value)
        return lambda frame: _look_up(base(frame), key)

    def _compile_subscript(self, node: ast.Subscript) -> Evaluator:
        if isinstance(node.slice, ast.Slice):
            self.plain = False
            return self._compile_slice(node.value, node.slice)
        literal = node.slice.value if isinstance(node.slice, ast.Constant) else None
        # The names of tasks must be known when the workflow is checked, so they are literals.
        if self._is_root(node.value, "tasks"):
            if not isinstance(literal, str):
                raise EvaluationError('a task is named by a text in quotes, as in tasks["my-task"]')
            return self._compile_task(literal)
        if self._is_root(node.value, "inputs") and isinstance(literal, str):
            self.input_names.add(literal)
        base, key = self.compile(node.value), self.compile(node.slice)
        return lambda frame: _look_up(base(frame), key(frame))

    def _is_root(self, node: ast.expr, name: str) -> bool:
        return isinstance(node, ast.Name) and node.id == name and name in self._roots

    def _compile_task(self, name: str) -> Evaluator:
        self.task_names.add(name)
        return lambda frame: _look_up(_read_root(frame, "tasks"), name)

    def _compile_slice(self, value: ast.expr, bounds: ast.Slice) -> Evaluator:
        if bounds.step is not None:
            raise EvaluationError("a slice with a step is not part of expressions")
        base = self.compile(value)
        lower = self.compile(bounds.lower) if bounds.lower else None
        upper = self.compile(bounds.upper) if bounds.upper else None
        return lambda frame: _slice_value(
            frame.meter,
            base(frame),
            lower(frame) if lower else None,
            upper(frame) if upper else None,
        )

    def _compile_call(self, node: ast.Call) -> Evaluator:
        if isinstance(node.func, ast.Attribute):
            raise EvaluationError(f"values have no methods; write {node.func.attr}(value, ...)")
        if not isinstance(node.func, ast.Name):
            raise EvaluationError("only the functions of the language can be called")
        name = node.func.id
        if node.keywords:
            raise EvaluationError(f"{name}() takes no named arguments")
        if name in _LAZY_FUNCTIONS:
            return self._compile_lazy_call(name, node)
        if name not in FUNCTIONS:
            function_names = ", ".join(sorted((*FUNCTIONS, *_LAZY_FUNCTIONS)))
            raise EvaluationError(f"unknown function {name!r}; there are: {function_names}")
        function, fewest, most = FUNCTIONS[name]
        _check_arity(name, len(node.args), fewest, most)
        args = [self.compile(arg) for arg in node.args]
        return lambda frame: _apply_function(frame, name, function, args)

    def _compile_lazy_call(self, name: str, node: ast.Call) -> Evaluator:
        count = 1 if name == "has" else 2
        _check_arity(name, len(node.args), count, count)
        value = self.compile(node.args[0])
        if name == "has":
            return lambda frame: _evaluate_or_none(frame, value) is not None
        fallback = self.compile(node.args[1])

        def default(frame: Frame) -> JSONValue:
            result = _evaluate_or_none(frame, value)
            return fallback(frame) if result is None else result

        return default

    def _compile_bool_op(self, node: ast.BoolOp) -> Evaluator:
        parts = [self.compile(value) for value in node.values]
        # ``or`` stops at the first true value, ``and`` at the first false one, as in Python.
        stop_at = isinstance(node.op, ast.Or)

        def evaluate(frame: Frame) -> JSONValue:
            value: JSONValue = None
            for part in parts:
                value = part(frame)
                if bool(value) is stop_at:
                    return value
            return value

        return evaluate

    def _compile_unary(self, node: ast.UnaryOp) -> Evaluator:
        value = self.compile(node.operand)
        match node.op:
            case ast.Not():
                return lambda frame: not value(frame)
            case ast.USub():
                return lambda frame: fn.require_finite(-fn.require_number(value(frame)))
            case ast.UAdd():
                return lambda frame: fn.require_number(value(frame))
            case _:
                raise EvaluationError("this operator is not part of expressions")

    def _compile_binary(self, node: ast.BinOp) -> Evaluator:
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            raise EvaluationError(
                f"the operator {_operator_sign(node.op)} is not part of expressions"
            )
        left, right = self.compile(node.left), self.compile(node.right)
        return lambda frame: operation(frame.meter, left(frame), right(frame))

    def _compile_comparison(self, node: ast.Compare) -> Evaluator:
        first = self.compile(node.left)
        comparisons: list[tuple[_Comparison, Evaluator]] = []
        for op, right in zip(node.ops, node.comparators, strict=True):
            compare = _COMPARISONS.get(type(op))
            if compare is None:
                raise EvaluationError("'is' is not part of expressions; use ==")
            comparisons.append((compare, self.compile(right)))

        def evaluate(frame: Frame) -> JSONValue:
            left = first(frame)
            for compare, operand in comparisons:
                right = operand(frame)
                if not compare(frame.meter, left, right):
                    return False
                left = right
            return True

        return evaluate

    def _compile_conditional(self, node: ast.IfExp) -> Evaluator:
        test, then = self.compile(node.test), self.compile(node.body)
        otherwise = self.compile(node.orelse)
        return lambda frame: then(frame) if test(frame) else otherwise(frame)

    def _compile_list(self, node: ast.List) -> Evaluator:
        parts = [self.compile(part) for part in node.elts]
        return lambda frame: [part(frame) for part in parts]

    def _compile_map(self, node: ast.Dict) -> Evaluator:
        pairs: list[tuple[Evaluator, Evaluator]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise EvaluationError("'**' is not part of expressions")
            pairs.append((self.compile(key), self.compile(value)))
        return lambda frame: {fn.require_text(key(frame)): value(frame) for key, value in pairs}

    def _compile_comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> Evaluator:
        loop = node.generators[0]
        if len(node.generators) > 1 or self._variable:
            raise EvaluationError("a comprehension may have one 'for' and none inside it")
        if loop.is_async or not isinstance(loop.target, ast.Name):
            raise EvaluationError("a comprehension needs one plain name after 'for'")
        name = loop.target.id
        if name in self._roots or name in _CONSTANTS or name.startswith("__"):
            raise EvaluationError(f"{name!r} cannot be the name of an item")
        # The source is outside the scope of the variable, conditions and value are inside.
        source = self.compile(loop.iter)
        self._variable = name
        try:
            tests = [self.compile(test) for test in loop.ifs]
            value = self.compile(node.elt)
        finally:
            self._variable = ""
        return lambda frame: _evaluate_comprehension(frame, source, tests, value)


_Comparison = Callable[[Meter, JSONValue, JSONValue], bool]


def _with_column(evaluator: Evaluator, column: int) -> Evaluator:
    """``evaluator``, charged one step, with ``column`` in errors of its own."""

    def evaluate(frame: Frame) -> JSONValue:
        try:
            frame.meter.charge_work(1)
            return evaluator(frame)
        except EvaluationError as error:
            error.column = error.column or column
            raise

    return evaluate


def _read_root(frame: Frame, name: str) -> JSONValue:
    if name not in frame.scope:
        raise MissingValue(f"{name!r} is not known at this point")
    return frame.scope[name]


def _look_up(base: JSONValue, key: JSONValue) -> JSONValue:
    if isinstance(base, dict):
        if not isinstance(key, str):
            raise EvaluationError(f"a map is indexed by text, not {fn.describe_kind(key)}")
        if key in base:
            return base[key]
        raise MissingValue(f"no key {_shorten_key(key)}; there {_describe_keys(base)}")
    if isinstance(base, list | str):
        return _index_sequence(base, key)
    # null has no keys: `default` and `has` accept it like a missing key, but not a wrong type.
    error_type = MissingValue if base is None else EvaluationError
    raise error_type(f"cannot look up {_shorten_key(key)} in {fn.describe_kind(base)}")


def _index_sequence(base: list[JSONValue] | str, key: JSONValue) -> JSONValue:
    kind = fn.describe_kind(base if isinstance(base, str) else [])
    # In Python true is the index 1; in JSON it is not a number.
    if isinstance(key, bool) or not isinstance(key, int):
        raise EvaluationError(f"{kind} is indexed by a whole number, not {_shorten_key(key)}")
    if not -len(base) <= key < len(base):
        raise MissingValue(f"{kind} of length {len(base)} has no item {key}")
    return base[key]


def _shorten_key(key: JSONValue) -> str:
    return repr(key if not isinstance(key, str) or len(key) <= 40 else key[:40] + "...")


def _describe_keys(base: dict[str, JSONValue]) -> str:
    if not base:
        return "are none"
    names = [_shorten_key(name) for name, _ in zip(base, range(8), strict=False)]
    more = f" and {len(base) - 8} more" if len(base) > 8 else ""
    return f"are {', '.join(names)}{more}"


def _slice_value(meter: Meter, base: JSONValue, lower: JSONValue, upper: JSONValue) -> JSONValue:
    bounds: list[int | None] = []
    for bound in (lower, upper):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise EvaluationError(f"a slice needs whole numbers, not {fn.describe_kind(bound)}")
        bounds.append(bound)
    if not isinstance(base, list | str):
        raise EvaluationError(f"cannot take a slice of {fn.describe_kind(base)}")
    # Charged afterwards, as a part is never larger than what exists already.
    part = base[bounds[0] : bounds[1]]
    meter.charge_work(len(part) // (64 if isinstance(part, str) else 1))
    return part


def _check_arity(name: str, count: int, fewest: int, most: int) -> None:
    if not fewest <= count <= most:
        expected = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise EvaluationError(
            f"{name}() takes {expected} argument{'' if expected == '1' else 's'}, not {count}"
        )


def _apply_function(
    frame: Frame, name: str, function: fn.Function, args: list[Evaluator]
) -> JSONValue:
    values = [arg(frame) for arg in args]
    try:
        return function(frame.meter, values)
    except EvaluationError as error:
        error.args = (f"{name}() {error}",)
        raise


def _evaluate_or_none(frame: Frame, value: Evaluator) -> JSONValue:
    try:
        return value(frame)
    except MissingValue:
        return None


def _evaluate_comprehension(
    frame: Frame, source: Evaluator, tests: list[Evaluator], value: Evaluator
) -> JSONValue:
    results: list[JSONValue] = []
    for item in fn.require_list(frame.meter, source(frame)):
        frame.item = item
        if all(test(frame) for test in tests):
            results.append(value(frame))
    return results


def _add(meter: Meter, left: JSONValue, right: JSONValue) -> JSONValue:
    if isinstance(left, str) and isinstance(right, str):
        meter.charge_text(len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        meter.charge_work(len(left) + len(right))
        return left + right
    if isinstance(left, str) or isinstance(right, str):
        raise EvaluationError(
            f"cannot add {fn.describe_kind(left)} and {fn.describe_kind(right)}; use str(...)"
        )
    return fn.require_finite(fn.require_number(left) + fn.require_number(right))


def _subtract(meter: Meter, left: JSONValue, right: JSONValue) -> JSONValue:
    return fn.require_finite(fn.require_number(left) - fn.require_number(right))


def _multiply(meter: Meter, left: JSONValue, right: JSONValue) -> JSONValue:
    return fn.require_finite(fn.require_number(left) * fn.require_number(right))


def _divide(meter: Meter, left: JSONValue, right: JSONValue) -> JSONValue:
    return fn.require_finite(fn.require_number(left) / _require_divisor(right))


def _modulo(meter: Meter, left: JSONValue, right: JSONValue) -> JSONValue:
    return fn.require_finite(fn.require_number(left) % _require_divisor(right))


def _require_divisor(value: JSONValue) -> int | float:
    if not fn.require_number(value):
        raise EvaluationError("divides by zero")
    return fn.require_number(value)


def _operator_sign(op: ast.operator) -> str:
    return {"Pow": "**", "FloorDiv": "//", "MatMult": "@"}.get(type(op).__name__, "used here")


_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Meter, JSONValue, JSONValue], JSONValue]]] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _multiply,
    ast.Div: _divide,
    ast.Mod: _modulo,
}

_COMPARISONS: Final[dict[type[ast.cmpop], _Comparison]] = {
    ast.Eq: fn.is_equal,
    ast.NotEq: lambda meter, left, right: not fn.is_equal(meter, left, right),
    ast.Lt: fn.is_less,
    ast.LtE: lambda meter, left, right: not fn.is_less(meter, right, left),
    ast.Gt: lambda meter, left, right: fn.is_less(meter, right, left),
    ast.GtE: lambda meter, left, right: not fn.is_less(meter, left, right),
    ast.In: fn.contains,
    ast.NotIn: lambda meter, left, right: not fn.contains(meter, left, right),
}
