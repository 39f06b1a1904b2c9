"""Signals: named messages with data, sent to a run from outside."""

from __future__ import annotations

from agenthive.core.engine.reply_validation import to_plain_json
from agenthive.core.values import JSONValue
from agenthive.hive.requests import HiveRequests
from agenthive.hive.resources import HiveResources, plain_text


class HiveSignals:
    """Sends signals to the runs of a hive.

    await hive.signals.send(run, "payment", {"amount": 10}, id="payment-81")
    report = await hive.wait(run)
    """

    def __init__(self, resources: HiveResources, requests: HiveRequests) -> None:
        self._resources, self._requests = resources, requests

    async def send(
        self,
        run: str,
        name: str,
        data: JSONValue = None,
        *,
        id: str = "",
        actor: str = "local",
        request_id: str | None = None,
    ) -> None:
        """Send the signal ``name`` to a run; it is on disk when this returns.

        A second signal with the same ``id`` changes nothing, so a sender may repeat one whose
        outcome it does not know; with the same ``request_id`` it ends as the first did, too, and
        another signal is refused. Raises RunNotFound, NotFound if no task of the run ever waits for
        this signal, Conflict if the signal is early and its task declares ``keep: false``.
        """
        payload = to_plain_json(data)
        signal_name, signal_id, sender = plain_text(name), plain_text(id), plain_text(actor)
        details = (signal_name, payload, signal_id, sender)
        driver, runtime = self._resources.driver, self._resources.runtime
        await self._requests.execute_once(
            request_id,
            "signal",
            {"run": run, "signal": list(details)},
            lambda keep: runtime.commit_request(
                lambda now, token: driver.signal_run(now, run, *details, token), keep(None)
            ),
            type(None),
        )
