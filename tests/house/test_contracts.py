"""The contracts between the rooms hold, and a contract that is broken is noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLANT = '"""Planted."""\n'

# Contract, file, what is written at its end.
BREAKS = [
    ("Arrows point down", "core/planted.py", "import agenthive.infra"),
    ("Arrows point down", "stores/planted.py", "def f():\n    import agenthive.agents"),
    ("Arrows point down", "runtimes/planted.py", "from agenthive import cli"),
    ("Arrows point down", "errors.py", "import agenthive.core.values"),
    ("Arrows point down", "attic/__init__.py", "import agenthive.core.values"),
    (
        "The core is built in strict layers",
        "core/model/planted.py",
        "import agenthive.core.journal.records",
    ),
    (
        "The core is built in strict layers",
        "core/machine/planted.py",
        "def f():\n    import agenthive.core.engine.driver",
    ),
    ("The core is built in strict layers", "core/attic/__init__.py", ""),
    ("Authoring", "authoring/readers/planted.py", "import agenthive.authoring.checks.tasks"),
    ("Authoring", "authoring/checks/planted.py", "import agenthive.authoring.assembler"),
    ("The CLI", "cli/support/planted.py", "import agenthive.cli.root"),
    ("Stores never look", "stores/planted.py", "import agenthive.core.journal.run_events"),
    ("Vendors of models", "agents/llm/planted.py", "from agenthive.agents.llm import other"),
    ("Oracles", "simulation/oracles/planted.py", "from agenthive.simulation.oracles import other"),
    ("core and selection", "core/policies/retry.py", "import random"),
    ("core and selection", "selection/planted.py", "def f():\n    import time"),
    ("core and selection", "errors.py", "import asyncio"),
    ("openai stands", "agents/planted.py", "def f():\n    import openai"),
    ("anthropic stands", "cli/planted.py", "import anthropic"),
    ("mcp stands", "agents/planted.py", "import mcp.types"),
    ("genai_prices stands", "agents/planted.py", "import genai_prices"),
    ("apsw stands", "stores/memory.py", "import apsw"),
    ("cronsim stands", "hive/planted.py", "import cronsim"),
    ("yaml stands", "cli/planted.py", "import yaml"),
    ("jsonschema_rs stands", "cli/planted.py", "def f():\n    import jsonschema_rs"),
    ("Agent kinds", "agents/planted.py", "from agenthive.agents import other"),
    ("Selection strategies", "selection/strategies/planted.py", "from . import other"),
    ("Commands of the CLI", "cli/commands/planted.py", "from agenthive.cli.commands import other"),
    (
        "No cycles",
        "core/values.py",
        "def f():\n    from agenthive.core.model import workflow as spec",
    ),
]


def lint(folder: Path) -> tuple[int, str]:
    """Run the contracts of the repository on the source in ``folder``."""
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert command, "lint-imports is not installed: python3 x.py setup"
    config = str(ROOT / "pyproject.toml")
    done = subprocess.run(
        [command, "--config", config, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def add(package: Path, name: str, text: str) -> None:
    file = package / name
    file.parent.mkdir(parents=True, exist_ok=True)
    (file.parent / "__init__.py").touch()
    old = file.read_text() if file.is_file() else PLANT
    file.write_text(f"{old}\n\n{text}\n")


def copy(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(ROOT / "src" / "agenthive", folder / "agenthive", ignore=ignored)


def test_contracts_hold(tmp_path: Path) -> None:
    copy(tmp_path)
    code, printed = lint(tmp_path)
    assert code == 0, printed
    assert " 0 broken" in printed


@pytest.mark.slow
@pytest.mark.parametrize(("contract", "name", "text"), BREAKS)
def test_broken_contract_is_noticed(contract: str, name: str, text: str, tmp_path: Path) -> None:
    package = copy(tmp_path)
    if "other" in text:
        add(package, str(Path(name).with_name("other.py")), "")
    add(package, name, text)
    if name == "errors.py":  # so that the fault is reached through another module
        add(package, "core/planted.py", "import agenthive.errors")
    code, printed = lint(tmp_path)
    assert code == 1, printed
    broken = [line for line in printed.splitlines() if " BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), printed


def test_every_contract_is_broken_once() -> None:
    config = (ROOT / "pyproject.toml").read_text("utf-8")
    names = [line.split('"')[1] for line in config.splitlines() if line.startswith('name = "')]
    contracts = names[1:]  # the first is the project's own name
    assert len(contracts) >= 11
    assert [n for n in contracts if not any(n.startswith(start) for start, *_ in BREAKS)] == []
