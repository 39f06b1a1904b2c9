"""The JSON Schema of a workflow file, for editors, generated from the dialect's table.

It constrains a file key by key; rules over several sections (names that must exist, cycles,
expressions) are checked only by the loader. Never edit the shipped file: run
``python -m agenthive.authoring.dialect.generate``.

To add a kind of value: a function of the field and a row in `_VALUE_SCHEMAS`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Final

import msgspec

from agenthive.authoring.dialect.dialect import (
    AUTH_NEEDS,
    INPUT_KINDS,
    MAX_NAME,
    REFUSED_WITH_WORKFLOW,
    REFUSED_WITHOUT_BODY,
    SHAPES,
    WAITS,
    WORKFLOW,
)
from agenthive.authoring.dialect.shapes import SWITCH, Field, Kind, Shape
from agenthive.core.values import JSONObject, JSONValue

SCHEMA_FILE: Final = "workflow.schema.json"
_TIME: Final = (
    r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
    r"([Zz]|[+-][0-9]{2}:?[0-9]{2})\s*$"
)
_DURATION: Final = r"^[0-9]{1,15}(\.[0-9]{1,15})?(ms|s|m|h|d)$"
_BARRED_IN_TITLE: Final = r"[\u0000-\u001f\u007f-\u009f\u2028\u2029]"
_BARRED_IN_NAME: Final = r"[/\[\]#\u0000-\u001f\u007f-\u009f\u2028\u2029]|~[0-9]+$"
_VISIBLE: Final = r"\S"
_TYPES: Final = {
    "string": "string",
    "secret": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "array": "array",
    "object": "object",
}


def build_schema() -> JSONObject:
    """The schema as JSON values."""
    shapes: JSONObject = {
        name: _shape_schema(shape) for name, shape in SHAPES.items() if shape is not WORKFLOW
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:agenthive:workflow:1",
        "title": "agenthive workflow",
        **_shape_schema(WORKFLOW),
        "$defs": {**shapes, "child": _child_schema()},
    }


def _child_schema() -> JSONObject:
    """An embedded workflow: its dialect is that of the outer file, so no rule depends on it."""
    schema = {key: value for key, value in _shape_schema(WORKFLOW).items() if key != "allOf"}
    return schema | {"required": ["tasks"]}


def format_schema() -> str:
    """The text of the shipped file."""
    return msgspec.json.format(msgspec.json.encode(build_schema()), indent=2).decode() + "\n"


def read_shipped_schema() -> str:
    """The text of the schema in this installation."""
    return resources.files(__package__).joinpath(SCHEMA_FILE).read_text("utf-8")


def _shape_schema(shape: Shape) -> JSONObject:
    rules = _RULES.get(shape.name)
    has_alias = any(field.native_only for field in shape.fields)
    required: list[JSONValue] = [
        field.key
        for field in shape.fields
        if field.required and not (has_alias and field.key == "agent_name")
    ]
    schema: JSONObject = {
        "type": "object",
        "description": _strip_backquotes(shape.doc),
        "additionalProperties": False,
        "required": required,
        "properties": {field.key: _field_schema(field) for field in shape.fields},
    }
    return schema | rules if rules else schema


def _field_schema(field: Field) -> JSONObject:
    schema = _value_schema(field)
    if field.nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {"description": _describe_field(field), **schema}


def _describe_field(field: Field) -> str:
    default = f" Default: {field.default}." if field.default else ""
    native = f" Under agenthive: 1: {field.native}." if field.native else ""
    return _strip_backquotes(field.doc) + default + native


def _strip_backquotes(text: str) -> str:
    return text.replace("`", "")


def _value_schema(field: Field) -> JSONObject:
    return _VALUE_SCHEMAS[field.kind](field)


def _text_schema(field: Field) -> JSONObject:
    minimum = int(field.minimum or 0)
    return {"type": "string", "minLength": minimum, **_exclude_pattern(r"\u0000")}


def _name_schema(_: Field) -> JSONObject:
    return {"type": "string", **_name_rules(_BARRED_IN_NAME)}


def _title_schema(_: Field) -> JSONObject:
    return {"type": "string", **_name_rules(_BARRED_IN_TITLE)}


def _flag_schema(_: Field) -> JSONObject:
    return {"type": "boolean"}


def _whole_schema(field: Field) -> JSONObject:
    return {"type": "integer", **_number_bounds(field)}


def _number_schema(field: Field) -> JSONObject:
    return {"type": "number", **_number_bounds(field)}


def _seconds_schema(field: Field) -> JSONObject:
    return {"anyOf": [_number_schema(field), {"type": "string", "pattern": _DURATION}]}


def _choice_schema(field: Field) -> JSONObject:
    return {"enum": list(field.choices)}


def _names_schema(field: Field) -> JSONObject:
    name: JSONObject = {"enum": list(field.choices)} if field.choices else {"type": "string"}
    names: JSONObject = {"type": "array", "items": name}
    return names | ({"minItems": 1} if field.minimum else {})


def _map_schema(_: Field) -> JSONObject:
    return {"type": "object"}


def _any_schema(_: Field) -> JSONObject:
    return {}


def _formula_schema(_: Field) -> JSONObject:
    return {"type": "string", "pattern": _VISIBLE, **_exclude_pattern(r"\u0000")}


def _items_schema(_: Field) -> JSONObject:
    return {"type": ["array", "string"]}


def _delay_schema(field: Field) -> JSONObject:
    pattern: JSONObject = {"type": "string", "pattern": rf"{_DURATION}|\{{\{{"}
    return {"anyOf": [_number_schema(field), pattern]}


def _time_schema(_: Field) -> JSONObject:
    return {"type": "string", "pattern": rf"{_TIME}|\{{\{{"}


def _workflow_schema(_: Field) -> JSONObject:
    return {"anyOf": [{"type": "string", "pattern": _VISIBLE}, {"$ref": "#/$defs/child"}]}


def _section_schema(field: Field) -> JSONObject:
    """A section, or its short form."""
    section: JSONObject = {"$ref": f"#/$defs/{field.shape}"}
    if not field.short:
        return section
    if field.short == SWITCH:
        return {"anyOf": [{"type": "boolean"}, section]}
    return {"anyOf": [_value_schema(SHAPES[field.shape].by_key[field.short]), section]}


def _sections_schema(field: Field) -> JSONObject:
    minimum = int(field.minimum or 0)
    return {"type": "array", "items": _section_schema(field), "minItems": minimum}


def _exclude_pattern(pattern: str) -> JSONObject:
    return {"not": {"pattern": pattern}}


def _name_rules(barred_pattern: str) -> JSONObject:
    return {"maxLength": MAX_NAME, "pattern": _VISIBLE, **_exclude_pattern(barred_pattern)}


def _inputs_schema(field: Field) -> JSONObject:
    declared: JSONObject = {"$ref": f"#/$defs/{field.shape}"}
    plain_default: JSONObject = {"not": {"type": "object"}}
    return {
        "type": "object",
        "propertyNames": _name_rules(_BARRED_IN_NAME),
        "additionalProperties": {"anyOf": [plain_default, declared]},
    }


def _number_bounds(field: Field) -> JSONObject:
    bounds: JSONObject = {}
    if field.minimum is not None:
        bounds["exclusiveMinimum" if field.exclusive_minimum else "minimum"] = field.minimum
    if field.maximum is not None:
        bounds["maximum"] = field.maximum
    return bounds


_VALUE_SCHEMAS: Final[dict[Kind, Callable[[Field], JSONObject]]] = {
    Kind.TEXT: _text_schema,
    Kind.NAME: _name_schema,
    Kind.TITLE: _title_schema,
    Kind.FLAG: _flag_schema,
    Kind.WHOLE: _whole_schema,
    Kind.NUMBER: _number_schema,
    Kind.DOLLARS: _number_schema,
    Kind.SECONDS: _seconds_schema,
    Kind.CHOICE: _choice_schema,
    Kind.NAMES: _names_schema,
    Kind.MAP: _map_schema,
    Kind.ANY: _any_schema,
    Kind.FORMULA: _formula_schema,
    Kind.ITEMS: _items_schema,
    Kind.DELAY: _delay_schema,
    Kind.TIME: _time_schema,
    Kind.WORKFLOW: _workflow_schema,
    Kind.SHAPE: _section_schema,
    Kind.SHAPES: _sections_schema,
    Kind.INPUTS: _inputs_schema,
}


def _if_equals(key: str, value: JSONValue, then: JSONObject) -> JSONValue:
    return {"if": {"properties": {key: {"const": value}}, "required": [key]}, "then": then}


def _authentication_rules() -> JSONObject:
    return {
        "allOf": [
            _if_equals("type", kind, {"required": list(keys)}) for kind, keys in AUTH_NEEDS.items()
        ]
    }


def _input_rules() -> JSONObject:
    rules: list[JSONValue] = [
        _if_equals("type", kind, {"properties": {"default": {"type": [_TYPES[kind], "null"]}}})
        for kind in INPUT_KINDS
        if kind in _TYPES
    ]
    return {"allOf": [*rules, _if_equals("required", True, {"not": {"required": ["default"]}})]}


def _workflow_rules() -> JSONObject:
    """``agent`` is native only; ``parallel_execution: false`` allows one task at a time."""
    inner: JSONObject = {"properties": {"agent": False}}
    tool: JSONObject = {"properties": {"agent": False, "reconcile": inner}}
    task: JSONObject = {
        "properties": {
            "agent": False,
            "compensate": inner,
            "reconcile": inner,
            "tools": {"items": tool},
            "fallback": {"items": inner},
        }
    }
    classic: JSONObject = {"properties": {"tasks": {"items": task}}}
    sequential: JSONObject = {"properties": {"max_parallel": {"maximum": 1}}}
    return {
        "allOf": [
            {"if": {"required": ["agenthive"]}, "else": classic},
            _if_equals("parallel_execution", False, sequential),
        ]
    }


_ONE_AGENT: Final[JSONObject] = {"not": {"required": ["agent_name", "agent"]}}
_CALLS: Final = ("agent_name", "agent", "action")


def _task_rules() -> JSONObject:
    """A task calls an agent, runs a workflow, or only waits."""
    no_call: JSONObject = dict.fromkeys(_CALLS, False)
    waits: list[JSONValue] = [{"required": [key]} for key in WAITS]
    no_body: JSONObject = dict.fromkeys(REFUSED_WITHOUT_BODY, False)
    return {
        "not": {"required": ["delay", "until"]},
        "oneOf": [
            {
                "required": ["agent_name", "action"],
                "properties": {"agent": False, "workflow": False},
            },
            {
                "required": ["agent", "action"],
                "properties": {"agent_name": False, "workflow": False},
            },
            {
                "required": ["workflow"],
                "properties": no_call | dict.fromkeys(REFUSED_WITH_WORKFLOW, False),
            },
            {"anyOf": waits, "properties": no_call | no_body | {"workflow": False}},
        ],
    }


_RULES: Final[dict[str, JSONObject]] = {
    "workflow": _workflow_rules(),
    "authentication": _authentication_rules(),
    "input": _input_rules(),
    "task": _task_rules(),
    "compensate": _ONE_AGENT,
    "reconcile": _ONE_AGENT,
    "tool": _ONE_AGENT | {"anyOf": [{"required": ["agent_name"]}, {"required": ["agent"]}]},
    "fallback": _ONE_AGENT | {"anyOf": [{"required": ["agent_name"]}, {"required": ["agent"]}]},
}
