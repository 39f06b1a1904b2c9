"""How the answer of a model ended: what counts as an answer, and what is a bad end.

    the vendor's word -> one word for all vendors (`FINISH_REASONS`) -> a fault, or none

An answer that was cut off, filtered, refused, paused or left empty is never a success: each is a
fault of class ``bad_end`` with a kind of its own. The answer was produced and is paid for, so its
usage is booked, and an equal call would most likely end in the same way. An answer that the server
broke off because of an error of its own is ``unavailable``, as a status of 500 is.

Two judgements belong to the caller, because they depend on the task and not on the answer: whether
a cut text is accepted (``accept_cut``), and that no tool of a cut answer is called. Nothing here
knows a vendor. To add a vendor's word: a line in `FINISH_REASONS`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenthive.core.model.calls import Fault
from agenthive.core.policies.fault_classes import FaultClass

CUT_OFF: Final = "cut_off"
"""Fault kind of an answer that stopped at a bound of its length."""
CONTENT_FILTER: Final = "content_filter"
"""Fault kind of an answer that a filter of the vendor held back, as a whole or in part."""
REFUSAL: Final = "refusal"
"""Fault kind of an answer in which the model refuses."""
EMPTY_ANSWER: Final = "empty_answer"
"""Fault kind of an answer without text and without tool calls."""
NO_TOOL_CALL: Final = "no_tool_call"
"""Fault kind of an answer that ended for a tool call and holds none."""
PAUSED: Final = "paused"
"""Fault kind of an answer that paused, if it is not continued."""

PAUSE: Final = "pause_turn"
"""Finish reason of an answer that the model continues if it is sent back unchanged."""
LENGTH: Final = "length"
"""Finish reason of an answer that was cut off."""

_WORDS: Final = {
    "stop": "end_turn stop_sequence eos eos_token complete",
    LENGTH: "max_tokens max_output_tokens max_completion_tokens max_new_tokens max_length "
    "model_length model_context_window_exceeded context_length_exceeded token_limit incomplete "
    "truncated",
    "tool_calls": "tool_call tool_use function_call",
    "content_filter": "contentfilter content_filtered safety recitation blocklist image_safety "
    "prohibited_content spii sensitive moderation guardrail_intervened blocked",
    "refusal": "refused",
    PAUSE: "pause paused",
    "error": "abort aborted cancelled network_error insufficient_system_resource "
    "malformed_function_call unexpected_tool_call failed",
}
#: A vendor's word in small letters with underscores -> OpenAI's word, which results use.
FINISH_REASONS: Final = {
    word: reason for reason, words in _WORDS.items() for word in (reason, *words.split())
}
#: Finish reasons that say more about an answer than its length does.
_OTHER_ENDS: Final = ("content_filter", "refusal", "error", PAUSE)
#: Characters of a cut text that the message of its fault shows.
LONGEST_EXCERPT: Final = 160
#: Characters of a vendor's word that a message shows.
_LONGEST_WORD: Final = 40


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What the end of an answer is judged by."""

    #: The word of the vendor; empty if it gave none.
    word: str
    content: str | None = None
    #: The tool calls in the answer.
    tool_calls: int = 0
    #: Why the model refused; None if it did not.
    refusal: str | None = None
    #: Tokens of the answer as reported; None if they are unknown.
    output_tokens: int | None = None
    reasoning_tokens: int = 0
    #: The longest answer that the request allows, in tokens.
    max_tokens: int

    @property
    def reason(self) -> str:
        """Why the answer ended, in one word for all vendors; unknown words stay as they are."""
        return finish_reason(self.word)

    @property
    def is_cut(self) -> bool:
        """Whether the answer was cut off: it says so, or it is as long as it may be.

        Some servers end an answer at its bound with ``stop``; only the count of tokens shows it.
        """
        at_bound = self.output_tokens is not None and self.output_tokens >= self.max_tokens
        return self.reason == LENGTH or (at_bound and self.reason not in _OTHER_ENDS)

    @property
    def has_text(self) -> bool:
        """Whether it holds more than white space."""
        return bool(self.content and self.content.strip())


def finish_reason(word: str) -> str:
    """OpenAI's word for the end of an answer; ``stop`` for none, an unknown word as it is."""
    spelling = word.strip().lower().replace("-", "_").replace(" ", "_")
    return FINISH_REASONS.get(spelling, word) or "stop"


