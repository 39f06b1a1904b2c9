"""The functions an expression may call, and the meter that bounds what they may do.

Every function takes JSON values and gives a JSON value; none sees Python attributes, patterns or
formats of the user. What a call builds is announced to the meter before it is built, so nothing
large ever exists. To add one: write it below, add it to `FUNCTIONS` with the numbers of arguments
it takes, and add a row to the tests. A fault is an `Oops`; the evaluator adds the place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from agenthive.core.values import JSONValue

MAX_STEPS: Final = 250_000
"""Units of work one evaluation may take: about one for each node visited or item produced."""

MAX_OUTPUT: Final = 4 << 20
"""Characters (about) that one evaluation, or one rendering of a template, may produce."""

MAX_INT: Final = 2**63 - 1

Function = Callable[["Meter", Sequence[JSONValue]], JSONValue]


class Oops(Exception):
    """A fault of evaluation. ``column`` (from 1) is 0 until the evaluator has filled it in."""

    column = 0


class Missing(Oops):
    """A look-up found nothing: what ``has`` and ``default`` forgive."""


class Meter:
    """Counts the work and the output of one evaluation and stops it at the bounds."""

    __slots__ = ("output", "steps")

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self.output = MAX_OUTPUT

    def work(self, units: int) -> None:
        """Take ``units`` of work off the account."""
        self.steps -= units
        if self.steps < 0:
            raise Oops(f"takes more than {MAX_STEPS:,} steps")

    def text(self, length: int) -> None:
        """Announce a new text of ``length`` characters."""
        if length > MAX_OUTPUT:
            raise Oops(f"makes a text of more than {MAX_OUTPUT:,} characters")
        self.work(1 + length // 64)

    def produced(self, value: JSONValue) -> None:
        """Take the size of a finished value off what may be produced."""
        self.output -= self.size(value)
        if self.output < 0:
            raise Oops(f"produces more than {MAX_OUTPUT:,} characters")

    def size(self, value: JSONValue) -> int:
        """About how many characters ``value`` is as JSON; stops counting past the bound.

        A value built by an expression may hold one large part many times, so it is measured by
        walking it, never by writing it.
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
            if total + len(stack) > MAX_OUTPUT:
                raise Oops(f"produces more than {MAX_OUTPUT:,} characters")
        self.work(total // 64)
        return total


def kind(value: JSONValue) -> str:
    """What a value is, in the words of an author."""
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


def number(value: JSONValue) -> int | float:
    """The value if it is a number (true and false are not)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Oops(f"needs a number, not {kind(value)}")
    return value


def finite(value: int | float) -> int | float:
    """The number, if JSON can carry it exactly."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Oops("gives a number that is not finite")
    if isinstance(value, int) and not -MAX_INT - 1 <= value <= MAX_INT:
        raise Oops("gives a whole number of more than 64 bits")
    return value


def text(value: JSONValue) -> str:
    """The value if it is text."""
    if not isinstance(value, str):
        raise Oops(f"needs text, not {kind(value)}")
    return value


def items(meter: Meter, value: JSONValue) -> list[JSONValue]:
    """The value if it is a list; looking at it costs its length."""
    if not isinstance(value, list):
        raise Oops(f"needs a list, not {kind(value)}")
    meter.work(len(value))
    return value


def as_json(meter: Meter, value: JSONValue) -> str:
    """Compact JSON text of a value."""
    meter.text(meter.size(value))
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeError, RecursionError) as fault:
        raise Oops("cannot be written as JSON") from fault


def as_text(meter: Meter, value: JSONValue) -> str:
    """Text as it is, anything else as compact JSON."""
    return value if isinstance(value, str) else as_json(meter, value)


