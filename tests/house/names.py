"""Names in back-quotes that texts mention, and those that do not exist.

    python -m tests.house.names

Reads the signs (docstrings of `__init__` modules), the pages of `docs/` and those at the root. A
span in back-quotes is a path, a command, an expression of Python, a fragment of YAML or TOML, or a
name, and is looked up accordingly: in the folder, in the command line, in the definitions and
strings of the source. What is none of these is a value (`VALUES`) or is listed in `ALLOWED`. The
generated pages and docs/reference are left out: each is made from the code or compared with it. Of
old decisions only paths and commands are looked up. To read another kind of span: a function in
`CHECKS`.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import importlib.util
import inspect
import keyword
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from agenthive.cli import main as cli_main
from agenthive.facades import document_files
from tests.house.figures import ROOT

PACKAGE = "agenthive"
DOUBLE = re.compile(r"(?<!`)``(?!`)(.+?)(?<!`)``(?!`)", re.DOTALL)
SINGLE = re.compile(r"(?<!`)`(?!`)([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
FENCE = re.compile(r"^(?:<!-- file: (?P<file>\S+) -->\n+)?```\w*\n(?P<code>.*?)^```", re.M | re.S)
SUFFIX = re.compile(r"\.(?:py|md|toml|ya?ml|jsonl?|sql|lock|in|txt)$")
PATH = re.compile(r"[\w.<>*-]+(?:/[\w.<>*-]*)*/?")
WORD = re.compile(r"[A-Za-z_]\w*")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
PLACEHOLDER = re.compile(r"<\w+>|\b[A-Z]{1,8}\b|N(?=\.)")

VALUES = {
    r"[^A-Za-z]*[A-Za-z]?[^A-Za-z]*": "at most one letter: an operator, a number, a variable",
    r"\$\{.*\}|\{\{.*\}?\}?|\{\w+\}": "a reference or a placeholder in a workflow",
    r"[0-9a-f]{12,16}\+?": "the digest of a definition or of the sources",
    r"\d[\w.:+-]*": "a number, a duration, a date",
    r"\.[\w]+|\$\w+(/.*)?|@\w+|/\w*": "an ending, a variable of the shell, a shorthand of cron",
    r"[A-Z]+[a-z]*(-[A-Z][A-Za-z]*)+": "the name of an HTTP header",
    r"[A-Z]+([/ :]+[A-Z ]+)+": "several placeholders, or a heading of several words",
    r"[\w-]+~\d+(\[\d+\])?": "the key of a task in a run of the examples",
    r"bee-[\w.-]+": "the model of the examples",
    r"(source|kill|pip|pipx) .*": "a command of the shell or of another tool",
}
"""Patterns of what is no name of ours."""

ALLOWED = {
    '[prices."NAME"]': "a section of the settings, for any name",
    "import agenthive": "a statement of Python",
    "a > b": "the notation of the map, explained where it is",
    "utils": "a name that no file may have",
    "helpers": "a name that no file may have",
    "synchronous=FULL": "a setting of SQLite",
    "NORMAL": "a setting of SQLite",
    "my_agents.py": "a file of the reader's",
    "list_resources": "an action of MCP; the agent makes the name from its second word",
    "list_prompts": "an action of MCP; the agent makes the name from its second word",
    "isError": "a field of the protocol of MCP",
}
"""Spans that no rule covers -> why they may stay."""

DESIGN_PAGES = tuple(
    f"docs/howto/{name}.md"
    for name in ("agent-hive", "document-names", "lead-agent", "orchestration-engine")
)
"""Pages that also speak of the names of older designs."""

Complaint = tuple[str, str]


@dataclass
class Names:
    """What exists in a source tree."""

    #: Functions, classes, parameters, attributes, variables and fields.
    definitions: set[str] = field(default_factory=set)
    #: Texts without spaces: keys of the dialect, settings, states, kinds of event, JSON keys.
    strings: set[str] = field(default_factory=set)
    #: All texts, for headings that a command prints.
    printed: list[str] = field(default_factory=list)
    #: Names of files and folders without their endings.
    modules: set[str] = field(default_factory=set)

    def knows(self, name: str) -> bool:
        """Whether it is any of these but a text."""
        return name in self.definitions or name in self.strings or name in self.modules

    def add(self, other: Names) -> None:
        """Take in what exists elsewhere."""
        self.definitions |= other.definitions
        self.strings |= other.strings
        self.printed += other.printed
        self.modules |= other.modules


def read_names(files: Iterable[Path]) -> Names:
    """The names of some modules."""
    names = Names()
    for file in files:
        names.add(read_file(file))
    return names


@functools.cache
def read_file(file: Path) -> Names:
    """The names of one module; read once in a process."""
    names = Names(modules={file.stem, file.parent.name})
    docstrings = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        # What only a docstring mentions does not exist by that; a parent comes before its children.
        if isinstance(node, ast.Expr):
            docstrings.add(node.value)
        elif node not in docstrings:
            add_node(node, names)
    return names


def add_node(node: ast.AST, names: Names) -> None:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            names.definitions.add(node.name)
        case ast.arg():
            names.definitions.add(node.arg)
        case ast.keyword(arg=str(name)):
            names.definitions.add(name)
        case ast.Attribute():
            names.definitions.add(node.attr)
        case ast.Name(ctx=ast.Store()):
            names.definitions.add(node.id)
        case ast.alias():
            names.definitions |= set((node.asname or node.name).split("."))
        case ast.Constant(value=str(text)):
            names.printed.append(text)
            if " " not in text and "\n" not in text:
                names.strings |= {text, *WORD.findall(text)}


@functools.cache
def read_source(folder: Path) -> Names:
    return read_names(sorted(folder.rglob("*.py")))


@dataclass(frozen=True)
class Text:
    """A text with the place it is in: a sign, or a page."""

    name: str
    content: str
    root: Path = ROOT
    #: The folder of a sign's package; that of the page otherwise.
    folder: Path = ROOT
    is_sign: bool = False
    is_decision: bool = False

    @property
    def source(self) -> Path:
        return self.root / "src" / PACKAGE

    @functools.cached_property
    def spans(self) -> list[str]:
        """What is in back-quotes, outside code blocks, without line breaks."""
        prose = FENCE.sub("", self.content)
        doubles = DOUBLE.findall(prose)
        singles = SINGLE.findall(DOUBLE.sub("", prose))
        return list(dict.fromkeys(" ".join(span.split()) for span in [*doubles, *singles]))

    @functools.cached_property
    def blocks(self) -> set[str]:
        """The words in the code blocks of the page: names that its examples make."""
        code = [match["code"] for match in FENCE.finditer(self.content)]
        return set(WORD.findall(" ".join(code))) | set(re.findall(r"[\w.-]+", " ".join(code)))

    @functools.cached_property
    def files(self) -> set[str]:
        """The files that the page shows."""
        return {match["file"] for match in FENCE.finditer(self.content) if match["file"]}

    def knows(self, name: str) -> bool:
        """Whether a single name exists, for this text."""
        if name in self.blocks or is_python(name):
            return True
        if self.is_sign:
            if read_source(self.folder).knows(name):
                return True
            if name[:1].isupper() or "_" in name:
                return read_source(self.source).knows(name)
            packages = {path.parent.name for path in self.source.glob("*/__init__.py")}
            return name in packages | {path.stem for path in self.source.glob("*.py")}
        return read_source(self.source).knows(name) or name in read_tools(self.root)


@functools.cache
def read_tools(root: Path) -> frozenset[str]:
    """The strings of x.py and of the laboratory, and what the configuration names."""
    files = [root / "x.py", *(root / "tests" / "lab").rglob("*.py")]
    names = read_names([file for file in files if file.is_file()]).strings
    config = root / "pyproject.toml"
    return frozenset(
        names | set(re.findall(r"[\w-]+", config.read_text()) if config.is_file() else ())
    )


def is_python(name: str) -> bool:
    """Whether a name is one of the language or of its library."""
    if name in dir(builtins) or keyword.iskeyword(name) or name in sys.stdlib_module_names:
        return True
    return name in {"self", "main", "__init__", "__all__"}


# Kinds of span. A check returns None if a span is not of its kind, else whether it exists.


def check_value(span: str, text: Text) -> bool | None:
    """No name of ours."""
    return True if any(re.fullmatch(pattern, span) for pattern in VALUES) else None


def open_context(command: click.Command) -> click.Context:
    """As the command line opens it: a command keeps the names of its help option for good."""
    return click.Context(command, **cli_main.context_settings)


def check_command(span: str, text: Text) -> bool | None:
    """`agenthive VERB --option`: the command and its options exist."""
    if not span.startswith(f"{PACKAGE} "):
        return None
    words = shlex.split(span)[1:]
    command: click.Command = cli_main
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        if words[0].isupper():
            return True
        following = command.get_command(open_context(command), words.pop(0))
        if following is None:
            return False
        command = following
    return set(OPTION.findall(span)) <= list_options(command)


def list_options(command: click.Command) -> set[str]:
    """The options of a command."""
    params = command.get_params(open_context(command))
    return {opt for param in params for opt in [*param.opts, *param.secondary_opts]}


@functools.cache
def list_all_options() -> frozenset[str]:
    """The options of every command."""
    options: set[str] = set()
    pending: list[click.Command] = [cli_main]
    while pending:
        command = pending.pop()
        options |= list_options(command)
        if isinstance(command, click.Group):
            context = open_context(command)
            found = [command.get_command(context, name) for name in command.list_commands(context)]
            pending += [child for child in found if child is not None]
    return frozenset(options)


def check_compat(span: str, text: Text) -> bool | None:
    """`agenthive-compat COMMAND --option`, and an option alone on the page of that command."""
    group = document_files.main
    words = span.split()
    if words[0] == "agenthive-compat" and len(words) > 1:
        command = group.commands.get(words[1])
        return command is not None and set(OPTION.findall(span)) <= list_options(command)
    if text.name not in DESIGN_PAGES or not OPTION.fullmatch(span):
        return None
    return any(span in list_options(command) for command in group.commands.values()) or None


def check_design_name(span: str, text: Text) -> bool | None:
    """A name that an older design prints, or a module of agenthive-compat, on a page about it."""
    if text.name not in DESIGN_PAGES:
        return None
    module = text.root / "compat" / "packages" / span.replace(".", "/")
    if module.is_dir() or module.with_suffix(".py").is_file():
        return True
    printed = PLACEHOLDER.sub("", span).strip()
    return (len(printed) > 1 and printed in read_documents(text.root)) or None


@functools.cache
def read_documents(root: Path) -> str:
    """The documents of the older designs."""
    return "\n".join(file.read_text("utf-8") for file in (root / "tests/documents").glob("*.md"))


def check_option(span: str, text: Text) -> bool | None:
    """`--option VALUE`: some command has it."""
    if not span.startswith("--") or not OPTION.match(span):
        return None
    return set(OPTION.findall(span)) <= list_all_options()


def check_tool(span: str, text: Text) -> bool | None:
    """`python3 x.py X`, `x.py lab ROW`: the command, and the row of the laboratory."""
    match = re.match(r"(?:python3 )?x\.py (\w+) ?(.*)", span)
    if match is None:
        return None
    namespace = read_names([text.root / "x.py"])
    if match[1] not in namespace.strings:
        return False
    rows = [word for word in match[2].split() if re.fullmatch(r"T\d+", word)]
    planned = read_names([text.root / "tests" / "lab" / "promises.py"]).strings if rows else set()
    folder = text.root / "tests" / "lab" / "rows"
    options = set(OPTION.findall(span)) <= set(OPTION.findall(read_tool_texts(text.root)))
    return options and all(
        (folder / f"{row.lower()}.py").is_file() or row in planned for row in rows
    )


@functools.cache
def read_tool_texts(root: Path) -> str:
    files = [root / "x.py", *sorted((root / "tests" / "lab").glob("*.py"))]
    return "\n".join(file.read_text("utf-8") for file in files if file.is_file())


def check_script(span: str, text: Text) -> bool | None:
    """`-m tests.MODULE --option` and `tests/SCRIPT.py --option`: the file, and its options."""
    match = re.match(r"(?:python3? )?(?:-m (tests[\w.]+)|(tests/[\w/]+\.py))(?: |$)", span)
    if match is None or " " not in span:
        return None
    name = match[1].replace(".", "/") if match[1] else match[2].removesuffix(".py")
    files = [text.root / f"{name}.py", text.root / name / "__main__.py"]
    file = next((file for file in files if file.is_file()), None)
    return file is not None and set(OPTION.findall(span)) <= set(OPTION.findall(file.read_text()))


def check_path(span: str, text: Text) -> bool | None:
    """A path exists: from the root, the package, the sign's package, or the page."""
    is_path = "/" in span or bool(SUFFIX.search(span))
    if not is_path or not PATH.fullmatch(span) or span.startswith(("application/", "agenthive/")):
        return None
    if span in text.files or Path(span).name in text.blocks | {Path(n).name for n in text.files}:
        return True
    if span.startswith("HOME/"):
        return Path(span).parts[1] in read_source(text.source / "infra").strings
    pattern = PLACEHOLDER.sub("*", span).rstrip("/")
    bases = [text.root, text.source, text.folder, *([text.folder.parent] if text.is_sign else [])]
    if "/" not in span and not text.is_sign:
        bases += [path.parent for path in text.source.rglob("__init__.py")]
    found = any(True for base in bases for _ in base.glob(pattern))
    # A file that a reader writes or that a command makes is named in the source.
    return found or (not span.endswith(".py") and span in read_source(text.source).strings)


