#!/usr/bin/env python3
"""The one command of this repository: `python3 x.py COMMAND`.

    setup            make .venv and install everything from the hash-pinned locks
    demo [ARGS]      write release notes for this repository with a workflow of agents
    test [--quick] [ARGS]
                     run the tests (ARGS go to pytest); ends with pytest's closing line; --quick
                     leaves out those that are marked slow, and takes two minutes
    check [--fast] [--only STEP,..] [--skip STEP,..]
                     format, lint, types, contracts, house, figures, docs, tests, coverage
    bench [NAME]     run benchmarks/NAME.py (no NAME: list them)
    lab gate|nightly|ROW [--seeds A:B]
                     put the promises to the proof: lab/results.jsonl, RELIABILITY.md (`lab -h`)
    docs             write the generated pages of docs/reference and the maps again
    lock             resolve requirements/*.lock again
    build [DIR]      make the wheel and the sdist of agenthive and the wheel of agenthive-compat
    release VERSION  set the version, date the changelog's heading, commit and tag; uploads nothing
    help             print this

Every command sets up first; when nothing changed that takes a fraction of a second. Needs Python
>= 3.11 and a package index, nothing else. Standard library only. To add a command: a function
here, a line in COMMANDS, a line above, a target in the Makefile.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "agenthive-stamp"
LOCKS = ROOT / "requirements"
NODE_LOCK = ROOT / "tests" / "node" / "package-lock.json"
NODE_STAMP = VENV / "agenthive-node-stamp"
OLDEST = (3, 11)

# What pip is told by its environment, uv is told too (uv reads none of pip's settings).
PIP_TO_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}


def say(text: str) -> None:
    """One line for people. Standard output belongs to the command that was asked for."""
    print(text, file=sys.stderr, flush=True)


def environment() -> dict[str, str]:
    """The environment of everything we start: .venv first on the path, uv told what pip is."""
    env = dict(os.environ, VIRTUAL_ENV=str(VENV))
    env["PATH"] = os.pathsep.join([str(BIN), env.get("PATH", os.defpath)])
    env.pop("PYTHONHOME", None)
    for theirs, ours in PIP_TO_UV.items():
        if env.get(theirs):
            env.setdefault(ours, env[theirs])
    return env


def run(*command: str | Path) -> int:
    """Run in the repository, in .venv. Returns the exit code."""
    return subprocess.run([str(part) for part in command], cwd=ROOT, env=environment()).returncode


def quiet(*command: str | Path) -> tuple[int, str]:
    """Run like ``run``, but hand back the exit code and all that was printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return done.returncode, done.stdout


def must(what: str, *command: str | Path) -> None:
    """Run quietly; if it fails, show what it printed and end with exit code 1."""
    code, printed = quiet(*command)
    if code:
        say(printed)
        raise SystemExit(f"x.py: {what} failed (exit code {code}); see above")


# ---------------------------------------------------------------------------------------- setup


def digest(*files: Path) -> str:
    """What the environment was made from: the files, the interpreter and where it all lies."""
    mark = hashlib.sha256(f"{sys.version} {sys.base_prefix} {ROOT}".encode())
    for file in files:
        mark.update(file.read_bytes())
    return mark.hexdigest()


def stamped(stamp: Path, mark: str) -> bool:
    return stamp.is_file() and stamp.read_text() == mark


def install() -> str:
    """Put the locked packages and this project into .venv. Returns who installed them."""
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    lock = LOCKS / "dev.lock"
    hashed = ("--require-hashes", "--no-deps", "-r")
    editable = ("--no-deps", "--no-build-isolation", "-e", ROOT)
    code, why = quiet(*pip, "--only-binary", ":all:", *hashed, LOCKS / "installer.lock")
    for certificates in () if code else ((), ("--system-certs",)):
        uv = (BIN / "uv", "pip")
        code, why = quiet(*uv, "sync", "--quiet", *certificates, "--require-hashes", lock)
        if not code:
            must("the editable install", *uv, "install", "--quiet", *editable)
            return "uv"
    say("x.py: no uv here, using pip (slower): " + (why.strip().splitlines() or ["?"])[-1])
    must("pip install of requirements/dev.lock", *pip, *hashed, lock)
    must("the editable install", *pip, *editable)
    return "pip"


def setup_python(mark: str) -> None:
    started = time.monotonic()
    say("x.py: setting up .venv (the first time takes a minute)")
    if VENV.is_symlink():
        raise SystemExit(f"x.py: {VENV} is a link; remove it, so that no other .venv is cleared")
    STAMP.unlink(missing_ok=True)
    # Whoever has .venv activated runs us with its Python, which must not take itself apart.
    python = getattr(sys, "_base_executable", "") or sys.executable
    code, printed = quiet(python, "-m", "venv", "--clear", VENV)
    if code:
        say(printed)
        raise SystemExit("x.py: python -m venv failed; on Debian: apt-get install python3-venv")
    who = install()
    STAMP.write_text(mark)
    say(f"x.py: .venv is ready ({who}, {time.monotonic() - started:.1f} s)")


