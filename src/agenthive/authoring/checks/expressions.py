"""Compiles the expressions of tasks and reports their faults with their places.

Evaluates only constant expressions. The names that a part of a task may read come from
`core.expressions.names`; the caller passes them as ``roots``.
"""

from __future__ import annotations

from collections.abc import Collection

from agenthive.authoring.checks.agents import check_inputs_declared
from agenthive.authoring.checks.graph import Mention
from agenthive.authoring.readers.nodes import Place, SourceNode
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.texts import walk_texts
from agenthive.core.expressions.template import Expression, Template, compile_expression
from agenthive.core.values import JSONValue
from agenthive.errors import ExpressionError


class ExpressionChecker:
    """Checks the expressions of one task. ``reads`` collects the tasks that they read."""

    def __init__(self, problems: Problems, inputs: Collection[str] | None) -> None:
        self._problems = problems
        self._inputs = inputs
        self.reads: list[Mention] = []

    def check_formula(self, text: str, place: Place, path: str, roots: frozenset[str]) -> None:
        """Check a text that is one expression; an empty text is no expression."""
        if not text:
            return
        try:
            self._record_reads(compile_expression(text, roots), place, path)
        except ExpressionError as fault:
            self._problems.add(place, path, fault.message)

    def check_template(
        self,
        node: SourceNode | None,
        path: str,
        roots: frozenset[str],
        *,
        in_compensation: bool = False,
    ) -> None:
        """Check every text in ``node`` that contains expressions."""
        for text_path, text_node, text in walk_texts(node, path) if node is not None else ():
            if "{{" in text:
                self.check_text(
                    text, text_node.place, text_path, roots, in_compensation=in_compensation
                )

    def check_text(
        self,
        text: str,
        place: Place,
        path: str,
        roots: frozenset[str],
        *,
        in_compensation: bool = False,
    ) -> None:
        """Check one text that contains expressions."""
        try:
            self._record_reads(
                Template.compile(text, roots), place, path, in_compensation=in_compensation
            )
        except ExpressionError as fault:
            self._problems.add(place, path, fault.message)

    def _record_reads(
        self,
        expression: Expression | Template,
        place: Place,
        path: str,
        *,
        in_compensation: bool = False,
    ) -> None:
        self.reads.extend(
            Mention(name, place, path, in_compensation) for name in sorted(expression.task_names)
        )
        check_inputs_declared(expression.input_names, self._inputs, place, path, self._problems)


def evaluate_constant(text: str) -> tuple[JSONValue] | None:
    """The value of a constant expression, in a tuple; None if it is not constant."""
    try:
        return (compile_expression(text, frozenset()).evaluate({}),)
    except ExpressionError:
        return None
