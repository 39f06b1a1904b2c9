"""Reads what a model's server reports as the usage of a call. No number in it is believed.

A usage is either *known* or *unknown*, and never zero by mistake: a count that is a text, a
negative number, or larger than `MOST_TOKENS` is unknown. So are an output of zero beside an answer,
and counts too small for the texts of the prompt or the answer; if the total confirms such a zero,
the other counts are the least that the call used (`Usage.at_least`). If the counts contradict each
other, the largest reading that fits the other counts is taken:

    total >= input + output    output = total - input  (reasoning may be counted apart)
    total <  input + output    the sum of the parts
    reasoning > output         output + reasoning      (counted apart), unless the total has it
    cached > input             input + cached if the total has both; if it has only the input,
                               those that were written and read count as written; else unknown
    output without a count     total - input if that is above 0, else unknown

For an unknown usage the whole hold of the call counts as spent, as it does for a missing usage; for
one that is the least, the larger of the hold and its cost.
`Usage.problem` says what could not be read. `merge_usage` joins the usages of a stream.

Pure: nothing here knows a price or a vendor. To add a vendor's spelling: a row in `SPELLINGS` or
`FEES`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from agenthive.core.model.calls import MOST_TOKENS, Usage

Path: TypeAlias = tuple[str, ...]
"""Keys from the usage object to a value in it."""

#: Characters of the longest token of a vocabulary (o200k has a token of 128 spaces). A longer
#: answer has more than one token.
LONGEST_TOKEN: Final = 128
#: Characters of `Usage.problem`, and tools of unknown kinds that are listed as fees.
_MOST_PROBLEM: Final = 500
_MOST_TOOLS: Final = 20
#: Characters of the name of a model that are kept.
_MOST_MODEL: Final = 200
#: Levels of nested objects in which `merge_usage` compares single counts.
_MERGE_DEPTH: Final = 3

SPELLINGS: Final[Mapping[str, tuple[Path, ...]]] = {
    "input": (("prompt_tokens",), ("input_tokens",)),
    "output": (("completion_tokens",), ("output_tokens",)),
    "total": (("total_tokens",),),
    "cache_read": (
        ("prompt_tokens_details", "cached_tokens"),
        ("input_tokens_details", "cached_tokens"),
        ("cache_read_input_tokens",),  # Anthropic, LiteLLM
        ("prompt_cache_hit_tokens",),  # DeepSeek
        ("cached_tokens",),  # Moonshot
        ("num_cached_tokens",),  # Mistral
    ),
    "cache_write": (
        ("prompt_tokens_details", "cache_write_tokens"),  # OpenRouter
        ("input_tokens_details", "cache_write_tokens"),
        ("prompt_tokens_details", "cache_creation_tokens"),  # LiteLLM
        ("prompt_tokens_details", "cache_creation_input_tokens"),  # Alibaba
        ("cache_creation_input_tokens",),  # Anthropic
    ),
    "reasoning": (
        ("completion_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "reasoning_tokens"),
        ("output_tokens_details", "thinking_tokens"),  # Anthropic
        ("reasoning_tokens",),  # Perplexity
    ),
}
"""Count -> where vendors report it. Of several values the one that costs more is taken."""

FEES: Final[Mapping[Path, str]] = {
    ("server_tool_use", "web_search_requests"): "web_searches",  # Anthropic
    ("server_tool_use", "code_execution_requests"): "code_executions",
    ("server_tool_use_details", "web_search_requests"): "web_searches",  # OpenRouter
    ("num_search_queries",): "web_searches",  # Perplexity
    ("citation_tokens",): "citation_tokens",  # Perplexity: no part of the output
    ("num_sources_used",): "search_sources",  # xAI
    # Sound costs more than the text among whose tokens it is counted.
    ("prompt_tokens_details", "audio_tokens"): "input_audio_tokens",
    ("input_tokens_details", "audio_tokens"): "input_audio_tokens",
    ("completion_tokens_details", "audio_tokens"): "output_audio_tokens",
    ("output_tokens_details", "audio_tokens"): "output_audio_tokens",
}
"""Where vendors report what they charge for and is no token -> its name in price lists."""

_TOOL_COUNTS: Final = ("server_tool_use", "server_tool_use_details")
#: Keys of tool counts that cost nothing by themselves.
_FREE: Final = frozenset({"web_fetch_requests", "tool_calls_requested"})
_TOOL_CALLS: Final = "tool_calls_executed"


class ReportedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of a call as far as it can be read."""

    #: Without a cost. If it is unknown, its counts are 0 and its ``problem`` says why.
    usage: Usage
    #: Tokens that a cache keeps for an hour; they are among `Usage.cache_write_tokens`.
    hour_writes: int = 0
    #: What is charged for and is no token: name in price lists -> how often.
    fees: dict[str, int] = {}


class _Unknown(Exception):
    """A usage cannot be read; the message says why."""


