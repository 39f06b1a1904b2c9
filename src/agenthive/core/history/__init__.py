"""History: all that is folded from records and never written by hand.

Replay and snapshots rebuild the state of a run; reports, stories and waiting reasons explain it;
`fork` and `migration` derive new runs from old ones; `retention` says what may be deleted. Nothing
here changes a run or calls an agent. To add a view of a run: a pure function of its records or of
its state, in a file of its own.
"""
