"""What expressions cost, how many arguments functions take, and where exactly the bounds lie."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.expressions import compiler, functions
from agenthive.core.expressions.functions import (
    FUNCTIONS,
    MAX_OUTPUT,
    MAX_STEPS,
    EvaluationError,
    Meter,
    require_finite,
)
from agenthive.core.expressions.template import MAX_LENGTH, Template, compile_expression
from agenthive.errors import ExpressionError

ARITY = {
    "abs": (1, 1),
    "all": (1, 1),
    "any": (1, 1),
    "bool": (1, 1),
    "first": (1, 1),
    "float": (1, 1),
    "int": (1, 1),
    "join": (1, 2),
    "json": (1, 1),
    "keys": (1, 1),
    "last": (1, 1),
    "len": (1, 1),
    "lower": (1, 1),
    "max": (1, 100),
    "min": (1, 100),
    "parse_json": (1, 1),
    "range": (1, 2),
    "replace": (3, 3),
    "round": (1, 2),
    "size": (1, 1),
    "sort": (1, 1),
    "split": (1, 2),
    "str": (1, 1),
    "sum": (1, 1),
    "trim": (1, 1),
    "upper": (1, 1),
    "values": (1, 1),
}


def test_arity() -> None:
    assert {name: bounds for name, (_, *bounds) in FUNCTIONS.items()} == {
        name: list(bounds) for name, bounds in ARITY.items()
    }


@pytest.mark.parametrize("name", ARITY)
def test_too_few_and_too_many_arguments(name: str) -> None:
    fewest, most = ARITY[name]
    wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
    plural = "" if wanted == "1" else "s"
    for given in (fewest - 1, most + 1):
        with pytest.raises(ExpressionError) as refused:
            compile_expression(f"{name}({', '.join(['1'] * given)})")
        assert f"{name}() takes {wanted} argument{plural}, not {given}" in refused.value.message


T = "t" * 640
SCOPE: dict[str, Any] = {
    "inputs": {
        "t": T,
        "u": T + "x",
        "n": [3, 1, 2],
        "s": ["bb", "aaaaaaaa"],
        "m": {"a": 1, "bc": T},
        "csv": "a,b,c",
        "j": "[1]",
        "spaces": "a b c d",
    }
}
COSTS: list[tuple[str, int]] = [
    ("1", 1),
    ("inputs.t", 2),
    ("inputs.t[:128]", 6),
    ("inputs.n[1:]", 6),
    ("inputs.t == inputs.u", 15),
    ("inputs.t == inputs.t", 15),
    ("inputs.t < inputs.u", 15),
    ("'x' in inputs.t", 15),
    ("1 in inputs.n", 7),
    ("'a' in inputs.m", 4),
    ("lower(inputs.t)", 14),
    ("upper(inputs.t)", 14),
    ("trim(inputs.t)", 14),
    ("join(inputs.s)", 6),
    ("join(inputs.s, inputs.t)", 28),
    ("split(inputs.spaces)", 7),
    ("split(inputs.csv, ',')", 7),
    ("replace(inputs.t, 't', 'tt')", 37),
    ("replace(inputs.u, 'x', '')", 27),
    ("sort(inputs.n)", 18),
    ("sort(inputs.s)", 14),
    ("range(7)", 9),
    ("range(3, 7)", 7),
    ("sum(inputs.n)", 6),
    ("values(inputs.m)", 5),
    ("all(inputs.n)", 6),
    ("parse_json(inputs.j)", 4),
    ("str(inputs.t)", 3),
    ("json(inputs.m)", 24),
    ("[i for i in inputs.n]", 9),
    ("[i for i in inputs.n if i > 1]", 17),
    ("inputs.t + inputs.t", 26),
]


@pytest.mark.parametrize(("text", "cost"), COSTS)
def test_costs(text: str, cost: int) -> None:
    """Work is counted in proportion to what is looked at or made."""
    meter = Meter()
    compile_expression(text).evaluate_metered(SCOPE, meter)
    assert MAX_STEPS - meter.steps == cost


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (None, 2),
        ("abc", 5),
        ([], 2),
        ([1, 2], 8),
        ({"ab": 1}, 8),
        ({"a": ["xy"], "b": "z"}, 18),
    ],
)
def test_sizes(value: Any, size: int) -> None:
    assert Meter().measure_size(value) == size


def test_measuring_is_work() -> None:
    meter = Meter()
    meter.measure_size("x" * 126)
    assert MAX_STEPS - meter.steps == 2


def test_where_the_bounds_lie() -> None:
    meter = Meter()
    meter.charge_work(MAX_STEPS)
    with pytest.raises(EvaluationError, match="250,000 steps"):
        meter.charge_work(1)
    Meter().charge_text(MAX_OUTPUT)
    with pytest.raises(EvaluationError, match="4,194,304 characters"):
        Meter().charge_text(MAX_OUTPUT + 1)
    assert Meter().measure_size("x" * (MAX_OUTPUT - 2)) == MAX_OUTPUT
    with pytest.raises(EvaluationError, match="4,194,304 characters"):
        Meter().measure_size("x" * (MAX_OUTPUT - 1))
    with pytest.raises(EvaluationError, match="4,194,304 characters"):
        Meter().measure_size([None] * (MAX_OUTPUT // 3))
    meter = Meter()
    meter.charge_output("x" * (MAX_OUTPUT - 2))
    with pytest.raises(EvaluationError, match="4,194,304 characters"):
        meter.charge_output("")
    assert require_finite(2**63 - 1) == 2**63 - 1
    assert require_finite(-(2**63)) == -(2**63)
    for number in (2**63, -(2**63) - 1):
        with pytest.raises(EvaluationError, match="more than 64 bits"):
            require_finite(number)


def test_how_deep() -> None:
    most = compiler.MAX_DEPTH
    assert most == 64
    compile_expression("(" * 50 + "-" * (most - 1) + "1" + ")" * 50)
    with pytest.raises(ExpressionError, match=f"nests more than {most} deep"):
        compile_expression("-" * most + "1")


def test_how_long() -> None:
    fits = "{{" + "1".ljust(MAX_LENGTH) + "}}"
    assert Template.compile({"x": fits}).render({}) == {"x": 1}
    with pytest.raises(ExpressionError, match=r"unclosed expression \{\{;"):
        Template.compile({"x": "{{" + "1".ljust(MAX_LENGTH + 1) + "}}"})


def test_names_are_shown_short_and_few() -> None:
    scope = {"inputs": {f"k{n}": n for n in range(8)} | {}}
    with pytest.raises(ExpressionError, match=r"'k7' \(in"):
        compile_expression("inputs.x").evaluate_metered(scope, Meter())
    scope["inputs"]["k8"] = 8
    with pytest.raises(ExpressionError, match=r"'k7' and 1 more \(in"):
        compile_expression("inputs.x").evaluate_metered(scope, Meter())
    for length, shown in ((40, "'" + "y" * 40 + "'"), (41, "'" + "y" * 40 + "...'")):
        with pytest.raises(ExpressionError) as refused:
            compile_expression(f"inputs.{'y' * length}").evaluate_metered({"inputs": {}}, Meter())
        assert f"no key {shown}; there are none" in refused.value.message


def test_columns_count_characters() -> None:
    with pytest.raises(ExpressionError, match=r"^column 8"):
        compile_expression("'éé' + nobody")
    with pytest.raises(ExpressionError, match=r"^column 8"):
        compile_expression("'ee' + nobody")


def test_one_name_one_place() -> None:
    """The name of an item is known inside its comprehension and nowhere else."""
    with pytest.raises(ExpressionError, match="unknown name 'i'"):
        compile_expression("[[i for i in [1]], i]")


def test_where_in_a_text() -> None:
    for text, place in (
        ("{{ nobody }}", "^x: column"),
        (" {{ nobody }}", "line 1, character 2 "),
        ("\n{{ nobody }}", "line 2, character 1 "),
    ):
        with pytest.raises(ExpressionError, match=place):
            Template.compile({"x": text})


def test_functions_by_value() -> None:
    for text, value in (
        ("values({'a': 1, 'b': 2})", [1, 2]),
        ("bool(inputs.none)", False),
        ("bool('x')", True),
        ("json([1, null])", "[1,null]"),
        ("all([1, 0])", False),
        ("all([1, 2])", True),
        ("all([])", True),
        ("any([0, 1])", True),
        ("keys({'a': 1})", ["a"]),
        ("1 < 3 < 2", False),
        ("3 > 1 < 2", True),
        ("max([5])", 5),
        ("min([7])", 7),
        ("'zz' in {'a': 1}", False),
        ("1 in {'a': 1}", False),
        ("[] == {}", False),
        ("{} == []", False),
        ("2 in [1, 2]", True),
        ("3 in [1, 2]", False),
        ("range(2, 4)", [2, 3]),
        ("sort([2, 1])", [1, 2]),
        ("float('1.5')", 1.5),
        ("int('12')", 12),
        (f"size([{', '.join(['1'] * 200)}])", 200),
    ):
        assert (
            compile_expression(text).evaluate_metered({"inputs": {"none": None}}, Meter()) == value
        )
    assert functions.describe_kind({}) == "a map"