def check_dotted(span: str, text: Text) -> bool | None:
    """`core.engine.driver`, `agenthive.testing.check_agent`, `base.AgentKind`, `hive.MEMORY`."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", span):
        return None
    if span in read_source(text.source).strings:
        return True  # a kind of event, an address, a dotted setting
    if text.root == ROOT and any(resolve_dotted(f"{prefix}{span}") for prefix in prefixes(text)):
        return True
    first, *rest = span.split(".")
    names = read_source(text.source)
    modules = list_modules_named(text.source, first) if text.root == ROOT else []
    if any(resolve_dotted(".".join([module, *rest])) for module in modules):
        return True
    if first == PACKAGE or (modules and first not in names.definitions):
        return False
    return text.knows(first) and all(names.knows(name) or name in text.blocks for name in rest)


def list_modules_named(source: Path, name: str) -> list[str]:
    """The dotted names of the modules and packages with this last name."""
    files = [*source.rglob(f"{name}.py"), *source.rglob(f"{name}/__init__.py")]
    paths = [file.relative_to(source.parent).with_suffix("") for file in files]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def prefixes(text: Text) -> list[str]:
    """Where a dotted name may begin."""
    if not text.is_sign:
        return ["", f"{PACKAGE}."]
    relative = text.folder.relative_to(text.root / "src")
    parents = [relative, *relative.parents]
    return ["", *(".".join(path.parts) + "." for path in parents if path.parts)]


def resolve_dotted(name: str) -> bool:
    """Whether a module, or an attribute of one, has this name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = find_module(".".join(parts[:length]))
        if module is not None:
            return has_attribute(module, parts[length:])
    return False


