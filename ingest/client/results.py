"""What the gateway answers, typed. Pure: from the bytes of an answer to frozen values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from ingest.client.errors import Forbidden, GatewayError, GatewayRefused, NotSignedIn, TryLater
from ingest.gateway.parsed import Outcome, Retry, Status
from ingest.spool import Place
from vitals.clock import from_datetime

MOST_WORDS = 200
"""So much of a stranger's answer is repeated at most."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response as it came. `retry_after_s` is the header's, in seconds."""

    status: int
    body: bytes
    request_id: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of samples that were sent: received = accepted + duplicates + rejected.

    `outcomes` lists what was not accepted, by the index it was given with (at most 1,000 a request: then
    `more_outcomes`, and the counts stay exact). `anchors`: the names that are confirmed: everything before is safe.
    `safe`: the weakest place that accepted samples are safe in, None where nothing was accepted.
    """

    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = ()
    more_outcomes: bool = False
    deletions: int = 0
    anchors: tuple[str, ...] = ()
    safe: Place | None = None
    request_ids: tuple[str, ...] = ()

    @property
    def later(self) -> tuple[int, ...]:
        """The indices of what may be accepted once somebody changes registry or binding: send it again in an hour."""
        return tuple(one.index for one in self.outcomes if one.retry is Retry.LATER)

    def and_then(self, more: Sent, *, first: int) -> Sent:
        """Join with what was sent after it; `first` is the index of the first sample of `more`."""
        moved = tuple(replace(one, index=one.index + first) for one in more.outcomes)
        return Sent(
            received=self.received + more.received,
            accepted=self.accepted + more.accepted,
            duplicates=self.duplicates + more.duplicates,
            rejected=self.rejected + more.rejected,
            reasons=dict(Counter(self.reasons) + Counter(more.reasons)),
            outcomes=self.outcomes + moved,
            more_outcomes=self.more_outcomes or more.more_outcomes,
            deletions=self.deletions + more.deletions,
            anchors=self.anchors + more.anchors,
            safe=Place.SPOOL if Place.SPOOL in {self.safe, more.safe} else more.safe or self.safe,
            request_ids=self.request_ids + more.request_ids,
        )


@dataclass(frozen=True, slots=True)
class LastSample:
    """The newest stored sample of a device's metric."""

    device: str
    metric: str
    start: datetime
    received: datetime


