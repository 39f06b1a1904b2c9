"""What people say about the runs of a hive: cancel, approve, reject, signal, resolve."""

from __future__ import annotations

from agenthive.core.engine.human_input import Question, Verdict, questions
from agenthive.core.engine.reply_validation import plain_json
from agenthive.core.values import JSONValue
from agenthive.errors import (
    Conflict,
)
from agenthive.hive.resources import Opened, plain


class People(Opened):
    """Everything here is on disk when it returns."""

    async def cancel(self, run: str, *, reason: str = "", actor: str = "local") -> None:
        """Cancel an open run: calls under way are stopped. Raises RunNotFound if it is not open."""
        await self._live.cancel(run, plain(actor), plain(reason))

    async def approve(
        self,
        run: str,
        task: str,
        *,
        approved: bool = True,
        actor: str = "local",
        digest: str = "",
        comment: str = "",
    ) -> None:
        """Answer the approval a task waits for. It is on disk when this returns.

        ``digest`` (or its beginning) is that of the payload that was looked at; an answer about
        another one does not count. Raises RunNotFound, NotFound, and Conflict for an answer that
        does not count: by somebody who is not asked, twice, late, about another payload. That is
        recorded too.
        """
        verdict = Verdict(
            actor=plain(actor), approved=approved, digest=digest, comment=plain(comment)
        )
        driver = self._driver
        if run in driver.runs:
            say = driver.answer
        elif (await self._reader.row(run)).finished is None:
            raise Conflict(f"run {run} is not under way here", hint="Resume it first.")
        else:
            say = driver.answer_after_end
        await self._live.ask(lambda now, token: say(now, run, task, verdict, token))

    async def signal(
        self, run: str, name: str, data: JSONValue = None, *, id: str = "", actor: str = "local"
    ) -> None:
        """Send a signal to a run; it is on disk when this returns.

        One whose ``id`` has come already changes nothing. Raises RunNotFound, NotFound if no task
        waits for such a signal at any time, Conflict if it would have to be kept and may not be.
        """
        data, said = plain_json(data), (plain(name), plain(id), plain(actor))
        driver = self._driver
        await self._live.ask(
            lambda now, token: driver.signal(now, run, said[0], data, said[1], said[2], token)
        )

    async def resolve(
        self,
        run: str,
        task: str,
        outcome: str,
        result: JSONValue = None,
        *,
        actor: str = "local",
        reason: str = "",
    ) -> None:
        """Say what came of a call of unknown outcome: ``succeeded``, ``failed`` or ``retry``.

        Raises RunNotFound, NotFound, Conflict if the outcome is not unknown.
        """
        result, said = plain_json(result), (plain(actor), plain(reason))
        driver = self._driver
        await self._live.ask(
            lambda now, token: driver.resolve(now, run, task, outcome, result, *said, token)
        )

    async def approvals(self, run: str | None = None) -> list[Question]:
        """The approvals that open runs of this hive wait for, the oldest first."""
        lives = [live for live in self._driver.runs.values() if run in (None, live.run)]
        return sorted(
            (one for live in lives for one in questions(live.state)), key=lambda one: one.asked
        )
