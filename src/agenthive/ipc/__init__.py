"""The control socket of a home: how other processes reach the one that owns it.

`protocol` names the verbs and what they take, `framing` the bytes of a message, `server` listens
for the owner, `client` is a stand-in for the owner in another process. What a verb does is never
written here: the owner's `Hive` does it. To add a verb: a row in `protocol`.
"""