@dataclass(frozen=True, slots=True)
class Me:
    """What the gateway knows of whoever asks.

    `devices`: those it may name, or those that its patient wears; `last_samples` and `anchors` are None where the
    database does not answer, `spooled_records` where the spool does not; `batch`: how many samples a request best has;
    `hint`: `send`, `send live data first` or `wait`.
    """

    token_id: str
    kind: str
    expires: datetime
    devices: tuple[str, ...]
    last_samples: tuple[LastSample, ...] | None
    anchors: Mapping[str, str] | None
    max_samples: int
    max_bytes: int
    batch: int
    accepts: tuple[str, ...]
    spooled_records: int | None
    oldest_age_s: float | None
    hint: str


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that takes the place of the one it was asked for with. It is shown this once.

    `expires` None: `Me.expires` tells, once it is used.
    """

    token: str = field(repr=False)
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """An upload that is read.

    `state`: queued, running, succeeded, failed or cancelled; `summary`: of the import, once there is one; `code` and
    `detail`: why it failed, or waits.
    """

    job_id: str
    state: str
    done_bytes: int = 0
    total_bytes: int = 0
    summary: Mapping[str, Any] | None = None
    code: str = ""
    detail: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in {"succeeded", "failed", "cancelled"}


def sent_of(reply: Reply) -> Sent:
    """Return the outcome of samples. A 422 that says what became of each sample is an outcome too.

    Raises `GatewayRefused` for any other answer.
    """
    told = _object(reply)
    if reply.status != 202 and not (reply.status == 422 and "accepted" in told):
        raise refusal(reply)
    with_care = told.get
    safe = with_care("safe")
    return Sent(
        received=int(told["received"]),
        accepted=int(told["accepted"]),
        duplicates=int(told["duplicates"]),
        rejected=int(told["rejected"]),
        reasons=dict(with_care("reasons") or {}),
        outcomes=tuple(_outcome(one) for one in with_care("outcomes") or ()),
        more_outcomes=bool(with_care("more_outcomes", False)),
        deletions=int(with_care("deletions") or 0),
        anchors=tuple(with_care("anchors") or ()),
        safe=None if safe is None or not int(told["accepted"]) else Place(safe),
        request_ids=(str(with_care("request_id") or reply.request_id),),
    )


def me_of(reply: Reply) -> Me:
    """Return what GET /v1/devices/me tells. Raises `GatewayRefused`."""
    told = _object_of(reply, 200)
    token, send, backlog = told["token"], told["send"], told["backlog"]
    last, anchors = told["last_samples"], told["anchors"]
    return Me(
        token_id=token["id"],
        kind=token["kind"],
        expires=datetime.fromisoformat(token["expires"]),
        devices=tuple(told["devices"]),
        last_samples=None if last is None else tuple(_last(one) for one in last),
        anchors=None if anchors is None else dict(anchors),
        max_samples=int(send["max_samples"]),
        max_bytes=int(send["max_bytes"]),
        batch=int(send["batch"]),
        accepts=tuple(send["accepts"]),
        spooled_records=backlog["spooled_records"],
        oldest_age_s=backlog["oldest_age_s"],
        hint=backlog["hint"],
    )


def token_of(reply: Reply) -> NewToken:
    """Return what POST /v1/tokens/rotate tells. Raises `GatewayRefused`."""
    told = _object_of(reply, 200, 201)
    expires = told.get("expires")
    return NewToken(told["token"], None if expires is None else datetime.fromisoformat(expires))


def well(reply: Reply) -> None:
    """Raise `GatewayRefused` unless the answer is 200."""
    if reply.status != 200:
        raise refusal(reply)


def job_of(reply: Reply) -> Job:
    """Return what an upload, or GET /v1/jobs/{id}, tells. Raises `GatewayRefused`."""
    told = _object_of(reply, 200, 202)
    progress, problem = told["progress"], told.get("problem") or {}
    return Job(
        told["job"],
        told["state"],
        int(progress["done_bytes"]),
        int(progress["total_bytes"]),
        told.get("summary"),
        problem.get("code", ""),
        problem.get("detail", ""),
    )


def is_problem(reply: Reply) -> bool:
    """Tell whether a gateway said no, and not a proxy, a firewall or a portal on the way to it."""
    return _words(_object(reply).get("type")).startswith("urn:vigil:problem:")


def refusal(reply: Reply) -> GatewayRefused:
    """Return the error that an answer means."""
    told = _object(reply)
    kind = {401: NotSignedIn, 403: Forbidden}.get(reply.status, TryLater if reply.status in AGAIN else GatewayRefused)
    waits_s = told.get("retry_after_s", reply.retry_after_s)
    return kind(
        reply.status,
        _words(told.get("code")) or "unknown",
        _words(told.get("detail") or told.get("title")) or "no problem document: is this the gateway's address?",
        pointer=_words(told.get("pointer")),
        request_id=_words(told.get("instance")).removeprefix("urn:vigil:request:") or reply.request_id,
        retry_after_s=float(waits_s) if isinstance(waits_s, int | float) else None,
    )


AGAIN = frozenset({408, 409, 429, 502, 503, 504})
"""Answers that say nothing against what was sent: too slow, still under way, too much, a proxy without its gateway."""


def newest_us(last_samples: Sequence[LastSample]) -> int | None:
    """Return the newest start, microseconds UTC: what a bridge need not send again."""
    return max((from_datetime(one.start) for one in last_samples), default=None)


def _outcome(told: Mapping[str, Any]) -> Outcome:
    retry = told.get("retry")
    return Outcome(
        int(told["index"]),
        Status(told["status"]),
        str(told.get("reason") or ""),
        None if retry is None else Retry(retry),
        str(told.get("field") or ""),
    )


def _last(told: Mapping[str, Any]) -> LastSample:
    start, received = datetime.fromisoformat(told["start"]), datetime.fromisoformat(told["received"])
    return LastSample(told["device"], told["metric"], start, received)


def _object_of(reply: Reply, *statuses: int) -> dict[str, Any]:
    if reply.status not in statuses:
        raise refusal(reply)
    return _object(reply)


def _object(reply: Reply) -> dict[str, Any]:
    try:
        told = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        told = None
    if isinstance(told, dict):
        return told
    if reply.status in {200, 201, 202}:
        raise GatewayError(f"the answer {reply.status} is no JSON object: is this the gateway's address?")
    return {}


def _words(told: object) -> str:
    return "".join(sign for sign in told if sign.isprintable())[:MOST_WORDS] if isinstance(told, str) else ""
