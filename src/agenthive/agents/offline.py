"""A model that is none: deterministic, offline, free, and honest about it.

It picks sentences out of what it is given (extractive summary by word frequency, after H. P. Luhn,
"The Automatic Creation of Literature Abstracts", 1958) or, asked for a schema, fills it with pieces
of its input. It understands nothing and says so in ``model``. For demos, tests and dry runs.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from agenthive.agents.base import AgentResponse, AgentType, BaseAgent
from agenthive.agents.questions import is_answer
from agenthive.core.ports import Call, Reply, Usage
from agenthive.core.spec import AgentSpec

MODEL: Final = "offline-extractive"
MOST_INPUT: Final = 2**20
_WORD: Final = re.compile(r"[^\W_]{2,40}")
_DULL_WORDS: Final = """
    the a an and or of to in on for with by at as is are was were be been it its this that these
    those from not no but if then than into over about which who what when where how all each any
    can may will would should
"""
_DULL: Final = frozenset(_DULL_WORDS.split())


class OfflineAgent(BaseAgent):
    """Answers every action from its input alone. ``max_tokens`` bounds what it says."""

    kind: ClassVar[str] = AgentType.AI_AGENT

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Answer outside any run."""
        reply = self._answer(action, "", parameters, {})
        return AgentResponse(success=True, result=reply.result)

    async def perform(self, call: Call) -> Reply:
        """Answer one attempt."""
        return self._answer(call.action, call.description, call.parameters, call.dependencies)

    def _answer(
        self, action: str, description: str, parameters: Mapping[str, Any], given: Mapping[str, Any]
    ) -> Reply:
        text = "\n".join(_texts(parameters, given))[:MOST_INPUT]
        schema = _schema(parameters)
        most = int(parameters.get("max_tokens") or 200)
        if schema is not None:
            value = _fill(schema, _Pieces(text), 0)
            content = json.dumps(value, ensure_ascii=False)
        else:
            value, content = None, summarize(text, most)
        tokens_in = count_tokens(f"{action} {description} {text}")
        usage = Usage(
            model=MODEL, input_tokens=tokens_in, output_tokens=count_tokens(content), cost=0
        )
        result: dict[str, Any] = {"content": content, "model": MODEL, "finish_reason": "stop"}
        if schema is not None:
            result["parsed"] = value
        return Reply(result=result, usage=usage)


def make(spec: AgentSpec, secrets: object, egress: object) -> BaseAgent:
    """The agent for a spec."""
    return OfflineAgent(spec)


def count_tokens(text: str) -> int:
    """About how many tokens a text has: words and marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def summarize(text: str, max_tokens: int) -> str:
    """The sentences with the most frequent words, in their own order, within ``max_tokens``."""
    sentences = _sentences(text)
    weights = Counter(w for w in map(str.lower, _WORD.findall(text)) if w not in _DULL)
    ranked = sorted(range(len(sentences)), key=lambda i: (-_score(sentences[i], weights), i))
    chosen: set[int] = set()
    used = 0
    for i in ranked:
        size = count_tokens(sentences[i])
        if used + size <= max_tokens and len(chosen) < 5:
            chosen.add(i)
            used += size
    if not chosen and sentences:
        words = sentences[ranked[0]].split()
        return " ".join(words[:max_tokens])
    return " ".join(_closed(sentences[i]) for i in sorted(chosen))


def _sentences(text: str) -> list[str]:
    """The sentences and lines of a text, each once."""
    found = (s.strip() for s in re.split(r"(?<=[.!?])\s+|\n+", text))
    return list(dict.fromkeys(s for s in found if s))


def _closed(sentence: str) -> str:
    """A sentence that another may follow."""
    return (
        sentence
        if sentence.rstrip("\"')]»”").endswith((".", "!", "?", ":", ";"))
        else f"{sentence}."
    )


def _score(sentence: str, weights: Counter[str]) -> float:
    words = [word for word in map(str.lower, _WORD.findall(sentence)) if word not in _DULL]
    return sum(weights[word] for word in words) / (len(words) + 3)


def _texts(parameters: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """Every text in the messages, the other parameters and the dependencies."""
    skip = {"model", "temperature", "max_tokens", "output_schema", "response_format", "tools"}
    for name, value in parameters.items():
        if name == "messages" and isinstance(value, list):
            for message in value:
                if isinstance(message, Mapping) and message.get("role") != "system":
                    yield from _strings(message.get("content"))
        elif name not in skip:
            yield from _strings(value)
    for value in given.values():
        yield from _strings(value)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif is_answer(value):
        yield from _strings(value["content"])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _schema(parameters: Mapping[str, Any]) -> Mapping[str, Any] | None:
    direct = parameters.get("output_schema")
    if isinstance(direct, Mapping):
        return direct
    wanted = parameters.get("response_format")
    if isinstance(wanted, Mapping) and isinstance(wanted.get("json_schema"), Mapping):
        inner = wanted["json_schema"]
        return inner.get("schema", inner) if isinstance(inner, Mapping) else None
    return None


class _Pieces:
    """Sentences and numbers of a text, handed out in order, over and over."""

    def __init__(self, text: str) -> None:
        self._sentences = _sentences(text)
        self._numbers = re.findall(r"-?\d{1,15}(?:\.\d{1,10})?", text)
        self._next = self._next_number = 0

    def sentence(self) -> str:
        if not self._sentences:
            return ""
        self._next += 1
        return self._sentences[(self._next - 1) % len(self._sentences)]

    def number(self) -> float:
        if not self._numbers:
            return 0.0
        self._next_number += 1
        return float(self._numbers[(self._next_number - 1) % len(self._numbers)])


def _fill(schema: Mapping[str, Any], pieces: _Pieces, depth: int) -> Any:
    """A value that fits the schema: its parts come from the input where they can."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return _fill(schema[choice][0], pieces, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if depth > 20:
        return None
    if kind == "object":
        wanted = schema.get("properties", {})
        return {name: _fill(part, pieces, depth + 1) for name, part in wanted.items()}
    if kind == "array":
        size = max(int(schema.get("minItems", 0)), min(3, int(schema.get("maxItems", 3))))
        return [_fill(schema.get("items", {}), pieces, depth + 1) for _ in range(min(size, 100))]
    return _scalar(kind, schema, pieces)


def _scalar(kind: str, schema: Mapping[str, Any], pieces: _Pieces) -> Any:
    if kind == "string":
        text = pieces.sentence()[: int(schema.get("maxLength", 500))]
        return text.ljust(min(int(schema.get("minLength", 0)), 10_000), ".")
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", -1e15), schema.get("maximum", 1e15)
        value = min(max(pieces.number(), low), high)
        return int(value) if kind == "integer" else value
    return False if kind == "boolean" else None
