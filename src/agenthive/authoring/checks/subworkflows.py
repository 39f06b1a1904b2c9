"""Sub-workflows: loads, checks and embeds them in the tasks that run them.

A path is relative to the file that contains it; each file is read once. A definition that does not
come from a file can embed sub-workflows but not name files. Bounds: five levels, no cycles, and the
size limits of one definition for all of them together.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from agenthive.authoring.checks.secret_references import Reference
from agenthive.authoring.checks.sections import Section
from agenthive.authoring.readers.nodes import SourceNode
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import SizeLimits
from agenthive.authoring.readers.sources import read_file
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.errors import ConfigurationError

DEEPEST: Final = 5
"""Maximum levels of sub-workflows."""

_TOO_DEEP: Final = f"workflows can be nested at most {DEEPEST} levels deep"
_NO_FILE: Final = "a path is allowed only in a workflow file; embed the workflow here instead"


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A valid definition with its warnings and secret references."""

    spec: WorkflowSpec
    warnings: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    #: Tasks, with those of sub-workflows each time they are embedded.
    tasks: int = 0
    #: Levels of sub-workflows.
    depth: int = 0


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a definition comes from: its file, and the definitions around it."""

    #: The file of the definition and those around it, the outermost first.
    files: tuple[Path, ...] = ()
    #: 0 for a top-level definition, 1 for a sub-workflow of it.
    level: int = 0
    #: The title of the surrounding definition and task, for the labels of secrets.
    title: str = ""
    #: Whether the surrounding definition has the native dialect.
    native: bool = False
    #: File -> what it defines and its size in bytes; None if it is invalid. Shared by all levels.
    loaded_files: dict[Path, tuple[Loaded, int] | None] = {}


Assemble = Callable[[SourceNode, Problems, Origin], Loaded]


class Subworkflows:
    """Loads the sub-workflows of one definition; sums up their tasks, depth and references."""

    def __init__(
        self,
        origin: Origin,
        native: bool,
        problems: Problems,
        limits: SizeLimits,
        assemble: Assemble,
    ) -> None:
        self._origin = origin
        self._native = native
        self._problems = problems
        self._limits = limits
        self._assemble = assemble
        self._bytes = 0
        self.tasks = 0
        self.depth = 0
        self.references: list[Reference] = []

    def embed(self, section: Section, title: str, task: str) -> WorkflowSpec | None:
        """Load the sub-workflow of a task; None if it is invalid."""
        node = section.value_node("workflow")
        if node is None:
            return None
        path = f"{section.path}.workflow"
        if self._origin.level >= DEEPEST:
            self._problems.add(node.place, path, _TOO_DEEP)
            return None
        loaded_with_size = (
            self._resolve_file(node.value, node, path)
            if isinstance(node.value, str)
            else self._load_inline(node, path, f"{title}.{task}", task)
        )
        return None if loaded_with_size is None else self._add_counts(loaded_with_size, node, path)

    def _add_counts(
        self, loaded_with_size: tuple[Loaded, int], node: SourceNode, path: str
    ) -> WorkflowSpec:
        loaded, size = loaded_with_size
        totals_before = self.tasks, self._bytes
        self.depth = max(self.depth, loaded.depth + 1)
        if self._origin.level + self.depth > DEEPEST:
            self._problems.add(node.place, path, _TOO_DEEP)
        self.tasks += loaded.tasks
        self._bytes += size
        if totals_before[0] <= self._limits.max_tasks < self.tasks:
            limit_text = f"the {self._limits.max_tasks:,} tasks allowed"
            self._problems.add(
                node.place, path, f"makes the tasks exceed {limit_text}; split the workflow"
            )
        if totals_before[1] <= self._limits.max_bytes < self._bytes:
            limit_text = f"{self._limits.max_bytes:,} bytes"
            self._problems.add(
                node.place,
                path,
                f"makes the embedded workflows exceed {limit_text}; split the workflow",
            )
        return loaded.spec

    def _load_inline(
        self, node: SourceNode, path: str, title: str, task: str
    ) -> tuple[Loaded, int] | None:
        inner_problems = self._problems.nested_at(path)
        origin = self._child_origin(title=title, native=self._native)
        assert isinstance(node.value, dict)
        name_entry = {} if "name" in node.value else {"name": SourceNode(task, node.place)}
        named_node = SourceNode(node.value | name_entry, node.place, node.keys)
        return self._load_node(lambda: named_node, inner_problems, origin)

    def _child_origin(
        self, title: str = "", native: bool = False, file: Path | None = None
    ) -> Origin:
        files = self._origin.files
        return Origin(
            files=files if file is None else (*files, file),
            level=self._origin.level + 1,
            title=title,
            native=native,
            loaded_files=self._origin.loaded_files,
        )

    def _resolve_file(self, text: str, node: SourceNode, path: str) -> tuple[Loaded, int] | None:
        files = self._origin.files
        fault = _path_fault(text)
        if fault or not files:
            self._problems.add(node.place, path, fault or _NO_FILE)
            return None
        named_path = Path(os.path.normpath(files[-1].parent / text))
        file = named_path.resolve()
        if file in (resolved_files := [outer_file.resolve() for outer_file in files]):
            chain = [*files[resolved_files.index(file) :], named_path]
            message = f"circular sub-workflows: {' -> '.join(map(str, chain))}"
            self._problems.add(node.place, path, message)
            return None
        if file not in self._origin.loaded_files:
            self._origin.loaded_files[file] = self._load_file(named_path, node, path)
        elif self._origin.loaded_files[file] is None:
            self._problems.add(node.place, path, f"{named_path} is invalid; see its problems")
        return self._origin.loaded_files[file]

    def _load_file(self, file: Path, node: SourceNode, path: str) -> tuple[Loaded, int] | None:
        inner_problems = Problems(str(file))
        loaded_with_size = self._load_node(
            lambda: read_file(file, self._limits, inner_problems),
            inner_problems,
            self._child_origin(file=file),
        )
        if loaded_with_size is None:
            self._problems.add(node.place, path, f"{file} is invalid; see its problems")
        return loaded_with_size

    def _load_node(
        self, read_node: Callable[[], SourceNode], inner_problems: Problems, origin: Origin
    ) -> tuple[Loaded, int] | None:
        try:
            loaded = self._assemble(read_node(), inner_problems, origin)
        except ConfigurationError:
            self._problems.merge(inner_problems)
            return None
        self._problems.merge(inner_problems)
        self.references.extend(loaded.references)
        return loaded, len(definition.encode(loaded.spec))


def _path_fault(text: str) -> str:
    if not text.strip():
        return "must not be empty"
    if "\0" in text:
        return "must not contain a NUL character"
    return "must be a constant path; it cannot contain expressions" if "{{" in text else ""
