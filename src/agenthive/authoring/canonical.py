"""The canonical bytes of a workflow, and the digest a run is pinned to.

Two files with the same meaning have the same digest. The bytes are those of
`core.model.definition`; this module raises its faults as ConfigurationError.
"""

from __future__ import annotations

import msgspec

from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.errors import ConfigurationError


def dump(spec: WorkflowSpec) -> bytes:
    """Canonical JSON of a workflow: sorted keys, defaults left out."""
    return definition.encode(spec)


def digest(spec: WorkflowSpec) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return definition.compute_digest(dump(spec))


def parse_spec(data: bytes) -> WorkflowSpec:
    """Parse the bytes that `dump` returned. Raises ConfigurationError if they are invalid."""
    try:
        return definition.decode(data)
    except msgspec.MsgspecError as fault:
        raise ConfigurationError(f"the stored definition cannot be read: {fault}") from fault
