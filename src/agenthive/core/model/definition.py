"""The bytes a run is pinned to: one canonical JSON text per `WorkflowSpec`."""

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
    """The spec that `encode` wrote. Raises msgspec.ValidationError."""
    return _decoder.decode(body)


def compute_digest(body: bytes) -> str:
    """The name of a definition: SHA-256 of its canonical bytes, in hex."""
    return sha256(body).hexdigest()
