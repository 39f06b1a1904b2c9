"""Expressions: what they give, what they refuse, and that nothing hostile takes long."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthive.core.expressions.functions import FUNCTIONS
from agenthive.core.expressions.template import MAX_LENGTH, Template, compile_expression
from agenthive.errors import ExpressionError

SCOPE: dict[str, Any] = {
    "tasks": {
        "fetch": {"result": {"items": [{"title": "T", "n": 2}, {"title": "U", "n": 3}]}},
        "my-task": {"result": None},
        "words": {"result": "Hello, big World"},
    },
    "inputs": {
        "topic": "bees",
        "n": 7,
        "list": [3, 1, 2],
        "big": list(range(20_000)),
        "half": "\ud800",
    },
    "run": {"id": "r1"},
}

GIVES: list[tuple[str, Any]] = [
    ("tasks.fetch.result.items[0].title", "T"),
    ("tasks.fetch.result.items[-1]['n']", 3),
    ('tasks["my-task"].result', None),
    ("inputs.topic", "bees"),
    ("run.id", "r1"),
    ("1 + 2 * 3 - 7 % 4 / 2", 5.5),
    ("-(3) + +1", -2),
    ("7 / 2", 3.5),
    ("'a' + 'b'", "ab"),
    ("[1] + [2]", [1, 2]),
    ("1 < 2 <= 2 != 3", True),
    ("2 > 3", False),
    ("3 >= 3 and 'a' < 'b'", True),
    ("1 == 1.0", True),
    ("'b' in 'abc'", True),
    ("'title' in tasks.fetch.result.items[0]", True),
    ("5 not in inputs.list", True),
    ("not true", False),
    ("inputs.zero if false else null", None),
    ("0 or 'x'", "x"),
    ("0 and 'x'", 0),
    ("True and None", None),
    ("inputs.list[1:]", [1, 2]),
    ("inputs.topic[:2]", "be"),
    ("[i.title for i in tasks.fetch.result.items if i.n > 2]", ["U"]),
    ("sum(i.n for i in tasks.fetch.result.items)", 5),
    ("{'a': [1, {'b': inputs.n}]}", {"a": [1, {"b": 7}]}),
    ("size('abc') + len([1]) + size({'a': 1})", 5),
    ("default(inputs.nothing.at.all, 4)", 4),
    ("default(tasks['my-task'].result, 4)", 4),
    ("default(inputs.n, 4)", 7),
    ("default(inputs.list[9], 4)", 4),
    ("has(inputs.topic)", True),
    ("has(inputs.topik)", False),
    ("has(tasks['my-task'].result.x)", False),
    ("lower('AB') + upper('c') + trim('  d ')", "abCd"),
    ("join(['a', 'b'], ', ')", "a, b"),
    ("join(['a', 'b'])", "ab"),
    ("split('a b  c')", ["a", "b", "c"]),
    ("split('a,b', ',')", ["a", "b"]),
    ("replace('aXbX', 'X', '--')", "a--b--"),
    ("keys({'x': 1, 'y': 2})", ["x", "y"]),
    ("values({'x': 1, 'y': 2})", [1, 2]),
    ("first(inputs.list) + last(inputs.list)", 5),
    ("min(inputs.list) + max(4, 9)", 10),
    ("min('b', 'a')", "a"),
    ("round(2.675, 1)", 2.7),
    ("round(2.5)", 2),
    ("abs(-3)", 3),
    ("str(12) + str('x') + str([1, null])", "12x[1,null]"),
    ("int('12') + int(2.9)", 14),
    ("float('1.5')", 1.5),
    ("float(2)", 2.0),
    ("'a' == 'a'", True),
    ("bool('')", False),
    ("json({'a': 'é'})", '{"a":"é"}'),
    ("parse_json('{\"a\": [1]}').a[0]", 1),
    ("range(3)", [0, 1, 2]),
    ("range(2, 4)", [2, 3]),
    ("sort(inputs.list)", [1, 2, 3]),
    ("sort(['b', 'a'])", ["a", "b"]),
    ("any([0, 1]) and not all([0, 1])", True),
    (" \n 1 +\n 2 ", 3),
]


@pytest.mark.parametrize(("text", "value"), GIVES)
def test_gives(text: str, value: Any) -> None:
    found = compile_expression(text).evaluate(SCOPE)
    assert found == value
    assert type(found) is type(value)


def test_every_function_has_a_row() -> None:
    rows = " ".join(text for text, _ in GIVES)
    assert [name for name in FUNCTIONS if f"{name}(" not in rows] == []


REFUSED = [
    ("", "empty"),
    ("   ", "empty"),
    ("1 +", "invalid syntax"),
    ("foo", "unknown name 'foo'"),
    ("tasks", "name of a task"),
    ("tasks[inputs.topic]", "in quotes"),
    ("[t for t in tasks]", "name of a task"),
    ("().__class__", "'__class__'"),
    ("inputs.__dict__", "'__dict__'"),
    ("__import__('os')", "unknown function '__import__'"),
    ("open('/etc/passwd')", "unknown function 'open'"),
    ("inputs.topic.upper()", "no methods; write upper(value"),
    ("upper(inputs.topic)()", "only the functions"),
    ("(lambda: 1)()", "only the functions"),
    ("lambda: 1", "lambda"),
    ("f'{1}'", "f-string"),
    ("(x := 1)", "':='"),
    ("{1, 2}", "a set"),
    ("(1, 2)", "a tuple"),
    ("{k: 1 for k in []}", "map comprehension"),
    ("{**inputs}", "'**'"),
    ("[*inputs.list]", "'*'"),
    ("2 ** 9", "**"),
    ("7 // 2", "//"),
    ("~1", "operator"),
    ("1 is None", "use =="),
    ("b'x'", "bytes"),
    ("1j", "complex"),
    ("...", "ellipsis"),
    ("[x for x in [1] for y in [2]]", "one 'for'"),
    ("[[y for y in x] for x in [[1]]]", "one 'for'"),
    ("[1 for a, b in [[1, 2]]]", "one plain name"),
    ("[1 for tasks in [1]]", "cannot be the name"),
    ("inputs.list[::2]", "step"),
    ("lower(x='a')", "named arguments"),
    ("lower()", "takes 1 argument, not 0"),
    ("join(1, 2, 3)", "1 to 2 arguments"),
    ("9999999999999999999999", "64 bits"),
    ("1e999", "not finite"),
    ("await x", "await"),
    ("yield", "column 1"),
    ("import os", "column 1"),
    ("1; 2", "column"),
    ("a\0b", "column 1"),
    ("'\ud800'", "column 1"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_refused_when_compiled(text: str, why: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert why in str(caught.value)
    assert "column" in str(caught.value)


FAULTS = [
    ("inputs.topik", "column 1: no key 'topik'; there are 'topic', 'n', 'list', 'big', 'half'"),
    ("1 + inputs.n.x", "column 5: cannot look up 'x' in a number"),
    ("inputs.list.x", "indexed by a whole number, not 'x'"),
    ("inputs.list[true]", "indexed by a whole number"),
    ("inputs.list[9]", "a list of length 3 has no item 9"),
    ("inputs[1]", "indexed by text"),
    ("tasks.gone.result", "no key 'gone'"),
    ("'a' * 1000000000", "needs a number, not text"),
    ("'%s' % 1", "needs a number"),
    ("'a' + 1", "use str("),
    ("true + 1", "needs a number, not true or false"),
    ("1 / 0", "divides by zero"),
    ("1 % 0", "divides by zero"),
    ("1e308 * 10", "not finite"),
    ("9223372036854775807 + 1", "64 bits"),
    ("int('x')", "int() is not a number"),
    ("float('nan')", "not finite"),
    ("split('a', '')", "empty text"),
    ("'a' < 1", "cannot order"),
    ("1 in 2", "'in' needs"),
    ("first([])", "is empty"),
    ("min([])", "nothing to choose"),
    ("sum(['a'])", "needs a number"),
    ("round(1.5, 99)", "from 0 to 20"),
    ("parse_json('{')", "is not JSON"),
    ("parse_json('NaN')", "is not JSON"),
    ("inputs.list['a':]", "whole numbers"),
    ("inputs.n[1:]", "slice of a number"),
    ("[x for x in 'abc']", "needs a list"),
    ("{1: 2}", "needs text"),
    ("1 + {}", "needs a number, not a map"),
    ("{}.a", "no key 'a'; there are none"),
    ("size(1)", "needs text, a list or a map"),
    ("replace('a', '', 'b')", "cannot replace an empty text"),
    ("keys([])", "needs a map, not a list"),
    ("first({})", "needs a list or text, not a map"),
    ("range(1.5)", "needs whole numbers"),
    ("json(inputs.half)", "cannot be written as JSON"),
]


@pytest.mark.parametrize(("text", "why"), FAULTS)
def test_faults_name_the_place(text: str, why: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text).evaluate(SCOPE)
    assert why in str(caught.value)
    assert str(caught.value).startswith("column ")


HOSTILE = {
    "a megabyte": "1+" * 500_000 + "1",
    "deep lists": "[" * 100_000,
    "deep lists within the length": "[" * 90 + "]" * 90,
    "parentheses": "(" * 4000,
    "nots": "not " * 1000 + "1",
    "minuses": "-" * 4000 + "1",
    "a long path": "run" + ".a" * 2000,
    "a huge range": "range(999999999)",
    "a loop": "[i for i in range(240000) if i in inputs.list]",
    "many copies as text": "json([inputs.big for x in inputs.big])",
    "many copies": "[inputs.big for x in inputs.big]",
    "many copies compared": "[inputs.big for x in inputs.big] == [inputs.big for y in inputs.big]",
    "long texts": "[join([str(inputs.big) for x in range(900)]) for y in [1]] if 0 else "
    + "join([str(inputs.big) for x in range(9000)])",
    "replaced": "replace(str(inputs.big), ',', str(inputs.big))",
    "copies in a sum": "[1 for x in inputs.big]" + " + inputs.big" * 30,
    "digits": "9" * 4000,
    "products": "*".join(["9999999999999"] * 30),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_is_refused_quickly(name: str) -> None:
    start = time.process_time()
    with pytest.raises(ExpressionError):
        compile_expression(HOSTILE[name]).evaluate(SCOPE)
    assert time.process_time() - start < 5


def test_deep_data_is_a_fault_not_a_crash() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for text in ("json(inputs.x)", "inputs.x == inputs.y", "str(inputs.x)"):
        with pytest.raises(ExpressionError):
            compile_expression(text).evaluate({"inputs": {"x": deep, "y": [deep]}})
    assert compile_expression("inputs.x").evaluate({"inputs": {"x": deep}}) is deep
    while deep:
        deep = deep.pop()


def test_names_that_are_read() -> None:
    found = compile_expression(
        'tasks.a.result + tasks["b"].result + default(inputs.x, inputs["y"])'
    )
    assert found.task_names == {"a", "b"}
    assert found.input_names == {"x", "y"}
    assert compile_expression("1 + 1").task_names == frozenset()


def test_shows_what_it_is() -> None:
    assert repr(compile_expression(" 1 + 1")) == "Expression(' 1 + 1')"


def test_compiled_once() -> None:
    assert compile_expression("inputs.topic") is compile_expression("inputs.topic")


def test_other_roots() -> None:
    assert compile_expression("item.n", {"item"}).evaluate({"item": {"n": 1}}) == 1
    with pytest.raises(ExpressionError, match="known here: item"):
        compile_expression("tasks.a", {"item"})


def test_root_that_is_not_there() -> None:
    with pytest.raises(ExpressionError, match="'run' is not known"):
        compile_expression("run.id").evaluate({})
    assert compile_expression("default(run.id, 1)").evaluate({}) == 1


TEMPLATES: list[tuple[Any, Any]] = [
    ("{{ inputs.list }}", [3, 1, 2]),
    ("{{inputs.n}}", 7),
    ("n={{ inputs.n }} l={{ inputs.list }} t={{ inputs.topic }}", "n=7 l=[3,1,2] t=bees"),
    ("{{{{ as is }}", "{{ as is }}"),
    ("{{{{{{ inputs.n }}", "{{7"),
    ("}} { } {", "}} { } {"),
    ("{{ '}}' }}", "}}"),
    ("{{ '\\'}}' }}", "'}}"),
    ("{{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
    ("{{ inputs.n }}\n", "7\n"),
    ({"a": ["x", {"b": "{{ run.id }}"}]}, {"a": ["x", {"b": "r1"}]}),
    ({"{{ key }}": 1}, {"{{ key }}": 1}),
]


@pytest.mark.parametrize(("value", "rendered"), TEMPLATES)
def test_templates(value: Any, rendered: Any) -> None:
    assert Template.compile(value).render(SCOPE) == rendered


def test_parts_without_expressions_are_the_same_objects() -> None:
    value = {"big": {"a": [1, 2]}, "text": "{{ run.id }}"}
    template = Template.compile(value)
    assert template.render(SCOPE)["big"] is value["big"]  # type: ignore[call-overload, index]
    assert not template.constant
    plain = {"a": [1, "x"]}
    constant = Template.compile(plain)
    assert constant.constant
    assert constant.render({}) is plain
    assert value["text"] == "{{ run.id }}"


def test_template_names_the_place() -> None:
    with pytest.raises(ExpressionError, match=r"^messages\[0\]\.content: column 1: unknown name"):
        Template.compile({"messages": [{"content": "{{ foo }}"}]})
    with pytest.raises(ExpressionError, match="line 2, character 4 of the text: column 1"):
        Template.compile("one\n123{{ foo }}")
    with pytest.raises(ExpressionError, match=r"a\.b: column 1: no key"):
        Template.compile({"a": {"b": "{{ inputs.gone }}"}}).render(SCOPE)
    with pytest.raises(ExpressionError, match="unclosed expression"):
        Template.compile("{{ 'a }}")


def test_template_output_is_bounded_as_a_whole() -> None:
    many = ["{{ inputs.big }}"] * 1000
    with pytest.raises(ExpressionError, match="more than"):
        Template.compile(many).render(SCOPE)


def test_template_names() -> None:
    template = Template.compile(["{{ tasks.a.result }}", {"x": "-{{ tasks['b'].x + inputs.q }}"}])
    assert template.task_names == {"a", "b"}
    assert template.input_names == {"q"}


def test_deep_template_is_refused() -> None:
    deep: Any = "{{ 1 }}"
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ExpressionError, match="nests too deep"):
        Template.compile(deep)
    while isinstance(deep, list):
        deep = deep.pop()


def test_unclosed_is_refused_quickly() -> None:
    start = time.process_time()
    with pytest.raises(ExpressionError):
        Template.compile("{{ " + "'" * 1_000_000)
    with pytest.raises(ExpressionError):
        Template.compile("{{" * 100_001)
    assert time.process_time() - start < 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(JSON)
def test_whole_expression_keeps_the_value(value: Any) -> None:
    assert Template.compile("{{ inputs.x }}").render({"inputs": {"x": value}}) == value


@given(JSON)
def test_json_and_back(value: Any) -> None:
    text = compile_expression("json(inputs.x)").evaluate({"inputs": {"x": value}})
    assert isinstance(text, str)
    assert json.loads(text) == value
    assert (
        compile_expression("parse_json(json(inputs.x))").evaluate({"inputs": {"x": value}}) == value
    )


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        compile_expression(text).evaluate(SCOPE)
    except ExpressionError as fault:
        assert "column" in fault.message  # noqa: PT017


@given(st.text(alphabet="{} '\"a1+[]().tasksinput", max_size=60))
def test_any_template_is_read_or_refused(text: str) -> None:
    try:
        rendered = Template.compile(text).render(SCOPE)
    except ExpressionError:
        return
    assert "{{" in text or rendered == text


@given(st.text(max_size=60))
def test_doubled_braces_are_literal(text: str) -> None:
    assert Template.compile(text.replace("{{", "{{{{")).render({}) == text


SAFE = st.sampled_from(["1", "2.5", "inputs.n", "inputs.list[0]", "size('ab')", "-3"])
TREES = st.recursive(
    SAFE,
    lambda inner: st.tuples(inner, st.sampled_from("+-*<"), inner).map(
        lambda t: f"({' '.join(t)})"
    ),
    max_leaves=10,
)


@given(TREES)
def test_arithmetic_is_pythons(text: str) -> None:
    size = len

    class Dotted:
        n = 7
        list = SCOPE["inputs"]["list"]

    try:
        found = compile_expression(text).evaluate(SCOPE)
    except ExpressionError as fault:
        assert "true or false" in fault.message  # noqa: PT017
        return
    assert found == eval(text, {"inputs": Dotted, "size": size})


def test_length_bound() -> None:
    assert compile_expression("1" + " " * (MAX_LENGTH - 1)).evaluate({}) == 1
    with pytest.raises(ExpressionError, match="4,096"):
        compile_expression("1" + " " * MAX_LENGTH)
