"""What the gateway, or the way to it, says no with. Messages hold no token and nothing of what was sent."""

from __future__ import annotations

from vitals.errors import VigilError


class GatewayError(VigilError):
    """Something sent through the gateway did not arrive, or is not known to have."""


class GatewayUnreachable(GatewayError):
    """No gateway answered within the time that retries may take. Sending the same again stores nothing twice."""


class GatewayRefused(GatewayError):
    """The gateway answered with a problem (RFC 9457).

    `code`: the stable word for programs (docs/gateway.md lists them); `retry_after_s`: when asking again may help, None
    where it says nothing of that; `pointer`: a JSON pointer to what is wrong in the body.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        pointer: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        where = f" at {pointer}" if pointer else ""
        super().__init__(f"the gateway answered {status} {code}{where}: {detail}")
        self.status, self.code, self.pointer = status, code, pointer
        self.request_id, self.retry_after_s = request_id, retry_after_s


class NotSignedIn(GatewayRefused):
    """401: the token is unknown, expired or revoked. Pair again."""


class Forbidden(GatewayRefused):
    """403: the token is known and may not do this."""


class TryLater(GatewayRefused):
    """408, 409, 429, 502, 503, 504 to the end of all retries: nothing is wrong with what was sent."""
