"""The settings of an installation.

The first source that has a setting decides its value: a flag of the command, the environment
variable ``AGENTHIVE_NAME``, the project file (``agenthive.toml`` in the working folder or the
nearest folder above it), the user file (``$XDG_CONFIG_HOME/agenthive/config.toml``), the default.
Files are TOML. `SETTINGS` is the one table of names, types, defaults and meanings, and
`Settings.origin` says where a value came from. All sources are checked before an error is raised,
so that one error lists every problem.

Secrets are never settings, and a workflow never changes one. To add a setting: a row in `SETTINGS`
and a property of `Settings`; then write the reference page with
``python -m agenthive.authoring.dialect.generate``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import msgspec

from agenthive.core.history.retention import FOREVER, Retention, parse_span, retention_by_class
from agenthive.core.values import NanoUSD, to_nano_usd
from agenthive.errors import ConfigurationError
from agenthive.infra import budget_list, price_list
from agenthive.infra.price_list import PriceList
from agenthive.infra.text_validation import is_text

PROJECT_FILE: Final = "agenthive.toml"
#: Of the environment variables.
PREFIX: Final = "AGENTHIVE_"
#: Bytes of a settings file.
_MAX_FILE: Final = 1 << 20


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `SETTINGS`."""

    name: str
    #: path, whole, choice, span, list, map, prices or budgets.
    type: str
    #: The default as the reference page shows it.
    default: str
    #: The meaning, for the reference page.
    doc: str
    #: The values of a choice.
    choices: tuple[str, ...] = ()
    #: Bounds of a whole number.
    least: int = 0
    most: int = 1_000_000

    @property
    def variable(self) -> str:
        """The name of its environment variable."""
        return PREFIX + self.name.upper()


SETTINGS: Final = (
    Setting(
        name="home",
        type="path",
        default="`.agenthive` next to the project file, else `$XDG_DATA_HOME/agenthive`",
        doc="The state directory, with the journal and the secrets. A relative path in a file is "
        "relative to the file, elsewhere to the working folder.",
    ),
    Setting(
        name="max_runs",
        type="whole",
        default="50",
        least=1,
        most=100_000,
        doc="Runs that are executed at the same time; others wait.",
    ),
    Setting(
        name="task_slots",
        type="whole",
        default="100",
        least=1,
        most=100_000,
        doc="Tasks that are executed at the same time, over all runs.",
    ),
    Setting(
        name="log_level",
        type="choice",
        default="warning",
        choices=("debug", "info", "warning", "error"),
        doc="The lowest level of log lines that is shown.",
    ),
    Setting(
        name="log_format",
        type="choice",
        default="auto",
        choices=("auto", "console", "json"),
        doc="The form of log lines: `auto` is console on a terminal and json elsewhere.",
    ),
    Setting(
        name="mode",
        type="choice",
        default="operator",
        choices=("operator", "server"),
        doc="Who writes the workflows: `operator` is the owner of this machine; `server` is for "
        "other authors: it bounds definitions, and calls reach public addresses only.",
    ),
    Setting(
        name="egress_allow",
        type="list",
        default="empty",
        doc="Hosts (`host:port`) that server mode may reach although they are not public.",
    ),
    Setting(
        name="agents",
        type="map",
        default="empty",
        doc="Custom agents: NAME to `module:attribute`, used as `custom://NAME`. In the "
        "environment `NAME=module:attribute,...`.",
    ),
    Setting(
        name="prices",
        type="prices",
        default="empty",
        doc="Prices of models, which precede published prices: a table for each with `input` and "
        "`output`, also `cache_read`, `cache_write`, `cache_write_1h`, `as_of`, `tiers` and `fees` "
        "(for 1,000 of what is no token, such as `web_searches`), in US "
        'dollars for 1,000,000 tokens (`per = "1K"` for 1,000). `[prices.default]` is for models '
        "that are in no list. In the environment `MODEL=INPUT/OUTPUT,...`.",
    ),
    Setting(
        name="budgets",
        type="budgets",
        default="empty",
        doc="What all runs may spend together, in US dollars: `tenant` in all, `day` on each day "
        "(UTC), `[budgets.agents]` NAME to an amount. A limit that was set with `agenthive budget` "
        "takes precedence. In the environment `tenant=100,day=5,agent NAME=1`.",
    ),
    Setting(
        name="retention_completed",
        type="span",
        default=FOREVER,
        doc="How long runs that completed are kept; `agenthive gc` drops older ones.",
    ),
    Setting(
        name="retention_failed",
        type="span",
        default=FOREVER,
        doc="The same for runs that failed, also in their compensation.",
    ),
    Setting(
        name="retention_others",
        type="span",
        default=FOREVER,
        doc="The same for runs that ended otherwise: cancelled, partially completed, compensated.",
    ),
)

_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}
_Value = Path | int | str | tuple[str, ...] | dict[str, str] | PriceList | dict[str, NanoUSD]


