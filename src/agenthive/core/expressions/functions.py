"""The functions that an expression may call, and the meter that bounds what they may do.

Every function takes JSON values and returns a JSON value; none ever sees Python attributes, or runs
a pattern or a format of the user. A function charges the meter for what it is about to build before
it builds it, so that nothing large ever exists. An error is an `EvaluationError`; the compiler adds
the column.

To add one: write it below, add it to `FUNCTIONS` with the numbers of arguments that it takes, a row
in the tests and a line in the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from agenthive.core.values import JSONValue

MAX_STEPS: Final = 250_000
"""Units of work of one evaluation, or one rendering of a template, at most.

About one unit for each node evaluated, item visited, or 64 characters of text.
"""

MAX_OUTPUT: Final = 4 << 20
"""Characters that one evaluation, or one rendering of a template, may produce; approximately."""

MAX_INT: Final = 2**63 - 1
"""The largest whole number, that of 64 bits: the journal and its readers keep it exactly."""

Function = Callable[["Meter", Sequence[JSONValue]], JSONValue]


class EvaluationError(Exception):
    """An error in an expression."""

    #: Column in the expression, from 1; 0 until the compiler's closures have set it.
    column = 0


class MissingValue(EvaluationError):
    """A look-up found nothing; ``has`` and ``default`` catch it."""


class Meter:
    """Counts the work and the output of one evaluation and stops it at the bounds."""

    __slots__ = ("output", "steps")

    def __init__(self) -> None:
        #: Units of work that are left.
        self.steps = MAX_STEPS
        #: Characters of output that are left.
        self.output = MAX_OUTPUT

    def charge_work(self, units: int) -> None:
        """Charge ``units`` of work. Raises EvaluationError when none are left."""
        self.steps -= units
        if self.steps < 0:
            raise EvaluationError(f"takes more than {MAX_STEPS:,} steps")

    def charge_text(self, length: int) -> None:
        """Charge for a text of ``length`` characters that is about to be built."""
        if length > MAX_OUTPUT:
            raise EvaluationError(f"makes a text of more than {MAX_OUTPUT:,} characters")
        self.charge_work(1 + length // 64)

    def charge_output(self, value: JSONValue) -> None:
        """Charge for a finished value that becomes output."""
        self.output -= self.measure_size(value)
        if self.output < 0:
            raise EvaluationError(f"produces more than {MAX_OUTPUT:,} characters")

    def measure_size(self, value: JSONValue) -> int:
        """The characters of ``value`` as JSON, approximately; stops counting beyond the bound.

        A value that an expression builds may contain one large part many times, at no cost in
        memory until it is written. So it is measured by walking it, never by writing it.
        """
        total, stack = 0, [value]
        while stack:
            item = stack.pop()
            total += 2
            if isinstance(item, str):
                total += len(item)
            elif isinstance(item, list):
                stack.extend(item)
                total += len(item)
            elif isinstance(item, dict):
                stack.extend(item.values())
                total += sum(map(len, item)) + 2 * len(item)
            # The stack counts too: every value on it has at least one character.
            if total + len(stack) > MAX_OUTPUT:
                raise EvaluationError(f"produces more than {MAX_OUTPUT:,} characters")
        self.charge_work(total // 64)
        return total


def describe_kind(value: JSONValue) -> str:
    """The type of a value, as messages name it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a map"


