"""History: everything that is folded from the records of a run.

The records are the only source; all modules here derive something from them:

* `replay` applies the recorded events to an empty `RunState`, `snapshots` to one that was stored
  before. Replay calls `step` and ignores its commands, because what they led to is in the records.
* `report`, `story` and `waiting_reasons` explain a run: its outcome, the events that led a task to
  its state, and why each open task waits.
* `fork` and `migration` derive from the past what a new run may inherit, and whether an open run
  may continue under a changed workflow.
* `run_index` folds the hive stream into the runs that must exist; `retention` says which of them
  may be deleted; `blobs` keeps large values outside of the records.

Nothing here changes a run, calls an agent or reads a store: functions take records and give values.

To add a view of a run: a pure function of its records or of its state, in a file of its own. To add
an event whose value may be large, or a field of the run state: see `blobs` and `snapshots`.
"""
