"""Every error class is raised somewhere, and the tree in the docstring is that of the classes."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from pathlib import Path

from agenthive import errors
from agenthive.core.history.report import RUN_ERRORS

SOURCE = Path(__file__).parents[2] / "src" / "agenthive"
# Names of the documents' interfaces, for users to catch; no part of agenthive raises them yet. One
# that is raised leaves the list.
OF_THE_DOCUMENTS = {"CoordinationError", "ResourceError", "ScalingError", "MLError"}


def list_errors() -> dict[str, type[errors.AgentHiveError]]:
    """The error classes of the module, by name; an alias is not a class of its own."""
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value)
        and issubclass(value, errors.AgentHiveError)
        and value.__name__ == name
    }


def find_constructed(sources: Iterable[str]) -> set[str]:
    """The names that are called, or raised without a call: ``X(...)``, ``raise X``."""
    nodes = [
        node.func if isinstance(node, ast.Call) else node.exc
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call | ast.Raise)
    ]
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }


def find_unraised(constructed: set[str]) -> set[str]:
    """Error classes that are not constructed, and neither is a class below them."""
    return {
        name
        for name, error in list_errors().items()
        if not any(
            other in constructed and issubclass(child, error)
            for other, child in list_errors().items()
        )
    }


def find_raised_in_package() -> set[str]:
    sources = [
        path.read_text("utf-8")
        for path in sorted(SOURCE.rglob("*.py"))
        if path != SOURCE / "errors.py"
    ]
    # `RunReport.raise_for_status` takes its class from a table.
    return find_constructed(sources) | {error.__name__ for error in RUN_ERRORS.values()}


def test_every_error_is_raised_or_named_by_a_document() -> None:
    assert find_unraised(find_raised_in_package()) == OF_THE_DOCUMENTS


def test_unraised_error_is_found() -> None:
    source = "raise NotFound\nraise errors.Conflict('x')\nerror = StoreFailed('y')\n"
    unraised = find_unraised(find_constructed([source]))
    assert not unraised & {"AgentHiveError", "NotFound", "Conflict", "StoreError", "StoreFailed"}
    assert {"RunNotFound", "StoreCorrupt", "APIError", "AgentError"} <= unraised


def test_docstring_draws_the_tree() -> None:
    drawn: list[tuple[str, str]] = []
    ancestors: list[str] = []
    for indent, name, text in re.findall(
        r"^    ([│ ]*)(?:[├└]── )?([A-Z]\w+) +(.*)$", errors.__doc__ or "", re.MULTILINE
    ):
        depth = len(indent) // 4 + (name != "AgentHiveError")
        ancestors[depth:] = [name]
        drawn.append((name, ancestors[depth - 1] if depth else "Exception"))
        error = list_errors()[name]
        numbers = re.search(r" (\d{3}) +(\d+)$", text)
        parent = list_errors().get(ancestors[depth - 1], error) if depth else error
        expected = (
            (int(numbers[1]), int(numbers[2]))
            if numbers
            else (parent.http_status, parent.exit_code)
        )
        assert (error.http_status, error.exit_code) == expected, name
    bases = [(name, error.__bases__[0].__name__) for name, error in list_errors().items()]
    assert drawn == bases