def require_number(value: JSONValue) -> int | float:
    """The value if it is a number; true and false are not. Raises EvaluationError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EvaluationError(f"needs a number, not {describe_kind(value)}")
    return value


def require_finite(value: int | float) -> int | float:
    """The number if JSON can carry it exactly: finite, and of 64 bits if it is whole."""
    if isinstance(value, float) and not math.isfinite(value):
        raise EvaluationError("gives a number that is not finite")
    if isinstance(value, int) and not -MAX_INT - 1 <= value <= MAX_INT:
        raise EvaluationError("gives a whole number of more than 64 bits")
    return value


def require_text(value: JSONValue) -> str:
    """The value if it is text. Raises EvaluationError."""
    if not isinstance(value, str):
        raise EvaluationError(f"needs text, not {describe_kind(value)}")
    return value


def require_list(meter: Meter, value: JSONValue) -> list[JSONValue]:
    """The value if it is a list, charged for a walk over it. Raises EvaluationError."""
    if not isinstance(value, list):
        raise EvaluationError(f"needs a list, not {describe_kind(value)}")
    meter.charge_work(len(value))
    return value


def as_json(meter: Meter, value: JSONValue) -> str:
    """The value as compact JSON."""
    meter.charge_text(meter.measure_size(value))
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeError, RecursionError) as fault:
        raise EvaluationError("cannot be written as JSON") from fault


def as_text(meter: Meter, value: JSONValue) -> str:
    """The value if it is text, else its compact JSON."""
    return value if isinstance(value, str) else as_json(meter, value)


def is_equal(meter: Meter, left: JSONValue, right: JSONValue) -> bool:
    """Equality of JSON values, charged for the size of what is compared."""
    # One side is enough: the comparison ends where the other one differs or ends.
    if isinstance(left, list | dict) and isinstance(right, list | dict):
        meter.measure_size(left)
    elif isinstance(left, str) and isinstance(right, str):
        meter.charge_work(len(left) // 64)
    return left == right


def contains(meter: Meter, needle: JSONValue, hay: JSONValue) -> bool:
    """``needle in hay``: an item of a list, a key of a map, a part of a text."""
    match hay:
        case str():
            meter.charge_work(1 + len(hay) // 64)
            return require_text(needle) in hay
        case dict():
            return isinstance(needle, str) and needle in hay
        case list():
            meter.charge_work(len(hay))
            return any(is_equal(meter, item, needle) for item in hay)
        case _:
            raise EvaluationError(
                f"'in' needs a list, a map or text on its right, not {describe_kind(hay)}"
            )


def is_less(meter: Meter, left: JSONValue, right: JSONValue) -> bool:
    """``left < right`` for two numbers or two texts."""
    if isinstance(left, str) and isinstance(right, str):
        meter.charge_work(min(len(left), len(right)) // 64)
        return left < right
    if isinstance(left, str) or isinstance(right, str):
        raise EvaluationError(f"cannot order {describe_kind(left)} and {describe_kind(right)}")
    return require_number(left) < require_number(right)


def _length(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = args[0]
    if not isinstance(value, str | list | dict):
        raise EvaluationError(f"needs text, a list or a map, not {describe_kind(value)}")
    return len(value)


def _lower(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = require_text(args[0])
    meter.charge_text(len(value))
    return value.lower()


def _upper(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = require_text(args[0])
    meter.charge_text(len(value))
    return value.upper()


def _trim(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = require_text(args[0])
    meter.charge_text(len(value))
    return value.strip()


def _join(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    glue = require_text(args[1]) if len(args) > 1 else ""
    parts = [require_text(item) for item in require_list(meter, args[0])]
    meter.charge_text(sum(map(len, parts)) + len(glue) * len(parts))
    return glue.join(parts)


def _split(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = require_text(args[0])
    meter.charge_text(len(value))
    if len(args) == 1:
        meter.charge_work(len(value) // 2)
        return list(value.split())
    separator = require_text(args[1])
    if not separator:
        raise EvaluationError("cannot split at an empty text")
    meter.charge_work(value.count(separator))
    return list(value.split(separator))


def _replace(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value, old, new = require_text(args[0]), require_text(args[1]), require_text(args[2])
    if not old:
        raise EvaluationError("cannot replace an empty text")
    # First for the search, then for the text that it leads to.
    meter.charge_text(len(value))
    meter.charge_text(len(value) + value.count(old) * (len(new) - len(old)))
    return value.replace(old, new)


def _keys(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return list(_require_map(meter, args[0]))


def _values(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return list(_require_map(meter, args[0]).values())


def _require_map(meter: Meter, value: JSONValue) -> dict[str, JSONValue]:
    if not isinstance(value, dict):
        raise EvaluationError(f"needs a map, not {describe_kind(value)}")
    meter.charge_work(len(value))
    return value


def _first(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return _pick_end(args[0], 0)


def _last(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return _pick_end(args[0], -1)


def _pick_end(value: JSONValue, index: int) -> JSONValue:
    if not isinstance(value, list | str):
        raise EvaluationError(f"needs a list or text, not {describe_kind(value)}")
    if not value:
        raise MissingValue("is empty")
    return value[index]


def _list_choices(meter: Meter, args: Sequence[JSONValue]) -> Sequence[JSONValue]:
    choices = require_list(meter, args[0]) if len(args) == 1 else args
    if not choices:
        raise MissingValue("has nothing to choose from")
    return choices


def _min(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return _pick_best(_list_choices(meter, args), lambda left, right: is_less(meter, left, right))


def _max(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return _pick_best(_list_choices(meter, args), lambda left, right: is_less(meter, right, left))


def _pick_best(
    choices: Sequence[JSONValue], better: Callable[[JSONValue, JSONValue], bool]
) -> JSONValue:
    best = choices[0]
    # One value is compared with itself, so that its type is checked too.
    better(best, best)
    for item in choices[1:]:
        if better(item, best):
            best = item
    return best


def _sum(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return _sum_numbers(require_list(meter, args[0]))


def _sum_numbers(numbers: Iterable[JSONValue]) -> int | float:
    total: int | float = 0
    for item in numbers:
        total = require_finite(total + require_number(item))
    return total


def _round(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = require_number(args[0])
    if len(args) == 1:
        return require_finite(round(value))
    digits = require_number(args[1])
    if not isinstance(digits, int) or not 0 <= digits <= 20:
        raise EvaluationError("rounds to a whole number of digits from 0 to 20")
    return require_finite(round(value, digits))


def _abs(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return require_finite(abs(require_number(args[0])))


def _str(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return as_text(meter, args[0])


def _json(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return as_json(meter, args[0])


def _parse_json(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = require_text(args[0])
    meter.charge_text(len(value))
    try:
        result: JSONValue = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        raise EvaluationError("is not JSON") from fault
    return result


def _int(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = args[0]
    if isinstance(value, str):
        return require_finite(_parse_number(value, int))
    return require_finite(int(require_number(value)))


def _float(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = args[0]
    if isinstance(value, str):
        return require_finite(_parse_number(value, float))
    return require_finite(float(require_number(value)))


def _parse_number(value: str, convert: Callable[[str], int | float]) -> int | float:
    # Only the beginning: Python converts a long text in quadratic time.
    try:
        return convert(value[:100])
    except ValueError as fault:
        raise EvaluationError("is not a number") from fault


def _bool(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return bool(args[0])


def _range(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    bounds = [require_number(arg) for arg in args]
    start, stop = (0, bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[1])
    if not isinstance(start, int) or not isinstance(stop, int):
        raise EvaluationError("needs whole numbers")
    meter.charge_work(max(0, stop - start))
    return list(range(start, stop))


def _sort(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    values = require_list(meter, args[0])
    # Sorting takes n log n comparisons; a fixed factor is enough for the lengths that fit.
    meter.charge_work(4 * len(values))
    if all(isinstance(item, str) for item in values):
        meter.charge_work(sum(len(require_text(item)) for item in values) // 8)
        return sorted(values, key=require_text)
    return sorted(values, key=require_number)


def _any(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return any(require_list(meter, args[0]))


def _all(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return all(require_list(meter, args[0]))


FUNCTIONS: Final[dict[str, tuple[Function, int, int]]] = {
    "abs": (_abs, 1, 1),
    "all": (_all, 1, 1),
    "any": (_any, 1, 1),
    "bool": (_bool, 1, 1),
    "first": (_first, 1, 1),
    "float": (_float, 1, 1),
    "int": (_int, 1, 1),
    "join": (_join, 1, 2),
    "json": (_json, 1, 1),
    "keys": (_keys, 1, 1),
    "last": (_last, 1, 1),
    "len": (_length, 1, 1),
    "lower": (_lower, 1, 1),
    "max": (_max, 1, 100),
    "min": (_min, 1, 100),
    "parse_json": (_parse_json, 1, 1),
    "range": (_range, 1, 2),
    "replace": (_replace, 3, 3),
    "round": (_round, 1, 2),
    "size": (_length, 1, 1),
    "sort": (_sort, 1, 1),
    "split": (_split, 1, 2),
    "str": (_str, 1, 1),
    "sum": (_sum, 1, 1),
    "trim": (_trim, 1, 1),
    "upper": (_upper, 1, 1),
    "values": (_values, 1, 1),
}
"""Name -> (function, fewest arguments, most arguments); `compiler` adds ``has`` and ``default``."""
