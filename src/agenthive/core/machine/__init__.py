"""The machine: ``step(state, event) -> commands``, the only writer of `RunState`.

What lives here: the state of a run (`run_state`, `flow_state`), the tables of its moves
(`transitions`), the guards and choosers that the rows name (`guards`), the handlers of events
(`event_handlers`), the entry and exit actions of states (`state_actions`, `model_turns`), the
commands (`commands`), and `machine`, which applies them.

The machine never asks the outside world: it has no clock, random numbers, ids, disk or network. All
of these arrive inside events, so that a replay of the same events gives the same state and the same
commands.

Theory of operation
===================

An **event** says what happened, in the past tense: ``TaskStarted``, ``TaskFailed``,
``SignalReceived``. It is frozen, carries its own time, ids and random draws, and is journaled
before the engine acts on its commands (only a pure read may start earlier). A **command** says what
the engine is to do next: ``CallAgent``, ``WakeTask``. Only what needs the outside world becomes a
command; every other consequence (a dependent becomes ready, an item is released, the run ends) is
carried out inside the same `step` and is not journaled, since the events before it imply it.

A run has one state machine, and each of its tasks has one. Task states are those of `TaskState`,
run statuses those of `RunStatus`. Both machines move by two kinds of tables:

1. **Event-triggered** (`EVENT_MOVES`, `RUN_EVENT_MOVES`): (state, event) -> next state. An event
   names the task that it is about, and moves that task alone. Where the next state depends on more
   than the event's type, the row names a **chooser** instead: a function (state, task, event) ->
   next state, or None if the task stays in its state. `CHOOSER_RESULTS` lists what each may return.

2. **State-triggered** (`STATE_MOVES`, `RUN_STATE_MOVES`): state -> an ordered list of (**guard**,
   next state). A guard is a predicate on the whole run. Whenever a guard of the current state
   holds, the move is made; if several hold, the first one wins. These moves are how one event has
   effects on other tasks: a success makes the guard "dependencies met" of its dependents hold.

One step does the following.

1. Count the event (`RunState.seq`) and note its time.
2. Find the row for the event in the state of its task; without one the event is refused (below).
   If the row names a chooser, call it. It sees the state as it was before the event.
3. Call the **event handler**, which records what the event says: the attempt, a result, a fault, a
   hold. It never moves a task.
4. Move the task: the **exit action** of the old state, then the **entry action** of the new one.
   Entry actions add commands, update counters of dependents, and push the tasks that may move now
   to the stack ``touched``. (If a chooser leaves the task in its state, the event may have a **stay
   action** instead.)
5. Take tasks off ``touched``, and apply the first row of `STATE_MOVES` with a guard that holds,
   with its actions, until the stack is empty: the **fixed point**. It is reached because a task
   cannot move in circles without an event: the one cycle of this table, BLOCKED -> PREPARING ->
   BLOCKED, goes to the next of the task's finitely many steps. Tasks are taken last in, first out;
   actions push in reverse, so that items and tools begin in their order.
6. Apply the first row of `RUN_STATE_MOVES` with a guard that holds: the run begins to wait,
   continues, ends, or begins to compensate (which touches tasks again).

Guards are only evaluated for touched tasks: that is what makes an event cost O(1) for each edge it
touches and not O(tasks). So code that changes something that a guard reads must touch the tasks
that it may unblock; a task that was not touched does not move, and the run is stuck. The simulator
looks for such runs.

Events that are legal in every state and never move their task (a late reply, progress, a refused
answer) have no rows but a handler in `machine.STATIONARY_HANDLERS`. ``RunSubmitted`` is the one
event that comes before there is a state to move.

**A refused move.** An event without a row, about an unknown task, or about an attempt that is not
the current one raises `InvalidTransition`, with the state of the task, its attempt, since when, and
the number of the event. The tables are not corrected and nothing is skipped: a refusal is a bug of
the engine, or a journal that another program wrote. The engine therefore checks first what may
legally come too late (a reply of an attempt that was given up becomes ``LateReply``), and a state
that refused an event is not used any more.

**Compensation.** When a run has failed and tasks with a compensation succeeded, it comes to
COMPENSATING. Compensations are tasks of their own, DORMANT until then; `RunState.undoing` names the
current one, and the guards on it move the pair: the task to COMPENSATING, its compensation to
READY. When the compensation has ended, the next one begins, in the reverse of the order in which
the tasks ended.

**Generated tasks.** Items, iterations, model turns, tool calls, reconcile calls and the
compensations of these are appended to the run's copy of the graph while it runs. Meanwhile their
owner waits (in EXPANDED, UNKNOWN_OUTCOME or COMPENSATING); the end of a generated task touches it,
and its guards look at all of its parts. Keys follow from the owner's key and a number, so a replay
generates the same ones.

Where to add
============

* A move: a row in `transitions`, its guard or chooser in `guards`, a line in the row test.
* An event: a struct in `journal.run_events`, a handler in `event_handlers` if it carries data, its
  rows.
* A state: a member of `model.states`, rows that lead to it and out of it, entry and exit actions if
  it has consequences, its paragraph in the reference, its place in the snapshot's list of states.
* A command: a struct in `commands`, a handler in the engine.
* A consequence of a state: an entry action, never code after a call of `step`.

Whatever changes the state that an old journal leads to must branch on the rules number under which
the run's records were written (`journal.hash_chain.RULES`); the golden journals in
``tests/core/golden`` show whether it does.
"""