def find_bad_end(ending: Ending, source: str) -> Fault | None:
    """The fault for an answer that is no plain success; None for one that is.

    ``source`` names the model and its address, for the message.
    """
    if ending.refusal is not None or ending.reason == "refusal":
        words = ending.refusal or (ending.content if ending.has_text else "")
        said = f": {_shorten(words)}" if words else ""
        return _bad_end(
            REFUSAL,
            f"{source} refused to answer {_describe_word(ending)}{said}. Nothing of the answer was "
            f"used. Change the prompt, or name another model in 'fallback'",
        )
    if ending.reason == "content_filter":
        return _bad_end(
            CONTENT_FILTER,
            f"a content filter of {source} held the answer back {_describe_word(ending)}. Nothing "
            "of it was used. Change the prompt, or name another model in 'fallback'"
            f"{_excerpt(ending)}",
        )
    if ending.reason == "error":
        message = f"{source} broke its answer off because of an error {_describe_word(ending)}"
        return Fault(kind="unavailable", message=message, class_=FaultClass.UNKNOWN)
    if ending.reason == PAUSE:
        return paused_fault(source, "was not continued")
    if ending.is_cut:
        return _bad_end(CUT_OFF, _describe_cut(ending, source))
    return _find_missing_part(ending, source)


def _find_missing_part(ending: Ending, source: str) -> Fault | None:
    """The fault for an answer that came to its end, and lacks what it should hold."""
    if ending.tool_calls:
        return None
    if ending.reason == "tool_calls":
        return _bad_end(
            NO_TOOL_CALL,
            f"the answer of {source} ended for a tool call {_describe_word(ending)} and holds "
            "none. Nothing was called. Check that the server supports tools for this model"
            f"{_excerpt(ending)}",
        )
    if ending.has_text:
        return None
    reasoning = (
        f"; {ending.reasoning_tokens:,} tokens were used for reasoning"
        if ending.reasoning_tokens
        else ""
    )
    return _bad_end(
        EMPTY_ANSWER,
        f"the answer of {source} is empty {_describe_word(ending)}{reasoning}. Change the "
        "prompt, or name another model in 'fallback'",
    )


def paused_fault(source: str, why: str) -> Fault:
    """The fault for an answer that paused and is not continued; ``why`` follows "which"."""
    return _bad_end(PAUSED, f"{source} paused its answer (finish reason '{PAUSE}'), which {why}")


def describe_cut_call(max_tokens: int) -> str:
    """The result, for the model, of a tool call in an answer that was cut off."""
    return (
        f"this call was not made: your answer was cut off at {max_tokens:,} tokens, so the call "
        "may be incomplete. Request it again in a shorter answer"
    )


def _bad_end(kind: str, message: str) -> Fault:
    return Fault(kind=kind, message=message, counts=False, class_=FaultClass.BAD_END)


def _describe_cut(ending: Ending, source: str) -> str:
    bound, reported = f"{ending.max_tokens:,} tokens", ending.output_tokens
    where = f"at its bound of {bound}"
    if reported is not None and reported < ending.max_tokens:
        # The model's own limit, or what is left of its context.
        where = f"after {reported:,} tokens, before its bound of {bound}"
    advice = f"Raise max_tokens (now {ending.max_tokens:,}) or ask for less"
    if ending.tool_calls:
        return (
            f"the answer of {source} was cut off {where} {_describe_word(ending)}; its tool calls "
            f"may be incomplete, and were not used. {advice}"
        )
    if not ending.has_text:
        reasoning = (
            f" ({ending.reasoning_tokens:,} tokens were reasoning)"
            if ending.reasoning_tokens
            else ""
        )
        return (
            f"the answer of {source} was cut off {where} {_describe_word(ending)} and holds no "
            f"text{reasoning}. {advice}, or lower reasoning_effort"
        )
    return (
        f"the answer of {source} was cut off {where} {_describe_word(ending)}. {advice}; "
        f"accept_cut: true accepts cut texts{_excerpt(ending)}"
    )


def _describe_word(ending: Ending) -> str:
    word = f"finish reason '{ending.word[:_LONGEST_WORD]}'" if ending.word else "no finish reason"
    if ending.is_cut and ending.reason != LENGTH:
        return f"({word}, but {ending.output_tokens:,} tokens reported)"
    return f"({word})"


def _excerpt(ending: Ending) -> str:
    return f". It begins: {_shorten(ending.content)}" if ending.has_text else ""


def _shorten(text: str | None) -> str:
    text = " ".join((text or "").split())
    return text if len(text) <= LONGEST_EXCERPT else f"{text[:LONGEST_EXCERPT]}..."