@functools.cache
def find_module(name: str) -> Any:
    """A module of ours, imported; None if there is none."""
    if name.split(".")[0] not in (PACKAGE, "tests"):
        return None
    try:
        return importlib.import_module(name) if importlib.util.find_spec(name) else None
    except ImportError:
        return None


def has_attribute(value: Any, parts: list[str]) -> bool:
    for part in parts:
        annotations = getattr(value, "__annotations__", {})
        if not hasattr(value, part):
            return part in annotations
        value = getattr(value, part)
    return True


def check_expression(span: str, text: Text) -> bool | None:
    """`Hive.open(url)`, `await hive.resume()`, `f(x) -> y`: what is called, and its keywords."""
    if "(" not in span and "=" not in span and "[" not in span:
        return None
    try:
        tree = ast.parse(span.partition(" -> ")[0].replace("...", "Ellipsis"), mode="eval")
    except SyntaxError:
        return None
    looked_up = [node for node in ast.walk(tree) if isinstance(node, ast.Subscript)]
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {func.id for func in called if isinstance(func, ast.Name)}
    names |= {
        node.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg is not None
    }
    names |= {node.value.id for node in looked_up if isinstance(node.value, ast.Name)}
    names |= {str(node.slice.value) for node in looked_up if isinstance(node.slice, ast.Constant)}
    if not names:
        return None
    if text.root == ROOT and not all(fits_signature(node) for node in ast.walk(tree)):
        return False
    source = read_source(text.source)
    return all(len(name) == 1 or source.knows(name) or text.knows(name) for name in names)


