"""The bytes that a run is pinned to: one canonical JSON text for each `WorkflowSpec`.

Never changes: the digest of a stored definition must stay the same in later versions. So a new
field of a spec has a default, which canonical JSON leaves out.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from agenthive.core.model.workflow import WorkflowSpec

_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(WorkflowSpec)


def encode(spec: WorkflowSpec) -> bytes:
    """Canonical JSON: sorted keys, defaults left out. Equal specs give equal bytes."""
    return _encoder.encode(spec)


def decode(body: bytes) -> WorkflowSpec:
    """The spec with the canonical bytes ``body``. Raises msgspec.ValidationError."""
    return _decoder.decode(body)


def compute_digest(body: bytes) -> str:
    """SHA-256 of the canonical bytes of a definition, in hex; runs name their definition by it."""
    return sha256(body).hexdigest()
