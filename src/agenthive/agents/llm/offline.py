"""A model that is none: deterministic, offline, free, and honest about it.

It picks sentences out of what it is given (extractive summary by word frequency, after H. P. Luhn,
"The Automatic Creation of Literature Abstracts", 1958) or, asked for a schema, fills it with pieces
of its input. It understands nothing and says so in ``model``. For demos, tests and dry runs.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from agenthive.agents.base import AgentResponse, AgentType, BaseAgent, alone, failed
from agenthive.agents.llm.prompts import is_answer
from agenthive.core.model.calls import Call, Reply, Usage
from agenthive.core.model.workflow import AgentSpec

MODEL: Final = "offline-extractive"
MOST_INPUT: Final = 2**20
MOST_ITEMS: Final = 100
DEEPEST: Final = 40
BROADEST: Final = 6
"""Deeper than this only what a schema requires is made."""
CANNOT: Final = frozenset(
    [
        *("pattern", "patternProperties", "propertyNames", "minProperties", "not", "if"),
        *("contains", "dependentRequired", "dependentSchemas", "$dynamicRef", "unevaluatedItems"),
    ]
)
"""Words of JSON Schema that only somebody who understands could fill."""
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
        return await alone(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Answer one attempt."""
        try:
            return self._answer(call.action, call.description, call.parameters, call.dependencies)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            return failed("refused", f"cannot answer: {error}", retriable=False, counts=False)

    def _answer(
        self, action: str, description: str, parameters: Mapping[str, Any], given: Mapping[str, Any]
    ) -> Reply:
        text = "\n".join(_texts(parameters, given))[:MOST_INPUT]
        schema = _schema(parameters)
        most = int(parameters.get("max_tokens") or 200)
        if schema is not None:
            value = _Maker(schema, _Pieces(text)).value(schema)
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


def make(spec: AgentSpec, secrets: object, egress: object, prices: object = None) -> BaseAgent:
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


class _Maker:
    """Makes values that fit a schema, of pieces of the input where it can.

    Raises ValueError for what it cannot make: better no JSON than JSON that does not fit.
    """

    def __init__(self, root: Mapping[str, Any], pieces: _Pieces) -> None:
        self._root, self._pieces = root, pieces

    def value(self, schema: Any, depth: int = 0) -> Any:
        """A value for a schema inside the root."""
        if depth > DEEPEST or not isinstance(schema, Mapping | bool) or schema is False:
            raise ValueError("the schema is nested too deep, or is none")
        schema = {} if schema is True else schema
        cannot = sorted(CANNOT & schema.keys())
        if cannot:
            raise ValueError(f"the offline model makes no JSON for a schema with '{cannot[0]}'")
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for word in ("$ref", "anyOf", "oneOf", "allOf"):
            if schema.get(word):
                return self.value(self._merged(schema, word, depth), depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            return self._text(schema)
        if kind in ("integer", "number"):
            return _within(self._pieces.number(), schema, whole=kind == "integer")
        return False if kind == "boolean" else None

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """All its properties; of what is nested deep, as recursive schemas are, those required."""
        wanted, required = schema.get("properties", {}), schema.get("required", [])
        names = [*(wanted if depth < BROADEST else ()), *required]
        others = schema.get("additionalProperties", True)
        return {n: self.value(wanted.get(n, others), depth + 1) for n in dict.fromkeys(names)}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0))
        most = min(int(schema.get("maxItems", 3)), 3) if depth < BROADEST else 0
        first = schema.get("prefixItems", [])
        size = min(
            max(least, most, len(first)), MOST_ITEMS, int(schema.get("maxItems", MOST_ITEMS))
        )
        kinds = [*first, *[schema.get("items", {})] * size][:size]
        items = [self.value(kind, depth + 1) for kind in kinds]
        if schema.get("uniqueItems"):
            items = [item for n, item in enumerate(items) if item not in items[:n]]
        if len(items) < least:
            raise ValueError(f"the offline model finds no {least} items in its input")
        return items

    def _text(self, schema: Mapping[str, Any]) -> str:
        text = self._pieces.sentence()[: int(schema.get("maxLength", 500))]
        return text.ljust(min(int(schema.get("minLength", 0)), 10_000), ".")

    def _merged(self, schema: Mapping[str, Any], word: str, depth: int) -> dict[str, Any]:
        """One schema of those that ``word`` names and the rest, which all hold at once."""
        if depth > DEEPEST:
            raise ValueError("the schema is nested too deep")
        whole = {name: value for name, value in schema.items() if name != word}
        named = schema[word]
        parts = [self._found(named)] if word == "$ref" else named if word == "allOf" else named[:1]
        for part in parts:
            part = {} if part is True else part
            part = self._merged(part, "$ref", depth + 1) if "$ref" in part else part
            properties = {**whole.get("properties", {}), **part.get("properties", {})}
            required = [*whole.get("required", []), *part.get("required", [])]
            whole |= part
            whole |= {"properties": properties} if properties else {}
            whole |= {"required": required} if required else {}
        return whole

    def _found(self, reference: str) -> Any:
        place: Any = self._root
        for step in str(reference).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            place = place.get(name) if isinstance(place, Mapping) else None
        if not str(reference).startswith("#") or place is None:
            raise ValueError(f"the schema refers to '{reference}', which is not in it")
        return place


def _within(value: float, schema: Mapping[str, Any], *, whole: bool) -> float | int:
    """A number between the bounds that a schema names. Raises ValueError if there is none."""
    step = schema.get("multipleOf") or (1 if whole else 0)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    low = max(schema.get("minimum", -1e15), -1e15 if above is None else math.nextafter(above, 1e16))
    high = min(schema.get("maximum", 1e15), 1e15 if below is None else math.nextafter(below, -1e16))
    value = min(max(value, low), high)
    if step:
        rounded = math.floor(value / step) * step
        value = rounded if rounded >= low else math.ceil(low / step) * step
    if not low <= value <= high:
        raise ValueError("no number fits the schema")
    return int(value) if whole else value