@functools.cache
def hive_example() -> Any:
    """A hive that is not open: it has the parts, which its class has not."""
    return importlib.import_module(PACKAGE).Hive.open()


def fits_signature(node: ast.AST) -> bool:
    """Whether a call of our API, if it is one, uses keywords that there are."""
    if not isinstance(node, ast.Call):
        return True
    first, *rest = ast.unparse(node.func).split(".")
    package = importlib.import_module(PACKAGE)
    value: Any = hive_example() if first == "hive" else getattr(package, first, None)
    for part in rest:
        value = getattr(value, part, None)
    if value is None:
        return True
    parameters = inspect.signature(value).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return True
    return {word.arg for word in node.keywords} <= set(parameters)


def check_assignment(span: str, text: Text) -> bool | None:
    """`key: value`, `name=value`, `[table.key]`, `name:`: the keys exist."""
    table = re.fullmatch(r"\[([a-z_.]+)\]", span)
    match = re.match(r"([A-Za-z_][\w-]*)(?:: |:$| ?=)", span)
    keys = table[1].split(".") if table else [match[1]] if match else []
    if not keys:
        return None
    return all(key.isupper() or text.knows(key) or is_variable(key, text) for key in keys)


def is_variable(name: str, text: Text) -> bool:
    """An environment variable that some file reads."""
    return read_source(text.source).knows(name) or name in read_tools(text.root)


