"""The JSON Schema of a workflow file, for editors, made from the dialect's table.

It says what one file may hold, key by key; what keys of different sections mean together (names
that must exist, cycles, expressions) only the loader can say. Never edit the shipped file: run
``python -m agenthive.authoring.dialect.generate``.
"""

from __future__ import annotations

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
_TYPES: Final = {"string": "string", "secret": "string", "integer": "integer", "number": "number",
                 "boolean": "boolean", "array": "array", "object": "object"}  # fmt: skip


def json_schema() -> JSONObject:
    """The schema, as JSON."""
    shapes: JSONObject = {
        name: _shape(shape) for name, shape in SHAPES.items() if shape is not WORKFLOW
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:agenthive:workflow:1",
        "title": "agenthive workflow",
        **_shape(WORKFLOW),
        "$defs": {**shapes, "child": _child()},
    }


def _child() -> JSONObject:
    """A workflow within one: which dialect it is in, only the loader knows."""
    shape = {key: value for key, value in _shape(WORKFLOW).items() if key != "allOf"}
    return shape | {"required": ["tasks"]}


def schema_text() -> str:
    """The schema as it is shipped."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"


def shipped_schema() -> str:
    """The text of the schema in this installation."""
    return resources.files(__package__).joinpath(SCHEMA_FILE).read_text("utf-8")


def _shape(shape: Shape) -> JSONObject:
    rules = _RULES.get(shape.name)
    short = any(field.native_only for field in shape.fields)
    required: list[JSONValue] = [
        field.key
        for field in shape.fields
        if field.required and not (short and field.key == "agent_name")
    ]
    found: JSONObject = {
        "type": "object",
        "description": _plain(shape.doc),
        "additionalProperties": False,
        "required": required,
        "properties": {field.key: _field(field) for field in shape.fields},
    }
    return found | rules if rules else found


def _field(field: Field) -> JSONObject:
    found = _value(field)
    if field.nullable:
        found = {"anyOf": [found, {"type": "null"}]}
    return {"description": _described(field), **found}


def _described(field: Field) -> str:
    default = f" Default: {field.default}." if field.default else ""
    native = f" Under agenthive: 1: {field.native}." if field.native else ""
    return _plain(field.doc) + default + native


def _plain(text: str) -> str:
    return text.replace("`", "")


def _value(field: Field) -> JSONObject:
    match field.kind:
        case Kind.TEXT:
            return {"type": "string", "minLength": int(field.least or 0), **_without(r"\u0000")}
        case Kind.NAME:
            return {"type": "string", **_named(_BARRED_IN_NAME)}
        case Kind.TITLE:
            return {"type": "string", **_named(_BARRED_IN_TITLE)}
        case Kind.FLAG:
            return {"type": "boolean"}
        case Kind.WHOLE:
            return {"type": "integer", **_bounds(field)}
        case Kind.NUMBER | Kind.DOLLARS:
            return {"type": "number", **_bounds(field)}
        case Kind.SECONDS:
            number: JSONObject = {"type": "number", **_bounds(field)}
            return {"anyOf": [number, {"type": "string", "pattern": _DURATION}]}
        case Kind.CHOICE:
            return {"enum": list(field.choices)}
        case Kind.NAMES:
            names: JSONObject = {"type": "array", "items": {"type": "string"}}
            return names | ({"minItems": 1} if field.least else {})
        case Kind.MAP:
            return {"type": "object"}
        case Kind.ANY:
            return {}
        case Kind.SHAPE:
            return _section(field)
        case Kind.SHAPES:
            return {"type": "array", "items": _section(field), "minItems": int(field.least or 0)}
        case Kind.INPUTS:
            return _inputs(field)
        case Kind.FORMULA:
            return {"type": "string", "pattern": _VISIBLE, **_without(r"\u0000")}
        case Kind.ITEMS:
            return {"type": ["array", "string"]}
        case Kind.DELAY:
            seconds: JSONObject = {"type": "number", **_bounds(field)}
            pattern: JSONObject = {"type": "string", "pattern": rf"{_DURATION}|\{{\{{"}
            return {"anyOf": [seconds, pattern]}
        case Kind.TIME:
            return {"type": "string", "pattern": rf"{_TIME}|\{{\{{"}
        case Kind.WORKFLOW:
            return {"anyOf": [{"type": "string", "pattern": _VISIBLE}, {"$ref": "#/$defs/child"}]}


def _section(field: Field) -> JSONObject:
    """A section, and what it may be written as for short."""
    section: JSONObject = {"$ref": f"#/$defs/{field.shape}"}
    if not field.short:
        return section
    if field.short == SWITCH:
        return {"anyOf": [{"type": "boolean"}, section]}
    return {"anyOf": [_value(SHAPES[field.shape].by_key[field.short]), section]}


def _without(pattern: str) -> JSONObject:
    return {"not": {"pattern": pattern}}


def _named(barred: str) -> JSONObject:
    return {"maxLength": MAX_NAME, "pattern": _VISIBLE, **_without(barred)}


def _inputs(field: Field) -> JSONObject:
    declared: JSONObject = {"$ref": f"#/$defs/{field.shape}"}
    plain: JSONObject = {"not": {"type": "object"}}
    return {
        "type": "object",
        "propertyNames": _named(_BARRED_IN_NAME),
        "additionalProperties": {"anyOf": [plain, declared]},
    }


def _bounds(field: Field) -> JSONObject:
    found: JSONObject = {}
    if field.least is not None:
        found["exclusiveMinimum" if field.above else "minimum"] = field.least
    if field.most is not None:
        found["maximum"] = field.most
    return found


def _when(key: str, value: JSONValue, then: JSONObject) -> JSONValue:
    return {"if": {"properties": {key: {"const": value}}, "required": [key]}, "then": then}


def _needs() -> JSONObject:
    return {
        "allOf": [
            _when("type", kind, {"required": list(needed)}) for kind, needed in AUTH_NEEDS.items()
        ]
    }


def _defaults() -> JSONObject:
    rules: list[JSONValue] = [
        _when("type", kind, {"properties": {"default": {"type": [_TYPES[kind], "null"]}}})
        for kind in INPUT_KINDS
        if kind in _TYPES
    ]
    return {"allOf": [*rules, _when("required", True, {"not": {"required": ["default"]}})]}


def _dialects() -> JSONObject:
    """The short key ``agent`` is native; one task at a time is not several."""
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
    one: JSONObject = {"properties": {"max_parallel": {"maximum": 1}}}
    return {
        "allOf": [
            {"if": {"required": ["agenthive"]}, "else": classic},
            _when("parallel_execution", False, one),
        ]
    }


_ONE_AGENT: Final[JSONObject] = {"not": {"required": ["agent_name", "agent"]}}
_CALLS: Final = ("agent_name", "agent", "action")


def _bodies() -> JSONObject:
    """A task calls, or runs a workflow, or waits."""
    none: JSONObject = dict.fromkeys(_CALLS, False)
    waits: list[JSONValue] = [{"required": [key]} for key in WAITS]
    nothing: JSONObject = dict.fromkeys(REFUSED_WITHOUT_BODY, False)
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
                "properties": none | dict.fromkeys(REFUSED_WITH_WORKFLOW, False),
            },
            {"anyOf": waits, "properties": none | nothing | {"workflow": False}},
        ],
    }


_RULES: Final[dict[str, JSONObject]] = {
    "workflow": _dialects(),
    "authentication": _needs(),
    "input": _defaults(),
    "task": _bodies(),
    "compensate": _ONE_AGENT,
    "reconcile": _ONE_AGENT,
    "tool": _ONE_AGENT | {"anyOf": [{"required": ["agent_name"]}, {"required": ["agent"]}]},
    "fallback": _ONE_AGENT | {"anyOf": [{"required": ["agent_name"]}, {"required": ["agent"]}]},
}