def setup_node() -> None:
    """Install the node servers some tests talk to: best effort, unless AGENTHIVE_REQUIRE says."""
    required = "node" in os.environ.get("AGENTHIVE_REQUIRE", "").replace(" ", "").split(",")
    if not NODE_LOCK.is_file():
        return
    mark = digest(NODE_LOCK)
    if stamped(NODE_STAMP, mark):
        return
    npm = shutil.which("npm") if shutil.which("node") else None
    code, printed = 1, "node and npm are not installed"
    if npm:
        say("x.py: npm ci in tests/node")
        where = ("--prefix", NODE_LOCK.parent)
        code, printed = quiet(npm, "ci", *where, "--no-audit", "--no-fund", "--loglevel=error")
    if not code:
        NODE_STAMP.write_text(mark)
    elif required:
        raise SystemExit(f"x.py: node is required and its packages are not there:\n{printed}")
    else:
        say(f"x.py: tests that need node will be skipped: {(printed.splitlines() or ['?'])[0]}")


def ensure(*, node: bool = False) -> None:
    """Make .venv what the locks say, if it is not so already."""
    mark = digest(LOCKS / "dev.lock", LOCKS / "installer.lock", ROOT / "pyproject.toml")
    if not stamped(STAMP, mark):
        setup_python(mark)
    if node:
        setup_node()


# ------------------------------------------------------------------------------------- commands


def setup(args: list[str]) -> int:
    ensure(node=True)
    say("x.py: everything is in place")
    return 0


def demo(args: list[str]) -> int:
    ensure()
    return run(PYTHON, "examples/run_demo.py", *args)


def test(args: list[str]) -> int:
    """The whole suite leaves coverage data behind; a part of it does not."""
    ensure(node=True)
    # Many tests wait: two processes take little more than half the time of one.
    shared = ("-n", "2", "--dist", "loadfile")
    if args[:1] == ["--quick"]:
        return run(PYTHON, "-m", "pytest", *shared, "-q", "-m", "not slow", *args[1:])
    whole = () if args else ("--cov", "--cov-report=", *shared)
    return run(PYTHON, "-m", "pytest", *whole, *args)


def bench(args: list[str]) -> int:
    ensure()
    folder = ROOT / "benchmarks"
    names = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))
    if not args or args[0] not in names:
        say(f"usage: python3 x.py bench NAME [ARGS]; NAME is one of: {', '.join(names) or '-'}")
        return 2 if args else 0
    return run(PYTHON, folder / f"{args[0]}.py", *args[1:])


def lab(args: list[str]) -> int:
    ensure()
    return run(PYTHON, "-m", "tests.lab", *args)


def docs(args: list[str]) -> int:
    ensure()
    code = run(PYTHON, "docs/reference/generate.py", *args)
    return run(PYTHON, "-m", "tests.lab", "page", *args) or code


def lock(args: list[str]) -> int:
    """Resolve again, from what is locked now; ``--upgrade`` takes the newest of everything."""
    ensure()
    compiling = (BIN / "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11")
    writing = ("--generate-hashes", "--no-emit-index-url", "--custom-compile-command")
    base = LOCKS.relative_to(ROOT) / "base.lock"
    for sources, target in (
        (("pyproject.toml",), base),
        (
            ("pyproject.toml", "requirements/dev.in", "-c", base, "--all-extras"),
            base.with_name("dev.lock"),
        ),
        (("requirements/installer.in",), base.with_name("installer.lock")),
    ):
        command = (*compiling, *writing, "python3 x.py lock", *sources, "-o", target, *args)
        must(f"locking {target}", *command)
        say(f"x.py: wrote {target}")
    return 0


