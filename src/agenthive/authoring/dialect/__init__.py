"""The dialect: the one table of the keys of a workflow file, and what is generated from it.

`dialect` and `control_flow` are the table; `shapes` and `fields` are the classes and helpers that
it is written with; `json_schema`, `reference_page` and `generate` make the JSON Schema and the
reference page from it. Nothing here reads a workflow file, and a key that is not in the table never
reaches a spec.

To add a key: a `Field` in its `Shape`; read it in `authoring.checks`; then `python3 x.py docs`.
"""