def read_usage(
    reported: object,
    model: str,
    *,
    answer_length: int = 0,
    prompt_length: int = 0,
    cached_apart: bool = False,
) -> ReportedUsage | None:
    """The usage of a call of ``model``; None if the server reports none. Never raises.

    ``answer_length`` and ``prompt_length`` are the characters of the answer and of the prompt: a
    usage too small for them is unknown.
    ``cached_apart``: the input does not include the cached tokens (Anthropic).
    """
    if reported is None:
        return None
    model = model[:_MOST_MODEL]
    if not isinstance(reported, Mapping):
        problem = f"usage is {_describe(reported)}: it is unknown"
        return ReportedUsage(usage=Usage(model=model, problem=problem))
    problems: list[str] = []
    fees = _read_fees(reported, problems)
    try:
        counts = _Counts(reported, problems)
        tokens, cached = counts.read_input(cached_apart=cached_apart)
        output, reasoning = counts.read_output(tokens, answer_length)
        hour_writes = counts.read_hour_writes(cached[1])
        _check_length("the prompt", prompt_length, tokens)
        _check_length("an answer", answer_length, output)
        if tokens > MOST_TOKENS or output > MOST_TOKENS:
            raise _Unknown(f"its counts add up to more than {MOST_TOKENS:,} tokens")
    except _Unknown as error:
        problem = _join([*problems, f"{error}: the usage is unknown"])
        return ReportedUsage(usage=Usage(model=model, problem=problem), fees=fees)
    read, written = cached
    usage = Usage(
        model=model,
        input_tokens=tokens,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        problem=_join(problems),
        at_least=counts.is_least,
    )
    return ReportedUsage(usage=usage, hour_writes=hour_writes, fees=fees)


def _check_length(name: str, length: int, tokens: int) -> None:
    """Raise _Unknown if a text of ``length`` characters cannot have as few tokens."""
    if tokens < length // LONGEST_TOKEN:
        raise _Unknown(f"{tokens} tokens cannot be {name} of {length:,} characters")


def _join(problems: list[str]) -> str:
    return "; ".join(problems)[:_MOST_PROBLEM]


class _Counts:
    """The counts of a usage object. ``problems`` receives what could not be read."""

    def __init__(self, reported: Mapping[Any, Any], problems: list[str]) -> None:
        self._reported, self._problems = reported, problems
        self._total = self._read_total()
        #: Whether the call used more than its counts say, by an unknown amount.
        self.is_least = False

    def read_input(self, *, cached_apart: bool) -> tuple[int, tuple[int, int]]:
        """Input tokens with those of caches, and those read from and written to a cache."""
        tokens = self._require("input")
        written = self._require("cache_write", 0)
        if cached_apart:
            read = self._require("cache_read", 0)
            written = max(written, sum(self._cache_ages()))
            return tokens + read + written, (read, written)
        try:
            read = self._require("cache_read", 0)
        except _Unknown as error:
            # Without a discount for the cache the call costs more, never less.
            self._problems.append(f"{error}: no discount for cached tokens")
            read = 0
        if read + written > tokens:
            return self._read_large_caches(tokens, read, written)
        return tokens, (read, written)

    def _read_large_caches(
        self, tokens: int, read: int, written: int
    ) -> tuple[int, tuple[int, int]]:
        """As `read_input`, if the tokens of caches are more than the input."""
        total, output = self._total, self._count("output") or 0
        if total is not None and total >= tokens + read + written + output:
            return tokens + read + written, (read, written)
        if total is not None and total >= tokens + output and max(read, written) <= tokens:
            # Gemini by OpenRouter: the same tokens are written and read in one call.
            return tokens, (tokens - written, written)
        raise _Unknown(f"{read + written} cached tokens are more than the input of {tokens}")

    def read_output(self, tokens: int, answer_length: int) -> tuple[int, int]:
        """Output tokens, with those of reasoning that are counted apart; and those of reasoning."""
        total = self._total
        output = self._read_plain_output(tokens)
        reasoning = self._read_reasoning()
        is_confirmed = total is not None and total >= tokens + output
        if is_confirmed and total is not None:
            if reasoning > total - tokens:
                output += reasoning
                self._problems.append(
                    f"{reasoning} reasoning tokens do not fit a total of {total}: counted apart"
                )
            else:
                output = total - tokens
        elif reasoning > output:
            output += reasoning
        if total is not None and not is_confirmed:
            self._problems.append(
                f"a total of {total} is less than its parts: the parts are counted"
            )
        if not tokens and not is_confirmed:
            raise _Unknown("a prompt was sent, and its tokens are reported as 0")
        if not tokens and not output:
            raise _Unknown("all tokens are reported as 0")
        if answer_length and not output:
            if not is_confirmed:
                raise _Unknown("there is an answer, and its tokens are reported as 0")
            self._problems.append("there is an answer, and its tokens are reported as 0: ignored")
            self.is_least = True
        return output, min(reasoning, output)

    def read_hour_writes(self, written: int) -> int:
        """Those of the tokens written to a cache that it keeps for an hour."""
        return min(self._cache_ages()[1], written)

    def _read_total(self) -> int | None:
        """The total; None if there is none, it cannot be read, or it is 0, which no total is."""
        try:
            return self._count("total") or None
        except _Unknown as error:
            self._problems.append(f"{error}: ignored")
            return None

    def _read_plain_output(self, tokens: int) -> int:
        """The output tokens as reported, or else what is left of the total."""
        try:
            return self._require("output")
        except _Unknown as error:
            if self._total is None or self._total <= tokens:
                raise
            self._problems.append(f"{error}: the rest of the total is counted")
            return self._total - tokens

    def _read_reasoning(self) -> int:
        try:
            return self._require("reasoning", 0)
        except _Unknown as error:
            if self._total is None:
                raise
            self._problems.append(f"{error}: ignored, because there is a total")
            return 0

    def _cache_ages(self) -> tuple[int, int]:
        """Tokens written to a cache for five minutes, and for an hour (Anthropic)."""
        ages = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
        five, hour = (_read_path(self._reported, ("cache_creation", age)) for age in ages)
        return five or 0, hour or 0

    def _require(self, name: str, default: int | None = None) -> int:
        count = self._count(name)
        if count is not None:
            return count
        if default is None:
            raise _Unknown(f"it has no {SPELLINGS[name][0][0]}")
        return default

    def _count(self, name: str) -> int | None:
        """The value under any spelling of a count, None if there is none. Raises _Unknown."""
        counts: list[int] = []
        for path in SPELLINGS[name]:
            count = _read_path(self._reported, path)
            if count is not None:
                counts.append(count)
        if len(counts) < 2:
            return counts[0] if counts else None
        # Cached tokens are cheap: fewer of them cost more. Some servers fill one spelling with 0.
        return (
            min(filter(None, counts), default=0)
            if name == "cache_read"
            else max(counts, default=None)
        )