def build(args: list[str]) -> int:
    """Make everything that a release consists of, in ``dist`` or in the folder that is named."""
    ensure()
    target = Path(args[0]).resolve() if args else ROOT / "dist"
    for folder, kinds in ((ROOT, ("wheel", "sdist")), (ROOT / "compat", ("wheel",))):
        for kind in kinds:
            command = [str(PYTHON), "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
            if code := subprocess.run(command, cwd=folder, env=environment()).returncode:
                return code
    return 0


def changelog_for(text: str, version: str, day: str) -> str:
    """The changelog with what was unreleased under a heading of its own."""
    heading = "## Unreleased\n"
    if heading not in text:
        raise SystemExit("x.py release: CHANGELOG.md has no heading '## Unreleased'")
    return text.replace(heading, f"{heading}\n## {version} - {day}\n", 1)


def release(args: list[str]) -> int:
    """Set the version, date the changelog, commit and tag. Nothing is uploaded."""
    if len(args) != 1 or not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", args[0]):
        say("usage: python3 x.py release VERSION, for example 0.2.0 or 1.0.0rc1")
        return 2
    version, tag = args[0], f"v{args[0]}"
    git = ("git", "-C", ROOT)
    code, changes = quiet(*git, "status", "--porcelain")
    if code or changes.strip():
        say("x.py release: commit or stash your changes first")
        return 1
    if quiet(*git, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}")[0] == 0:
        say(f"x.py release: the tag {tag} exists already")
        return 1
    module, changelog = ROOT / "src" / "agenthive" / "__init__.py", ROOT / "CHANGELOG.md"
    dated = changelog_for(changelog.read_text("utf-8"), version, time.strftime("%Y-%m-%d"))
    text = module.read_text("utf-8")
    line = f'__version__ = "{version}"'
    module.write_text(re.sub(r'^__version__ = ".*"$', line, text, count=1, flags=re.M), "utf-8")
    changelog.write_text(dated, "utf-8")
    must("git commit", *git, "commit", "--quiet", "-m", f"Release {version}", module, changelog)
    must("git tag", *git, "tag", "-a", tag, "-m", f"agenthive {version}")
    say(f"x.py: committed and tagged {tag}. Next: python3 x.py build, then upload dist by hand.")
    return 0


def usage(args: list[str]) -> int:
    print(__doc__)
    return 0


# ---------------------------------------------------------------------------------------- check


def steps(fast: bool) -> dict[str, tuple[str | Path, ...]]:
    """What ``check`` runs, by name, in order of how soon it can say no."""
    pytest = (PYTHON, "-m", "pytest", "-q")
    rest = ("--ignore=tests/house", "--ignore=tests/docs")
    scope = ("-m", "not slow") if fast else ("--cov", "--cov-report=")
    found = {
        "format": (BIN / "ruff", "format", "--check", "."),
        "lint": (BIN / "ruff", "check", "."),
        "types": (BIN / "mypy",),
        "contracts": (BIN / "lint-imports",),
        "house": (*pytest, "tests/house"),
        "figures": (PYTHON, "-m", "tests.house.figures"),
        "docs": (*pytest, "tests/docs"),
        "tests": (*pytest, *rest, *scope),
    }
    if not fast:
        report = (PYTHON, "-m", "coverage", "report")
        found["coverage"] = (*report, "--fail-under=95")
        found["coverage-core"] = (
            *report,
            "--include=src/agenthive/core/*",
            "--precision=2",
            # A line or two may be reached by a race only.
            "--fail-under=99.95",
        )
    return found


# Steps whose whole output is shown, also when all went well: they inform and never fail.
SHOWN = {"figures"}


def outcome(printed: str) -> str:
    """The line that says how a step went: the last one with letters in it, without ornaments."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    lines = [line.strip(" =") for line in plain.splitlines() if re.search("[A-Za-z]", line)]
    return lines[-1] if lines else ""


def options(args: list[str]) -> tuple[bool, set[str], set[str]]:
    """--fast, --only a,b and --skip a,b. Anything else ends with exit code 2."""
    chosen: dict[str, set[str]] = {"--only": set(), "--skip": set()}
    rest = list(args)
    fast = "--fast" in rest
    known = set(steps(False))
    while rest:
        word = rest.pop(0)
        if word == "--fast":
            continue
        names = set(rest.pop(0).split(",")) if word in chosen and rest else set()
        if not names or names - known:
            say(f"x.py check: cannot use {word!r} {sorted(names - known)}; {sorted(known)}")
            raise SystemExit(2)
        chosen[word] |= names
    return fast, chosen["--only"], chosen["--skip"]


def check(args: list[str]) -> int:
    fast, only, skip = options(args)
    ensure(node=True)
    failed: dict[str, str] = {}
    for name, command in steps(fast).items():
        if name in skip or (only and name not in only):
            continue
        started = time.monotonic()
        code, printed = quiet(*command)
        verdict = "FAILED" if code else "ok"
        shown = name in SHOWN and not code
        summary = "shown below" if shown else outcome(printed)
        print(f"{name:14} {verdict:7} {time.monotonic() - started:6.1f} s  {summary}")
        if shown:
            print(f"\n{printed.rstrip()}\n")
        sys.stdout.flush()
        if code:
            failed[name] = printed
    for name, printed in failed.items():
        print(f"\n--- {name} " + "-" * (90 - len(name)) + f"\n{printed.rstrip()}")
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall is well")
    return 1 if failed else 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "setup": setup,
    "demo": demo,
    "test": test,
    "check": check,
    "bench": bench,
    "lab": lab,
    "docs": docs,
    "lock": lock,
    "build": build,
    "release": release,
    "help": usage,
}


def main(args: list[str]) -> int:
    if sys.version_info < OLDEST:
        say(
            f"x.py: Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, not {sys.version.split()[0]}"
        )
        return 2
    name = args[0] if args else ""
    if name in ("-h", "--help"):
        name = "help"
    if name not in COMMANDS:
        say(f"x.py: there is no command {name!r}\n\n{__doc__}" if name else str(__doc__))
        return 2
    return COMMANDS[name](args[1:])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
