"""Document A as far as it is there: its tree of errors and its circuit breaker."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.documents.code_blocks import A, block
from tests.wheels import clean_environment

MODULES = {
    "advanced_orchestration.models": ["CoordinationError", "ResourceError", "ScalingError"],
    "external_api.models": ["APIError"],
    "ml_enhancements.models": ["MLError"],
}


def run(code: str, folder: Path, site: Path) -> str:
    """What the code prints under the document's import names."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, env=clean_environment(site),
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def test_every_error_has_a_module() -> None:
    printed = re.findall(
        r"^class (\w+)\(LeanVibeError\)", block("python", "Base exception", A), re.M
    )
    assert printed == [name for names in MODULES.values() for name in names]


def test_tree_of_errors(tmp_path: Path, site: Path) -> None:
    lines = [
        line
        for module, names in MODULES.items()
        for line in (
            f"from {module} import LeanVibeError, {', '.join(names)}",
            f"print([issubclass(e, LeanVibeError) for e in ({', '.join(names)},)])",
        )
    ]
    shown = run("\n".join(lines), tmp_path, site)
    assert shown == "[True, True, True]\n[True]\n[True]\n"


def test_error_handling_example(tmp_path: Path, site: Path) -> None:
    """The block with a coordinator that refuses: its class is not there yet, its errors are."""
    text = block("python", "except CoordinationError as e", A)
    missing = "from advanced_orchestration import MultiAgentCoordinator\n"
    assert missing in text
    text = text.replace(missing, "from advanced_orchestration.models import LeanVibeError\n")
    code = f"""
import asyncio

class MultiAgentCoordinator:
    async def assign_task(self, task):
        raise task

async def handle(invalid_task):
{textwrap.indent(text, "    ")}

from advanced_orchestration.models import CoordinationError, ResourceError
for error in (CoordinationError("no agent"), ResourceError("no room"), ValueError("odd")):
    asyncio.run(handle(error))
"""
    assert run(code, tmp_path, site) == (
        "Coordination failed: no agent\nSystem error: no room\nUnexpected error: odd\n"
    )


def test_circuit_breaker_example(tmp_path: Path, site: Path) -> None:
    """The block uses a class that it does not import; everything else is as printed."""
    text = block("python", "@circuit_breaker.protect", A)
    assert "import CircuitBreaker\n" not in text
    code = f"""
from external_api import CircuitBreaker
{text}
import asyncio
print(circuit_breaker.config.failure_threshold, circuit_breaker.config.recovery_timeout)
print(asyncio.run(call_external_api()))
"""
    assert run(code, tmp_path, site) == "5 60\nNone\n"