def equal(meter: Meter, left: JSONValue, right: JSONValue) -> bool:
    """Equality of JSON values; comparing two collections costs their size."""
    if isinstance(left, list | dict) and isinstance(right, list | dict):
        meter.size(left)
    elif isinstance(left, str) and isinstance(right, str):
        meter.work(len(left) // 64)
    return left == right


def contains(meter: Meter, needle: JSONValue, hay: JSONValue) -> bool:
    """``needle in hay``: an item of a list, a key of a map, a part of a text."""
    match hay:
        case str():
            meter.work(1 + len(hay) // 64)
            return text(needle) in hay
        case dict():
            return isinstance(needle, str) and needle in hay
        case list():
            meter.work(len(hay))
            return any(equal(meter, item, needle) for item in hay)
        case _:
            raise Oops(f"'in' needs a list, a map or text on its right, not {kind(hay)}")


def less(meter: Meter, left: JSONValue, right: JSONValue) -> bool:
    """``left < right`` for two numbers or two texts."""
    if isinstance(left, str) and isinstance(right, str):
        meter.work(min(len(left), len(right)) // 64)
        return left < right
    if isinstance(left, str) or isinstance(right, str):
        raise Oops(f"cannot order {kind(left)} and {kind(right)}")
    return number(left) < number(right)


def _size(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = args[0]
    if not isinstance(value, str | list | dict):
        raise Oops(f"needs text, a list or a map, not {kind(value)}")
    return len(value)


def _lower(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = text(args[0])
    meter.text(len(value))
    return value.lower()


def _upper(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = text(args[0])
    meter.text(len(value))
    return value.upper()


def _trim(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = text(args[0])
    meter.text(len(value))
    return value.strip()


def _join(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    glue = text(args[1]) if len(args) > 1 else ""
    parts = [text(item) for item in items(meter, args[0])]
    meter.text(sum(map(len, parts)) + len(glue) * len(parts))
    return glue.join(parts)


def _split(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = text(args[0])
    meter.text(len(value))
    if len(args) == 1:
        meter.work(len(value) // 2)
        return list(value.split())
    separator = text(args[1])
    if not separator:
        raise Oops("cannot split at an empty text")
    meter.work(value.count(separator))
    return list(value.split(separator))


def _replace(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value, old, new = text(args[0]), text(args[1]), text(args[2])
    if not old:
        raise Oops("cannot replace an empty text")
    meter.text(len(value))
    meter.text(len(value) + value.count(old) * (len(new) - len(old)))
    return value.replace(old, new)


def _keys(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return list(_map(meter, args[0]))


def _values(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return list(_map(meter, args[0]).values())


def _map(meter: Meter, value: JSONValue) -> dict[str, JSONValue]:
    if not isinstance(value, dict):
        raise Oops(f"needs a map, not {kind(value)}")
    meter.work(len(value))
    return value


def _first(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return _end(args[0], 0)


def _last(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return _end(args[0], -1)


def _end(value: JSONValue, index: int) -> JSONValue:
    if not isinstance(value, list | str):
        raise Oops(f"needs a list or text, not {kind(value)}")
    if not value:
        raise Missing("is empty")
    return value[index]


def _several(meter: Meter, args: Sequence[JSONValue]) -> Sequence[JSONValue]:
    found = items(meter, args[0]) if len(args) == 1 else args
    if not found:
        raise Missing("has nothing to choose from")
    return found


def _min(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return _best(_several(meter, args), lambda left, right: less(meter, left, right))


def _max(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return _best(_several(meter, args), lambda left, right: less(meter, right, left))


def _best(found: Sequence[JSONValue], better: Callable[[JSONValue, JSONValue], bool]) -> JSONValue:
    best = found[0]
    better(best, best)
    for item in found[1:]:
        if better(item, best):
            best = item
    return best


def _sum(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return _total(items(meter, args[0]))


def _total(found: Iterable[JSONValue]) -> int | float:
    total: int | float = 0
    for item in found:
        total = finite(total + number(item))
    return total


def _round(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = number(args[0])
    if len(args) == 1:
        return finite(round(value))
    digits = number(args[1])
    if not isinstance(digits, int) or not 0 <= digits <= 20:
        raise Oops("rounds to a whole number of digits from 0 to 20")
    return finite(round(value, digits))


def _abs(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return finite(abs(number(args[0])))


def _str(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return as_text(meter, args[0])


def _json(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return as_json(meter, args[0])


def _parse_json(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = text(args[0])
    meter.text(len(value))
    try:
        found: JSONValue = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        raise Oops("is not JSON") from fault
    return found


def _int(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = args[0]
    if isinstance(value, str):
        return finite(_parsed(value, int))
    return finite(int(number(value)))


def _float(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    value = args[0]
    if isinstance(value, str):
        return finite(_parsed(value, float))
    return finite(float(number(value)))


def _parsed(value: str, make: Callable[[str], int | float]) -> int | float:
    try:
        return make(value[:100])
    except ValueError as fault:
        raise Oops("is not a number") from fault


def _bool(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return bool(args[0])


def _range(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    bounds = [number(arg) for arg in args]
    start, stop = (0, bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[1])
    if not isinstance(start, int) or not isinstance(stop, int):
        raise Oops("needs whole numbers")
    meter.work(max(0, stop - start))
    return list(range(start, stop))


def _sort(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    found = items(meter, args[0])
    meter.work(4 * len(found))
    if all(isinstance(item, str) for item in found):
        meter.work(sum(len(text(item)) for item in found) // 8)
        return sorted(found, key=text)
    return sorted(found, key=number)


def _any(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return any(items(meter, args[0]))


def _all(meter: Meter, args: Sequence[JSONValue]) -> JSONValue:
    return all(items(meter, args[0]))


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
    "len": (_size, 1, 1),
    "lower": (_lower, 1, 1),
    "max": (_max, 1, 100),
    "min": (_min, 1, 100),
    "parse_json": (_parse_json, 1, 1),
    "range": (_range, 1, 2),
    "replace": (_replace, 3, 3),
    "round": (_round, 1, 2),
    "size": (_size, 1, 1),
    "sort": (_sort, 1, 1),
    "split": (_split, 1, 2),
    "str": (_str, 1, 1),
    "sum": (_sum, 1, 1),
    "trim": (_trim, 1, 1),
    "upper": (_upper, 1, 1),
    "values": (_values, 1, 1),
}
"""Name -> (function, fewest, most arguments). ``has`` and ``default`` are of the evaluator."""
