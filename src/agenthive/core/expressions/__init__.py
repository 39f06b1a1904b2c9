"""Expressions: the language of ``{{ }}`` and of conditions.

What lives here: the entry points (`template`), the compiler (`compiler`), the functions and the
meter (`functions`), and the names that each part of a task may use (`names`). Nothing here reads
the state of a run: the engine passes a scope of JSON values. An expression never reaches an
attribute of a Python object, a module, a file or the clock.

Theory of operation
===================

**The language** is a subset of Python's expression syntax over JSON values, so that its grammar and
precedence need no explanation and Python's own parser can read it. It has literals, look-ups
(``inputs.b``, ``inputs["b"]``, by index, slices), arithmetic (``+ - * / %``), comparisons, ``and``,
``or``, ``not``, ``in``, conditional expressions, lists, maps, one-level comprehensions, and calls
of a fixed list of functions. It has no assignment, no definition of functions, no attributes, no
methods, no named arguments, and no unbounded loop.

**Compiling** (`compile_expression`) takes three steps. `ast.parse` turns the text into a syntax
tree; nothing is executed by that. `Compiler` walks the tree with an allow-list: a node that is not
listed is refused, with its column. Each allowed node becomes a closure from a `Frame` to a JSON
value. A dot compiles to a look-up in a map, so that ``inputs.b`` and ``inputs["b"]`` are the same,
and no spelling leads to an attribute. The compiler also records which tasks and inputs the
expression names: the graph keeps just these results, and `authoring` checks that they exist. Task
names are literals for that reason.

**Evaluating** calls the closures with a `Frame`: the scope, a `Meter`, and the variable of a
comprehension. A missing key, index or null raises `MissingValue`, which ``default(x, y)`` and
``has(x)`` catch; any other error ends the evaluation. Evaluation is deterministic. Its results are
journaled all the same, so a replay never evaluates an expression.

**Rendering** (`Template.render`) replaces the expressions in a JSON value. A text that is one
expression becomes its value, of any type; in a longer text, values become text (JSON, unless they
are text).

Bounds
======

Definitions may come from authors that are not trusted, and results from the outside world, so each
evaluation is bounded whatever its inputs are:

* length: `template.MAX_LENGTH` characters of source for an expression;
* depth: `compiler.MAX_DEPTH` levels of nesting; data that nests too deep for Python's stack is an
  error too;
* work: `functions.MAX_STEPS` units for an evaluation or for all expressions of a template. Every
  closure charges one unit; functions and operators charge for the items and characters that they
  visit or build;
* output: `functions.MAX_OUTPUT` characters. A value is measured by walking it, not by writing it,
  since a short expression can build a value that contains a large part many times;
* numbers: finite floats and integers of 64 bits, so that every value can be written as JSON and
  read back. There is no ``**``: its result could take long to compute.

Whatever builds a value charges for it before it builds it. A bound that is exceeded is an
`ExpressionError`, which fails the task and never the process.

Where to add
============

* A function: `functions.FUNCTIONS`, tests, a line in the reference.
* Syntax: a case in `Compiler._compile_node`, tests with hostile inputs.
* A root name: `names`, and its value in `core.engine.expression_scope`.
"""
