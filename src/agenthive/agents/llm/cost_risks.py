"""What in a request to a model can cost more than its tokens at the price of its model.

The worst case of a call is its input at one token a byte and a reply of full length (`base`). That
holds for parameters of three kinds, which are listed here:

* harmless: they choose what is said, or how it is sent; reasoning counts within the longest reply;
* mapped: names of the longest reply (`prompts.TOKEN_LIMITS`), and numbers of replies, of which
  there is one (`prompts`);
* priced: the service tier and the speed, which the price lists know (`list_price_contexts`).

Every other parameter is a risk, known or not: it may name further models, request audio, or let the
vendor search. So are the tools of a vendor's own type, which cost fees and tokens that no request
shows, and files whose size the request does not show. A call with a risk has no known worst case:
where a limit applies it needs ``max_cost``. Nothing here computes a cost. To add a parameter that
is harmless: its name in `_HARMLESS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agenthive.agents.llm.prompts import Prompt

#: Parameters that never raise the cost above the worst case, whatever their values.
_HARMLESS: Final = frozenset(
    [
        *("frequency_penalty", "presence_penalty", "repetition_penalty", "length_penalty"),
        *("logit_bias", "logprobs", "top_logprobs", "top_p", "top_k", "top_a", "min_p"),
        *("typical_p", "min_tokens", "seed", "random_seed", "stop", "stop_sequences"),
        *("stop_token_ids", "ignore_eos", "skip_special_tokens", "include_stop_str_in_output"),
        *("bad_words", "mirostat", "mirostat_eta", "mirostat_tau"),
        *("reasoning_format", "include_reasoning"),
        *("output_config", "effort", "verbosity"),
        *("parallel_tool_calls", "function_call", "functions"),
        *("guided_json", "guided_choice", "guided_regex", "guided_grammar", "grammar"),
        *("user", "safety_identifier", "metadata", "store", "stream_options", "usage"),
        *("prompt_cache_key", "prompt_cache_retention", "cache_control"),
        *("safe_prompt", "safety_settings"),
        # Of these only one reply is accepted: see `prompts`.
        *("n", "best_of", "candidate_count", "num_return_sequences"),
    ]
)
#: Service tiers whose prices the lists know, or that never cost more than the default tier.
_TIERS: Final = ("auto", "default", "standard", "standard_only", "flex", "priority", "on_demand")
#: Tools of these types are the workflow's own: the model only requests them.
_OWN_TYPES: Final = ("function", "custom")
#: Keys of a tool of the workflow's own.
_OWN_KEYS: Final = ("name", "function", "custom", "input_schema", "parameters")
#: Types of content parts that have at most as many tokens as bytes. Any other type is a risk: a
#: page of a document can have thousands of tokens, a film more, and sound has a price of its own.
_TEXTS: Final = frozenset(
    [
        *("text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking"),
        *("reasoning", "tool_use", "tool_result", "search_result", "server_tool_use"),
    ]
)
#: Types of content parts that are one image each.
_IMAGES: Final = frozenset(["image", "image_url", "input_image"])
#: Keys of a part that is a text without a type.
_TEXT_KEYS: Final = frozenset(["text", "cache_control"])
#: Keys of a message whose bytes bound its tokens. Others may name what the server keeps, such as
#: the sound of an earlier answer.
_MESSAGE_KEYS: Final = frozenset(
    [
        *("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal"),
        *("thinking", "is_error", "cache_control", "reasoning", "reasoning_content"),
        *("reasoning_details", "annotations", "prefix", "partial", "type"),
    ]
)
#: Parts of the names of models that search the web on their own, for a fee.
_SEARCHING: Final = (
    *(":online", "-search-preview", "-search-api", "-deep-research"),
    *("groq/compound", "compound-beta"),
)
_LONGEST_NAME: Final = 80


def find_cost_risk(prompt: Prompt) -> str:
    """What in a request can cost more than its tokens; empty if nothing can.

    The text is a sentence for users, with what to do.
    """
    subject = (
        _find_costly_tool(prompt.tools)
        or _find_costly_parameter(prompt)
        or next(filter(None, map(_find_unmeasured_message, prompt.messages)), "")
    )
    if not subject and any(mark in prompt.model for mark in _SEARCHING):
        subject = f"the searches of model '{prompt.model[:_LONGEST_NAME]}'"
    if not subject:
        return ""
    return (
        f"{subject} can cost more than the tokens of the request, and no price list bounds it: "
        "give the task or the agent a max_cost, or leave it out"
    )


def list_price_contexts(prompt: Prompt) -> list[dict[str, str]]:
    """What the price of a call may depend on, beside its tokens; the dearest case counts.

    A vendor may serve a request in the default tier although it asks for another one.
    """
    speed, tier = prompt.extra.get("speed"), prompt.extra.get("service_tier")
    common = {"speed": speed} if isinstance(speed, str) else {}
    if not isinstance(tier, str):
        return [common]
    tiers = [tier, "priority"] if tier == "auto" else [tier]
    return [common, *({**common, "service_tier": name} for name in tiers)]


def describe_unknown_price(model: str, endpoint: str, provider: str) -> str:
    """Why the price of a model is unknown, and every way to make it known."""
    searched = "" if provider == endpoint else f" (as a model of '{provider}')"
    return (
        f"model '{model}' at {endpoint} is in no price list{searched}: give the agent or the task "
        f'a max_cost, or set [prices."{model}"] or [prices.default] in the settings, or, if a '
        "vendor publishes its price, name that vendor in custom_params.prices of the agent"
    )


def _find_costly_parameter(prompt: Prompt) -> str:
    for name, value in prompt.extra.items():
        if value is None or name in _HARMLESS:
            continue
        is_harmless = _BY_VALUE.get(name)
        if is_harmless is None or not is_harmless(value, prompt):
            return f"the parameter '{name[:_LONGEST_NAME]}'"
    return ""


def _is_short_thinking(value: Any, prompt: Prompt) -> bool:
    """Whether the budget for thinking is a part of the longest reply."""
    if not isinstance(value, Mapping):
        return False
    budgets = [value.get(name) for name in ("budget_tokens", "max_tokens")]
    known = [budget for budget in budgets if budget is not None]
    return all(type(budget) is int and budget < prompt.max_tokens for budget in known)


#: Parameters whose value decides.
_BY_VALUE: Final[dict[str, Callable[[Any, Prompt], bool]]] = {
    "thinking": _is_short_thinking,
    "reasoning": _is_short_thinking,
    # Some gateways take a number of tokens here.
    "reasoning_effort": lambda value, prompt: isinstance(value, str) and not value.isdecimal(),
    "modalities": lambda value, prompt: value == ["text"],
    "service_tier": lambda value, prompt: value in _TIERS,
    "speed": lambda value, prompt: value in ("standard", "fast"),
}


def _find_costly_tool(tools: list[dict[str, Any]]) -> str:
    for tool in tools:
        kind = tool.get("type")
        is_own = kind in _OWN_TYPES or (kind is None and any(key in tool for key in _OWN_KEYS))
        if not is_own:
            label = kind or tool.get("name") or next(iter(tool), "")
            return f"the vendor's own tool '{str(label)[:_LONGEST_NAME]}'"
    return ""


def _find_unmeasured_message(message: Mapping[str, Any]) -> str:
    """What in a message may have more tokens than its bytes bound."""
    for key, value in message.items():
        if value and key not in _MESSAGE_KEYS:
            return f"the key '{str(key)[:_LONGEST_NAME]}' of a message"
    return _find_unmeasured_part(message.get("content"))


def _find_unmeasured_part(content: Any) -> str:
    """A part of a content whose tokens its bytes do not bound."""
    if isinstance(content, list):
        return next(filter(None, map(_find_unmeasured_part, content)), "")
    if not isinstance(content, Mapping):
        return ""
    kind, source = content.get("type"), content.get("source")
    if kind is None and not content.keys() <= _TEXT_KEYS:
        return "a part without a type in 'messages'"
    is_measured = kind is None or (isinstance(kind, str) and _is_measured(kind, content))
    if not is_measured:
        return f"the size of the part of type '{str(kind)[:_LONGEST_NAME]}' in 'messages'"
    inner = source.get("content") if isinstance(source, Mapping) else None
    return _find_unmeasured_part(content.get("content")) or _find_unmeasured_part(inner)


def _is_measured(kind: str, part: Mapping[str, Any]) -> bool:
    """Whether the bytes of a part bound its tokens, or it is one image, which has a bound."""
    if kind == "document":
        source = part.get("source")
        return isinstance(source, Mapping) and source.get("type") in ("text", "content")
    if kind in _IMAGES:
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        return not isinstance(url, str) or _may_be_image(url.strip().lower())
    return kind in _TEXTS


def _may_be_image(url: str) -> bool:
    """Whether an address in lower case may be one of an image: servers take films there too."""
    if url.startswith("data:"):
        return url.startswith("data:image/")
    return "://" not in url or url.startswith(("http://", "https://"))
