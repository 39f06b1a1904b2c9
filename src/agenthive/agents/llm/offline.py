"""The offline model: deterministic and free, for demos, tests and dry runs.

Without a schema its reply is an extractive summary of its input: the sentences with the most
frequent words, after H. P. Luhn, "The Automatic Creation of Literature Abstracts" (1958). With a
schema it fills the schema with sentences and numbers of its input. It does not understand language,
and the result names it as the model, so that no reader takes it for one that does. Never calls
anything outside.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from agenthive.agents.base import (
    AgentResponse,
    AgentType,
    BaseAgent,
    execute_via_perform,
    get_option,
)
from agenthive.agents.faults import fault_reply
from agenthive.agents.llm.endings import CUT_OFF, LENGTH, Ending, find_bad_end
from agenthive.agents.llm.prompts import CHAT, MOST_TOKENS, TOKEN_LIMITS, is_model_answer
from agenthive.core.model.calls import Call, Reply, Usage
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.policies.fault_classes import FaultClass

MODEL: Final = "offline-extractive"
#: Tokens of a summary for which no ``max_tokens`` is given.
SUMMARY_TOKENS: Final = 200
#: Characters of input that are read.
MOST_INPUT: Final = 2**20
#: Items of one generated array.
MOST_ITEMS: Final = 100
#: Levels of a schema beyond which it is refused; a recursive one could have no end.
DEEPEST: Final = 40
#: Levels below which only required properties and items are generated.
BROADEST: Final = 6
#: Keywords of JSON Schema that pieces of the input cannot be made to satisfy.
CANNOT: Final = frozenset(
    [
        *("pattern", "patternProperties", "propertyNames", "minProperties", "not", "if"),
        *("contains", "dependentRequired", "dependentSchemas", "$dynamicRef", "unevaluatedItems"),
    ]
)
_WORD: Final = re.compile(r"[^\W_]{2,40}")
_DULL_WORDS: Final = """
    the a an and or of to in on for with by at as is are was were be been it its this that these
    those from not no but if then than into over about which who what when where how all each any
    can may will would should
