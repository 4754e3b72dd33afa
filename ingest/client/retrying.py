"""When a call is made again, and after how long. Policy only: whoever waits does so with tenacity."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import httpx
from tenacity import RetryCallState, retry_if_exception, retry_if_result, stop_before_delay

from ingest.client.calls import Again, Call
from ingest.client.results import AGAIN, Reply

_HEARD_OF = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Pauses double from `first_s` to `longest_s`, half of each at random; none reaches beyond `give_up_s` in all.

    An answer's Retry-After is waited for, if it is longer.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    give_up_s: float = 120.0


def how(policy: RetryPolicy, call: Call) -> dict[str, Any]:
    """Return tenacity's arguments for a call; what the last try came to is returned or raised."""
    worth = _HEARD_OF if call.again is Again.ALWAYS else _NEVER_SENT
    give_up_s = 0.0 if call.again is Again.NEVER else policy.give_up_s
    return {
        "retry": retry_if_result(_again) | retry_if_exception(lambda error: isinstance(error, worth)),
        "wait": lambda state: pause_s(policy, state),
        "stop": stop_before_delay(give_up_s),
        "retry_error_callback": _last,
    }


def pause_s(policy: RetryPolicy, state: RetryCallState) -> float:
    """Return how long to wait before the next try."""
    doubled = policy.first_s * 2.0 ** min(state.attempt_number - 1, 16)
    own_s = min(policy.longest_s, doubled) * random.uniform(0.5, 1)  # noqa: S311  jitter is no secret
    outcome = state.outcome
    if outcome is None or outcome.failed:
        return own_s
    return max(own_s, outcome.result().retry_after_s or 0.0)


def _again(reply: Reply) -> bool:
    return reply.status in AGAIN


def _last(state: RetryCallState) -> Any:
    return None if state.outcome is None else state.outcome.result()
