"""The model: what a workflow is, and the values that the rest of the core exchanges.

What lives here: the specifications of workflows (`workflow`, `control_flow`) and their canonical
bytes (`definition`), the states of runs and tasks (`states`), calls and replies (`calls`),
idempotency keys (`idempotency`), timestamps (`timestamps`). They are plain values: nothing here has
behaviour beyond checking and naming itself, and nothing here knows an event or a store.

To add a field to a workflow: a field of a spec with a default that means "as before", so that
stored definitions stay readable and keep their digest; then its key in `authoring.dialect`.
"""
