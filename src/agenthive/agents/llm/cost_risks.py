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
        *("reasoning_effort", "reasoning", "reasoning_format", "include_reasoning"),
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
#: Types of content parts that may hold more than their bytes show: a page of a document can have
#: thousands of tokens, a film more.
_UNMEASURED: Final = frozenset(
    [
        *("file", "input_file", "document", "container_upload"),
        *("video", "video_url", "input_video", "audio_url"),
    ]
)
#: Parts of the names of models that search the web on their own, for a fee.
_SEARCHING: Final = (":online", "-search-preview", "-search-api", "-deep-research")
_LONGEST_NAME: Final = 80


def find_cost_risk(prompt: Prompt) -> str:
    """What in a request can cost more than its tokens; empty if nothing can.

    The text is a sentence for users, with what to do.
    """
    subject = (
        _find_costly_tool(prompt.tools)
        or _find_costly_parameter(prompt)
        or _find_unmeasured_part(prompt.messages)
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
    budget = value.get("budget_tokens") if isinstance(value, Mapping) else None
    return isinstance(value, Mapping) and (
        budget is None or (type(budget) is int and budget < prompt.max_tokens)
    )


#: Parameters whose value decides.
_BY_VALUE: Final[dict[str, Callable[[Any, Prompt], bool]]] = {
    "thinking": _is_short_thinking,
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


def _find_unmeasured_part(value: Any) -> str:
    """A part of messages whose tokens its bytes do not bound; texts as documents are bounded."""
    if isinstance(value, list):
        return next(filter(None, map(_find_unmeasured_part, value)), "")
    if not isinstance(value, Mapping):
        return ""
    kind = value.get("type")
    if isinstance(kind, str) and kind in _UNMEASURED:
        source = value.get("source")
        is_text = isinstance(source, Mapping) and source.get("type") in ("text", "content")
        if not is_text:
            return f"the size of the part of type '{kind}' in 'messages'"
    content = value.get("content")
    return _find_unmeasured_part(content) if isinstance(content, list) else ""