"""
_DULL: Final = frozenset(_DULL_WORDS.split())


class OfflineAgent(BaseAgent):
    """Performs every action from its input alone. ``max_tokens`` bounds a summary."""

    kind: ClassVar[str] = AgentType.AI_AGENT

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Reply outside any run."""
        return await execute_via_perform(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Reply to one attempt."""
        try:
            return self._build_reply(
                call.action, call.description, call.parameters, call.dependencies
            )
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            message = f"the offline model cannot reply: {error}"
            return fault_reply("refused", message, FaultClass.REFUSED, retriable=False)

    def _build_reply(
        self,
        action: str,
        description: str,
        parameters: Mapping[str, Any],
        dependencies: Mapping[str, Any],
    ) -> Reply:
        text = "\n".join(_collect_texts(parameters, dependencies))[:MOST_INPUT]
        if not text.strip() and action != CHAT:
            # Then the prompt of the task is its whole input, as it is for every model.
            text = description or action.replace("_", " ")
        schema = _find_schema(parameters)
        given_limit = parameters.get("max_tokens")
        max_tokens = int(given_limit or SUMMARY_TOKENS)
        # Only a limit of the user's cuts a sentence; the usual length chooses among sentences.
        longest, is_cut = int(given_limit or MOST_TOKENS), False
        if schema is not None:
            value = _SchemaFiller(schema, _InputSamples(text)).make_value(schema)
            content = json.dumps(value, ensure_ascii=False)
        else:
            value = None
            content, is_cut = _fit_summary(text, max_tokens, longest)
        input_tokens = count_tokens(f"{action} {description} {text}")
        usage = Usage(
            model=MODEL, input_tokens=input_tokens, output_tokens=count_tokens(content), cost=0
        )
        word = LENGTH if is_cut else "stop"
        result: dict[str, Any] = {"content": content, "model": MODEL, "finish_reason": word}
        ending = Ending(word=word, content=content, max_tokens=longest)
        fault = None if schema is not None else find_bad_end(ending, "the offline model")
        default = get_option(self.config, "accept_cut", False)
        accepts_cut = parameters.get("accept_cut", default)
        if fault is not None and not (fault.kind == CUT_OFF and accepts_cut is True):
            return Reply(fault=fault, usage=usage, result=result)
        if schema is not None:
            result["parsed"] = value
        return Reply(result=result, usage=usage)


def make(spec: AgentSpec, secrets: object, egress: object, prices: object = None) -> BaseAgent:
    """The agent for a spec."""
    return OfflineAgent(spec)


def count_tokens(text: str) -> int:
    """About how many tokens a text has: its words and punctuation marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def summarize(text: str, max_tokens: int) -> str:
    """The sentences with the most frequent words, in their own order, within ``max_tokens``."""
    return _fit_summary(text, max_tokens, max_tokens)[0]


def _fit_summary(text: str, max_tokens: int, longest: int) -> tuple[str, bool]:
    """The summary, and whether it was cut off within a sentence.

    If no sentence has at most ``max_tokens``, the best one is the summary, cut at ``longest``.
    """
    sentences = _split_sentences(text)
    weights = Counter(w for w in map(str.lower, _WORD.findall(text)) if w not in _DULL)
    ranked = sorted(
        range(len(sentences)), key=lambda i: (-_score_sentence(sentences[i], weights), i)
    )
    chosen: set[int] = set()
    used_tokens = 0
    for i in ranked:
        size = count_tokens(sentences[i])
        if used_tokens + size <= max_tokens and len(chosen) < 5:
            chosen.add(i)
            used_tokens += size
    if not chosen and sentences:
        words = sentences[ranked[0]].split()
        return " ".join(words[:longest]), len(words) > longest
    return " ".join(_end_sentence(sentences[i]) for i in sorted(chosen)), False


def _split_sentences(text: str) -> list[str]:
    """The sentences and lines of a text, in order and without duplicates."""
    pieces = (s.strip() for s in re.split(r"(?<=[.!?])\s+|\n+", text))
    return list(dict.fromkeys(s for s in pieces if s))


def _end_sentence(sentence: str) -> str:
    """The sentence, with a full stop if it ends without punctuation."""
    return (
        sentence
        if sentence.rstrip("\"')]»”").endswith((".", "!", "?", ":", ";"))
        else f"{sentence}."
    )


def _score_sentence(sentence: str, weights: Counter[str]) -> float:
    words = [word for word in map(str.lower, _WORD.findall(sentence)) if word not in _DULL]
    # Plus 3: a mean without a prior would rank sentences of one frequent word first.
    return sum(weights[word] for word in words) / (len(words) + 3)


def _collect_texts(parameters: Mapping[str, Any], dependencies: Mapping[str, Any]) -> Iterator[str]:
    """Each text in the messages, the other parameters and the dependencies."""
    skipped = {"model", "temperature", "output_schema", "response_format", "tools", "accept_cut"}
    skipped.update(TOKEN_LIMITS)
    for name, value in parameters.items():
        if name == "messages" and isinstance(value, list):
            for message in value:
                if isinstance(message, Mapping) and message.get("role") != "system":
                    yield from _collect_strings(message.get("content"))
        elif name not in skipped:
            yield from _collect_strings(value)
    for value in dependencies.values():
        yield from _collect_strings(value)


def _collect_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif is_model_answer(value):
        yield from _collect_strings(value["content"])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _collect_strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _collect_strings(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _find_schema(parameters: Mapping[str, Any]) -> Mapping[str, Any] | None:
    direct = parameters.get("output_schema")
    if isinstance(direct, Mapping):
        return direct
    response_format = parameters.get("response_format")
    if isinstance(response_format, Mapping) and isinstance(
        response_format.get("json_schema"), Mapping
    ):
        inner = response_format["json_schema"]
        return inner.get("schema", inner) if isinstance(inner, Mapping) else None
    return None


class _InputSamples:
    """Sentences and numbers of a text, returned in order; after the last the first follows."""

    def __init__(self, text: str) -> None:
        self._sentences = _split_sentences(text)
        self._numbers = re.findall(r"-?\d{1,15}(?:\.\d{1,10})?", text)
        self._sentence_index = self._number_index = 0

    def next_sentence(self) -> str:
        if not self._sentences:
            return ""
        self._sentence_index += 1
        return self._sentences[(self._sentence_index - 1) % len(self._sentences)]

    def next_number(self) -> float:
        if not self._numbers:
            return 0.0
        self._number_index += 1
        return float(self._numbers[(self._number_index - 1) % len(self._numbers)])


class _SchemaFiller:
    """Generates values that fit a schema, from pieces of the input where possible.

    Raises ValueError for a schema that it cannot satisfy; it never returns JSON that does not fit.
    """

    def __init__(self, root: Mapping[str, Any], samples: _InputSamples) -> None:
        self._root, self._samples = root, samples

    def make_value(self, schema: Any, depth: int = 0) -> Any:
        """A value for a schema within the root schema."""
        if depth > DEEPEST or not isinstance(schema, Mapping | bool) or schema is False:
            raise ValueError(
                f"the schema has more than {DEEPEST} levels, or a part of it is not a schema"
            )
        schema = {} if schema is True else schema
        unsupported = sorted(CANNOT & schema.keys())
        if unsupported:
            raise ValueError(
                f"it generates no JSON for a schema with the keyword '{unsupported[0]}'"
            )
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for keyword in ("$ref", "anyOf", "oneOf", "allOf"):
            if schema.get(keyword):
                return self.make_value(self._merge_schemas(schema, keyword, depth), depth + 1)
        return self._make_typed(schema, depth)

    def _make_typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            return self._make_object(schema, depth)
        if kind == "array":
            return self._make_array(schema, depth)
        if kind == "string":
            return self._make_text(schema)
        if kind in ("integer", "number"):
            return _clamp_number(self._samples.next_number(), schema, whole=kind == "integer")
        return False if kind == "boolean" else None

    def _make_object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """All properties of an object; below `BROADEST` levels only those that are required."""
        properties, required = schema.get("properties", {}), schema.get("required", [])
        names = [*(properties if depth < BROADEST else ()), *required]
        additional = schema.get("additionalProperties", True)
        return {
            n: self.make_value(properties.get(n, additional), depth + 1)
            for n in dict.fromkeys(names)
        }

    def _make_array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0))
        most = min(int(schema.get("maxItems", 3)), 3) if depth < BROADEST else 0
        first = schema.get("prefixItems", [])
        size = min(
            max(least, most, len(first)), MOST_ITEMS, int(schema.get("maxItems", MOST_ITEMS))
        )
        kinds = [*first, *[schema.get("items", {})] * size][:size]
        items = [self.make_value(kind, depth + 1) for kind in kinds]
        if schema.get("uniqueItems"):
            items = [item for n, item in enumerate(items) if item not in items[:n]]
        if len(items) < least:
            raise ValueError(f"its input does not hold {least} different items for an array")
        return items

    def _make_text(self, schema: Mapping[str, Any]) -> str:
        text = self._samples.next_sentence()[: int(schema.get("maxLength", 500))]
        return text.ljust(min(int(schema.get("minLength", 0)), 10_000), ".")

    def _merge_schemas(self, schema: Mapping[str, Any], keyword: str, depth: int) -> dict[str, Any]:
        """The schema merged with the schemas under ``keyword``; of alternatives, the first."""
        if depth > DEEPEST:
            raise ValueError(f"the schema has more than {DEEPEST} levels")
        merged = {name: value for name, value in schema.items() if name != keyword}
        operand = schema[keyword]
        parts = (
            [self._resolve_reference(operand)]
            if keyword == "$ref"
            else operand
            if keyword == "allOf"
            else operand[:1]
        )
        for part in parts:
            part = {} if part is True else part
            part = self._merge_schemas(part, "$ref", depth + 1) if "$ref" in part else part
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", []), *part.get("required", [])]
            merged |= part
            merged |= {"properties": properties} if properties else {}
            merged |= {"required": required} if required else {}
        return merged

    def _resolve_reference(self, reference: str) -> Any:
        node: Any = self._root
        for step in str(reference).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, Mapping) else None
        if not str(reference).startswith("#") or node is None:
            raise ValueError(f"the schema refers to '{reference}', which it does not contain")
        return node


def _clamp_number(value: float, schema: Mapping[str, Any], *, whole: bool) -> float | int:
    """``value``, moved into the bounds of a schema. Raises ValueError if no number fits."""
    step = schema.get("multipleOf") or (1 if whole else 0)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    low = max(schema.get("minimum", -1e15), -1e15 if above is None else math.nextafter(above, 1e16))
    high = min(schema.get("maximum", 1e15), 1e15 if below is None else math.nextafter(below, -1e16))
    value = min(max(value, low), high)
    if step:
        rounded = math.floor(value / step) * step
        value = rounded if rounded >= low else math.ceil(low / step) * step
    if not low <= value <= high:
        raise ValueError("no number fits the bounds of the schema")
    return int(value) if whole else value