def check_name(span: str, text: Text) -> bool | None:
    """One name."""
    if not re.fullmatch(r"[A-Za-z_][\w-]*(:[\w/]*)?", span):
        return None
    name = span.partition(":")[0]
    setting = re.fullmatch(r"AGENTHIVE_(\w+)", name)
    if setting is not None:
        return setting[1].lower() in read_source(text.source).strings or text.knows(name)
    return text.knows(name) or name in list_verbs()


@functools.cache
def list_verbs() -> frozenset[str]:
    return frozenset([PACKAGE, *cli_main.list_commands(open_context(cli_main))])


def check_printed(span: str, text: Text) -> bool | None:
    """Several words that a command prints, or that the source has in a string."""
    if any(span in printed for printed in read_source(text.source).printed):
        return True
    return None


Check = Callable[[str, Text], bool | None]
CHECKS: tuple[Check, ...] = (
    check_value,
    check_command,
    check_compat,
    check_design_name,
    check_option,
    check_tool,
    check_script,
    check_path,
    check_dotted,
    check_expression,
    check_assignment,
    check_name,
    check_printed,
)
PATH_CHECKS: tuple[Check, ...] = (check_command, check_tool, check_script, check_path)


def check_span(span: str, text: Text) -> bool:
    """Whether what a span names exists. A span of no known kind does not."""
    if span in ALLOWED:
        return True
    if text.is_decision:
        return all(check(span, text) is not False for check in PATH_CHECKS)
    verdicts = (check(span, text) for check in CHECKS)
    return next((verdict for verdict in verdicts if verdict is not None), False)


def find_wrong_names(texts: Iterable[Text]) -> list[Complaint]:
    """Every span that names what does not exist, with the text it is in."""
    return [
        (text.name, span) for text in texts for span in text.spans if not check_span(span, text)
    ]


def read_texts(root: Path) -> Iterator[Text]:
    """The signs and the pages of a repository."""
    for file in sorted((root / "src" / PACKAGE).rglob("__init__.py")):
        sign = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        yield Text(file.relative_to(root).as_posix(), sign, root, file.parent, is_sign=True)
    pages = [root / name for name in ("CONTRIBUTING.md", "README.md", "RELIABILITY.md")]
    pages += [
        page for page in sorted((root / "docs").rglob("*.md")) if "reference" not in page.parts
    ]
    for page in pages:
        if page.is_file():
            name, decision = page.relative_to(root).as_posix(), page.parent.name == "decisions"
            yield Text(name, page.read_text("utf-8"), root, page.parent, is_decision=decision)


def main() -> int:
    """Print what does not exist."""
    wrong = find_wrong_names(read_texts(ROOT))
    for name, span in wrong:
        print(f"{name}: `{span}`")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
