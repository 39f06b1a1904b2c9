"""The canonical bytes of a workflow, and the digest a run is pinned to.

Sorted keys, defaults left out: two files that mean the same have the same digest.
"""

from __future__ import annotations

import hashlib

import msgspec

from agenthive.core.spec import WorkflowSpec
from agenthive.errors import ConfigurationError

_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(WorkflowSpec)


def dump(spec: WorkflowSpec) -> bytes:
    """Canonical JSON of a workflow."""
    return _encoder.encode(spec)


def digest(spec: WorkflowSpec) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(dump(spec)).hexdigest()


def parse_spec(data: bytes) -> WorkflowSpec:
    """The workflow that ``dump`` wrote. Raises ConfigurationError if it is none."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as fault:
        raise ConfigurationError(f"stored definition cannot be read: {fault}") from fault