def _read_path(reported: Mapping[Any, Any], path: Path) -> int | None:
    """The count at a path; None if there is none. Raises _Unknown if it is no count."""
    value: object = reported.get(path[0])
    for key in path[1:]:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise _Unknown(f"{path[0]} is {_describe(value)}")
        value = value.get(key)
    if value is None:
        return None
    count = read_count(value)
    if count is None:
        raise _Unknown(f"{'.'.join(path)} is {_describe(value)}")
    return count


def read_count(value: object) -> int | None:
    """A reported number of tokens; None if it is no whole number from 0 to `MOST_TOKENS`."""
    if type(value) is float and math.isfinite(value) and value == int(value):
        value = int(value)
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def _describe(value: object) -> str:
    """A value that is no count, as a part of a message."""
    if type(value) is int and value.bit_length() > 100:
        return f"a number of {value.bit_length()} bits"
    if type(value) is int or type(value) is float:
        text = f"{value:.6g}" if type(value) is float else f"{value}"
        return f"{text}, more than {MOST_TOKENS:,}" if value > MOST_TOKENS else text
    names = {str: "a text", bool: "true or false", list: "a list"}
    return names.get(type(value), "an object")


def _read_fees(reported: Mapping[Any, Any], problems: list[str]) -> dict[str, int]:
    """What is charged for and is no token. What cannot be read counts as charged for once."""
    paths: dict[Path, str] = {
        path: name
        for path, name in FEES.items()
        if path[0] in reported and (len(path) == 1 or isinstance(reported[path[0]], Mapping))
    }
    for group in _TOOL_COUNTS:
        tools = reported.get(group)
        if isinstance(tools, Mapping):
            # A tool that is not known yet is not free either.
            other = [(group, str(key)) for key in [*tools][:_MOST_TOOLS] if key not in _FREE]
            paths |= {path: path[1][:60] for path in other if path not in FEES}
        elif tools is not None:
            paths[(group,)] = group
    fees: dict[str, int] = {}
    for path, name in paths.items():
        try:
            count = _read_path(reported, path)
        except _Unknown as error:
            problems.append(f"{error}: unpriced")
            count = 1
        if count:
            fees[name] = max(fees.get(name, 0), count)
    # The same calls once more, if their kind is reported too (OpenRouter).
    if fees.get(_TOOL_CALLS, 0) <= fees.get("web_searches", 0):
        fees.pop(_TOOL_CALLS, None)
    return fees


def merge_usage(earlier: Any, later: Any, depth: int = _MERGE_DEPTH) -> Any:
    """Two usages of one stream as one: the larger count of each, so that a later 0 counts nothing.

    A later value that is no count replaces the earlier one: how much it was is unknown.
    """
    if later is None:
        return earlier
    if isinstance(earlier, Mapping) and isinstance(later, Mapping) and depth:
        merged = dict(earlier)
        for key, value in later.items():
            merged[key] = merge_usage(merged.get(key), value, depth - 1)
        return merged
    first, second = read_count(earlier), read_count(later)
    if second is None or earlier is None:
        return later
    is_larger = second > 0 if first is None else second >= first
    return later if is_larger else earlier
