"""The control socket of a home: how other processes reach the one that owns it.

What lives here: `protocol` has the table of verbs and their arguments, `framing` the bytes of a
message, `server` listens for the owner, `client` sends requests from another process. What a verb
does is never written here: the owner's `Hive` does it, and this package does not know its class.

A request is one message on a connection of its own, with the token of the home, the verb and its
arguments. The owner replies with a result or an error; a verb that streams sends a message for each
item before that.

    {"token": TOKEN, "ask": "set_budget", "scope": "run r1", "amount": 5, "add": true,
     "request_id": "018f..."}
    {"ok": null}

Both sides read the same row of `protocol.VERBS`: the client takes the method that was called, finds
the row by it and encodes the arguments; the server takes the row by the verb, decodes the arguments
and calls the method of the same path on the owner.

    client = ControlClient(Home(folder))
    owner = client.proxy_for(Hive)
    await owner.budgets.top_up("run r1", 5)       # AttributeError: no row has this method
    await owner.budgets.change_limit("run r1", 5, add=True)

Every verb that changes something takes a ``request_id``, which its caller makes and repeats if no
answer comes: see `hive.requests`. ``resume`` has none, because it is about the process that owns
the home; ``watch`` and ``status`` only read.

To add a verb: one row in `protocol.VERBS`. Nothing else needs a change, as long as its arguments
and its result are JSON; for another type, name a codec in the row. The verb and its arguments are
then part of the protocol between versions of agenthive, so they are never renamed: add them to the
list of stored names with `python -m tests.core.test_stored_names`.
"""