class Settings:
    """The settings in force. Created by `load`; `origin` says where each came from."""

    def __init__(self, values: Mapping[str, tuple[_Value, str]]) -> None:
        self._values = dict(values)

    @classmethod
    def load(
        cls,
        flags: Mapping[str, object] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Settings:
        """Read the settings from all sources. A flag that is None counts as absent.

        ``environ`` and ``folder`` (the working folder) default to those of the process. Raises
        ConfigurationError, which lists every invalid setting with its source.
        """
        environment = os.environ if environ is None else environ
        start_folder = Path.cwd() if folder is None else folder
        return cls(_SettingsCollector(environment, start_folder).gather(flags or {}))

    def origin(self, name: str) -> str:
        """The source of a value: a flag, a variable, the path of a file, or ``default``."""
        return self._values[name][1]

    def value(self, name: str) -> object:
        """The value of a setting by name. Raises KeyError for an unknown one."""
        return self._values[name][0]

    @property
    def home(self) -> Path:
        """The state directory with the journal and the secrets, an absolute path."""
        return cast("Path", self._values["home"][0])

    @property
    def max_runs(self) -> int:
        """The most runs that are executed at the same time."""
        return cast("int", self._values["max_runs"][0])

    @property
    def task_slots(self) -> int:
        """The most tasks that are executed at the same time, over all runs."""
        return cast("int", self._values["task_slots"][0])

    @property
    def log_level(self) -> str:
        """debug, info, warning or error."""
        return cast("str", self._values["log_level"][0])

    @property
    def log_format(self) -> str:
        """auto, console or json."""
        return cast("str", self._values["log_format"][0])

    @property
    def mode(self) -> str:
        """operator or server."""
        return cast("str", self._values["mode"][0])

    @property
    def egress_allow(self) -> tuple[str, ...]:
        """``host:port`` of hosts that server mode may reach although they are not public."""
        return cast("tuple[str, ...]", self._values["egress_allow"][0])

    @property
    def agents(self) -> dict[str, str]:
        """Custom agents: name -> ``module:attribute``."""
        return cast("dict[str, str]", self._values["agents"][0])

    @property
    def prices(self) -> PriceList:
        """The operator's prices: model -> price."""
        return cast("PriceList", self._values["prices"][0])

    @property
    def budgets(self) -> dict[str, NanoUSD]:
        """Limits in nano-dollars: ``tenant``, ``day`` or ``agent NAME`` -> amount."""
        return cast("dict[str, NanoUSD]", self._values["budgets"][0])

    @property
    def retention_completed(self) -> str:
        """How long completed runs are kept, such as ``30d`` or ``forever``."""
        return cast("str", self._values["retention_completed"][0])

    @property
    def retention_failed(self) -> str:
        """The same for failed runs."""
        return cast("str", self._values["retention_failed"][0])

    @property
    def retention_others(self) -> str:
        """The same for runs that ended otherwise."""
        return cast("str", self._values["retention_others"][0])

    @property
    def retention(self) -> Retention:
        """How long runs are kept after they have ended, by class of status."""
        return retention_by_class(
            self.retention_completed, self.retention_failed, self.retention_others
        )


class _SettingsCollector:
    """Collects values, from the source with the highest precedence down, and problems."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder.absolute()
        self._values: dict[str, tuple[_Value, str]] = {}
        self._problems: list[str] = []

    def gather(self, flags: Mapping[str, object]) -> dict[str, tuple[_Value, str]]:
        for name, value in flags.items():
            if value is not None:
                self._add_value(name, value, f"--{name.replace('_', '-')}", self._folder)
        self._read_environment()
        project = self._find_project_file()
        for path in (project, self._find_user_file()):
            if path is not None:
                self._read_file(path)
        for setting in SETTINGS:
            if setting.name not in self._values:
                self._values[setting.name] = (self._default_value(setting, project), "default")
        if self._problems:
            raise ConfigurationError(
                "\n".join(self._problems),
                hint="`agenthive config` lists the settings and where they come from.",
                problems=tuple(self._problems),
            )
        return self._values

    def _add_value(self, name: str, value: object, origin: str, base: Path) -> None:
        setting = _BY_NAME.get(name)
        if setting is None:
            names = ", ".join(_BY_NAME)
            self._problems.append(
                f"{origin}: there is no setting {name!r}; the settings are {names}"
            )
            return
        try:
            parsed = _parse_value(setting, value, base)
        except ValueError as fault:
            self._problems.append(f"{origin}: {name} {fault}")
            return
        self._values.setdefault(name, (parsed, origin))

    def _read_environment(self) -> None:
        for setting in SETTINGS:
            text = self._environ.get(setting.variable)
            if text:
                self._add_value(setting.name, text, setting.variable, self._folder)

    def _read_file(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_FILE + 1)
            if len(data) > _MAX_FILE:
                raise ValueError(f"is larger than {_MAX_FILE:,} bytes")
            content = tomllib.loads(data.decode())
        except (OSError, ValueError, RecursionError) as fault:
            self._problems.append(f"{path}: cannot be read: {fault}")
            return
        for name, value in content.items():
            self._add_value(name, value, str(path), path.parent)

    def _find_project_file(self) -> Path | None:
        for folder in (self._folder, *self._folder.parents):
            path = folder / PROJECT_FILE
            if path.is_file():
                return path
        return None

    def _find_user_file(self) -> Path | None:
        path = self._xdg_folder("XDG_CONFIG_HOME", ".config") / "agenthive" / "config.toml"
        return path if path.is_file() else None

    def _xdg_folder(self, variable: str, fallback: str) -> Path:
        configured = Path(self._environ.get(variable) or "")
        if configured.is_absolute():
            return configured
        return Path(self._environ.get("HOME") or Path.home()) / fallback

    def _default_value(self, setting: Setting, project: Path | None) -> _Value:
        if setting.name == "home":
            if project is not None:
                return project.parent / ".agenthive"
            return self._xdg_folder("XDG_DATA_HOME", ".local/share") / "agenthive"
        if setting.type in ("list", "map", "prices", "budgets"):
            return () if setting.type == "list" else {}
        return _parse_value(setting, setting.default, self._folder)


def _parse_value(setting: Setting, value: object, base: Path) -> _Value:
    match setting.type:
        case "path":
            return _parse_path(value, base)
        case "whole":
            return _parse_whole(setting, value)
        case "choice":
            if value not in setting.choices:
                choices = ", ".join(setting.choices)
                raise ValueError(f"must be one of {choices}, not {str(value)[:60]!r}")
            return str(value)
        case "span":
            parse_span(str(value))
            return str(value)
        case "list":
            return _parse_list(value)
        case "prices":
            return price_list.parse_prices(
                _parse_short_prices(value) if isinstance(value, str) else value
            )
        case "budgets":
            return {
                name: to_nano_usd(limit) for name, limit in budget_list.parse_budgets(value).items()
            }
        case _:
            return _parse_map(value)


def _parse_path(value: object, base: Path) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("must be the path of a folder, as a text")
    if not is_text(str(value)):
        raise ValueError("must be a path in UTF-8, because the journal records it")
    return base / Path(value).expanduser()


def _parse_whole(setting: Setting, value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be a whole number, not {str(value)[:60]!r}")
    if not setting.least <= value <= setting.most:
        raise ValueError(f"must be {setting.least:,} to {setting.most:,}, not {value:,}")
    return value


def _parse_list(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def _parse_map(value: object) -> dict[str, str]:
    if isinstance(value, str):
        pairs = [part.partition("=") for part in _parse_list(value)]
        value = {name.strip(): target.strip() for name, _, target in pairs}
    if not isinstance(value, Mapping):
        raise ValueError("must map names to module:attribute")
    targets: dict[str, str] = {}
    for name, target in value.items():
        module, colon, attribute = str(target).partition(":")
        if not isinstance(name, str) or not name or not (module and colon and attribute):
            raise ValueError(
                f"must map names to module:attribute; the value of {str(name)[:60]!r} does not "
                "have that form"
            )
        targets[name] = str(target)
    return targets


def _parse_short_prices(text: str) -> dict[str, dict[str, float]]:
    """A price list in the form of an environment variable: ``MODEL=INPUT/OUTPUT,...``."""
    prices: dict[str, dict[str, float]] = {}
    for part in _parse_list(text):
        model, _, rates = part.rpartition("=")
        input_price, slash, output_price = rates.partition("/")
        try:
            prices[model.strip()] = {"input": float(input_price), "output": float(output_price)}
        except ValueError:
            slash = ""
        if not slash:
            raise ValueError(
                f"must be MODEL=INPUT/OUTPUT,... in US dollars for 1,000,000 tokens; {part[:60]!r} "
                "is not"
            )
    return prices


def settings_markdown() -> str:
    """The reference page of the settings, generated from `SETTINGS`."""
    rows = "\n".join(
        f"| `{setting.name}` | `{setting.variable}` | {_describe_value(setting)} | "
        f"{setting.default} | {setting.doc} |"
        for setting in SETTINGS
    )
    return (
        "# Settings\n\n"
        "The first source that has a setting decides: a flag of the command, the variable, "
        f"`{PROJECT_FILE}` in the working folder or the nearest folder above it, "
        "`$XDG_CONFIG_HOME/agenthive/config.toml`, the default. `agenthive config` shows the "
        "values and where each comes from. Unknown names are errors.\n\n"
        "| Name | Variable | Value | Default | Meaning |\n|---|---|---|---|---|\n"
        f"{rows}\n"
    )


def _describe_value(setting: Setting) -> str:
    if setting.type == "choice":
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    if setting.type == "whole":
        return f"{setting.least:,} to {setting.most:,}"
    return {
        "path": "path",
        "list": "list, in the environment `a,b`",
        "map": "map",
        "prices": "tables",
        "budgets": "table",
        "span": "such as `12h`, `30d`, `8w`, or `forever`",
    }[setting.type]
