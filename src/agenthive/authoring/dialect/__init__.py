"""The dialect: the one table of keys that a workflow file may have, and what follows from it.

`dialect` is the table; `fields` and `shapes` are its vocabulary; `build_schema`, `reference_page`
and `generate` derive the JSON Schema and the reference page from it. Nothing here reads a file, and
a key that is not in the table never reaches a spec. To add a key: a row in `dialect`, a check in
`authoring.checks`, then `python3 x.py docs`.
"""
