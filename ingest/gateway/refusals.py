"""Edge: every refusal is counted and, at a bounded rate, logged. No id of a person or a device, no secret, no input."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import structlog

from ingest.gateway.limits import Bucket
from ingest.gateway.metrics import REFUSED
from ingest.gateway.parsed import BodyRefused
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.problems import Refused, from_body, of_status

log = structlog.get_logger(__name__)


class Refusals:
    """Turns whatever ends a request into a refusal, and says so."""

    def __init__(self, policy: GatewayPolicy) -> None:
        self._bucket = Bucket(policy.log_per_s, policy.log_burst, policy.log_burst, monotonic())
        self._unlogged = 0

    def of(self, error: Exception, *, request_id: str, token_id: str | None, route: str) -> Refused:
        """Return the refusal that an error means: itself, a body's fault, or 500 for what nobody foresaw."""
        refused = _as_refused(error)
        REFUSED.labels(refused.code).inc()
        if self._bucket.take(1.0, monotonic()) > 0:
            self._unlogged += 1
            return refused
        unlogged, self._unlogged = self._unlogged, 0
        names = {"request_id": request_id, "token_id": token_id, "route": route, "unlogged": unlogged}
        if refused.status == 500:
            log.error("gateway_broken", error=type(error).__name__, where=_where(error), **names)
        elif refused.status > 500:
            log.warning("gateway_refused", code=str(refused.code), status=refused.status, why=str(refused), **names)
        else:
            log.info("gateway_refused", code=str(refused.code), status=refused.status, **names)
        return refused


def _as_refused(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    return from_body(error) if isinstance(error, BodyRefused) else of_status(500)


def _where(error: Exception) -> str:
    """Return file and line of where it was raised: a message could quote what came in."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
