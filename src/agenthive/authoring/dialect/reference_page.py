"""The reference page of the dialect, generated from its table.

Never edit ``docs/reference/workflow.md``: run ``python -m agenthive.authoring.dialect.generate``.
"""

from __future__ import annotations

from typing import Final

from agenthive.authoring.dialect.dialect import SHAPES, UNITS
from agenthive.authoring.dialect.shapes import SWITCH, Field, Kind, Shape
from agenthive.core.expressions.functions import FUNCTIONS

_NAMES: Final = {
    "`item`, `index` (from 0)": "with `for_each`",
    "`round` (from 1), `previous`": "with `repeat_until`",
    "`signal` (its data)": "with `wait_for`",
    "`result`": "in the condition of `repeat_until`",
    "`arguments`": "in the parameters of a tool: the arguments that the model passes",
}
_HEAD = """\
# Workflow files

A workflow is one YAML or JSON file (JSON if its name ends in `.json`). YAML follows the core schema
of YAML 1.2: `no`, `12:30` and dates are text. Aliases, anchors, tags, duplicate keys, NaN and more
than 64 levels of nesting are refused. Unknown keys are errors. A duration is a number of seconds,
or a text with a unit: {units}.

If `agenthive: 1` is the first key, the native defaults apply (`native:` in the column Default).

`agenthive validate FILE` checks a file without running it. The package contains the JSON Schema
`workflow.schema.json` for editors.
"""

_TAIL = """\
## Names

Names of tasks, agents and inputs have 1 to 128 characters, are in Unicode normalization form C
(NFC), and contain no control characters and none of `/ [ ] #`.

## Secrets

`${{env:NAME}}`, `${{file:PATH}}` and `${{secret:NAME}}` are references to secrets. They may be used
in the texts of agents and in authentication headers (`Authorization`, `X-API-Key`, `Cookie`, ...).
agenthive resolves them when it makes a call, and never writes the secrets to the journal. A secret
that is written out under `authentication`, in such a header, or as an input of type `secret` is
moved to the secret store with a warning, or refused if there is no secret store.

## Expressions

`{{{{ ... }}}}` in the texts of `parameters` is replaced by the value of an expression. If the whole
text is one expression, the value keeps its type; otherwise a text is inserted unchanged, and any
other value as compact JSON. Write `{{{{{{{{` for a literal `{{{{`. `endpoint` and `custom_params`
of agents may use `inputs` only. Keys whose value is an expression (`when`, ...) need no braces.

The available names are `tasks.NAME.result` (also `tasks["my-task"]`, and `.status`, `.error`),
`inputs.NAME`, `run.id` and `run.name`. A task may read the tasks that it depends on, directly or
indirectly. Some names are available only in parts of a task: {names}.

The operators are look-ups (`a.b`, `a["b"]`, `a[0]`, `a[1:3]`), `+ - * / %`, comparisons, `in`,
`and or not`, `x if test else y`, lists, maps, and one level of `[f(x) for x in xs if test]`. The
functions are {functions}.

`has(x)` is true if a look-up exists and is not null; `default(x, other)` is `other` if it is not.
"""


def reference_markdown() -> str:
    """The Markdown of the page."""
    units = ", ".join(f"`{unit}`" for unit in UNITS)
    functions = ", ".join(f"`{name}`" for name in sorted((*FUNCTIONS, "has", "default")))
    names = "; ".join(f"{name} {where}" for name, where in _NAMES.items())
    sections = "\n".join(_render_section(shape) for shape in SHAPES.values())
    return (
        f"{_HEAD.format(units=units)}\n{sections}\n{_TAIL.format(functions=functions, names=names)}"
    )


def _render_section(shape: Shape) -> str:
    rows = "\n".join(_render_row(field) for field in shape.fields)
    return (
        f"## {shape.name}\n\n{shape.doc}\n\n"
        f"| Key | Value | Default | Meaning |\n|---|---|---|---|\n{rows}\n"
    )


def _render_row(field: Field) -> str:
    default = "**required**" if field.required else field.default
    if field.native:
        default = f"{default}; native: {field.native}"
    key = f"`{field.key}`" + (" (native)" if field.native_only else "")
    return f"| {key} | {_describe_value(field)} | {default} | {field.doc} |"


def _describe_value(field: Field) -> str:
    match field.kind:
        case Kind.CHOICE:
            return ", ".join(f"`{choice}`" for choice in field.choices)
        case Kind.NAMES if field.choices:
            return "list of " + ", ".join(f"`{choice}`" for choice in field.choices)
        case Kind.SHAPE:
            return _describe_short_form(field) + f"[{field.shape}](#{field.shape})"
        case Kind.SHAPES:
            return f"list of {_describe_short_form(field)}[{field.shape}](#{field.shape})"
        case Kind.INPUTS:
            return f"map of name to [{field.shape}](#{field.shape}) or default"
        case Kind.WHOLE if field.maximum is not None and field.minimum is not None:
            is_fixed = field.minimum == field.maximum
            return (
                f"`{field.minimum:.0f}`"
                if is_fixed
                else f"{field.minimum:.0f} to {field.maximum:,.0f}"
            )
        case Kind.SECONDS:
            return "seconds or null" if field.nullable else "seconds"
        case Kind.NAME | Kind.TITLE:
            return "name"
        case Kind.MAP:
            return "map"
        case Kind.WORKFLOW:
            return "path or [workflow](#workflow)"
        case _:
            return str(field.kind.value)


def _describe_short_form(field: Field) -> str:
    """The short form of a section, followed by ``or``; empty if it has none."""
    if not field.short:
        return ""
    if field.short == SWITCH:
        return "`true` or "
    return f"{_describe_value(SHAPES[field.shape].by_key[field.short])} or "
