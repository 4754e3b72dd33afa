"""Where the gateway is and how it is known: address, certificates, token. Pure but for reading certificates."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from ingest.client.errors import GatewayError
from vitals.hosts import is_loopback


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway to talk to. `url` is https; http only on this machine, or where `in_the_clear` says that it may.

    `authority`: PEM file of a certificate authority of your own; `certificate`: (chain, key) PEM files of a client
    certificate. The token is in no repr.
    """

    url: str
    token: str = field(repr=False)
    authority: Path | None = None
    certificate: tuple[Path, Path] | None = None
    in_the_clear: bool = False

    def __post_init__(self) -> None:
        """Raise `GatewayError` for an address that would show the token to the network, or is none."""
        parts = urlsplit(self.url)
        if parts.scheme not in {"https", "http"} or not parts.hostname:
            raise GatewayError("the gateway's address begins with https:// and a host")
        if parts.username is not None or parts.query or parts.fragment:
            raise GatewayError("the gateway's address is a host, a port and a path, nothing else")
        if parts.scheme == "http" and not self.in_the_clear and not is_loopback(parts.hostname):
            raise GatewayError("over http the network reads the token: use https, or a gateway on this machine")
        if not self.token or not self.token.isascii() or not self.token.isprintable():
            raise GatewayError("the token is one line of letters, digits, - and _")

    @property
    def base(self) -> str:
        """The address without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def host(self) -> str:
        """Host and port, for people and logs."""
        return urlsplit(self.url).netloc

    @property
    def stream_url(self) -> str:
        """The address of the WebSocket."""
        return f"ws{self.base.removeprefix('http')}/v1/stream"

    @property
    def is_tls(self) -> bool:
        """Whether it is https."""
        return urlsplit(self.url).scheme == "https"

    def tls(self) -> ssl.SSLContext:
        """Return how its certificate is verified; over http, what trusts nobody. Raises `GatewayError`."""
        if not self.is_tls:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            own = self.authority
            context = httpx.create_ssl_context() if own is None else ssl.create_default_context(cafile=str(own))
            if self.certificate is not None:
                context.load_cert_chain(*map(str, self.certificate))
        except OSError as error:  # ssl.SSLError is one
            raise GatewayError("a certificate or its key cannot be read: PEM files are wanted") from error
        return context

    def headers(self) -> dict[str, str]:
        """Return what goes with each request."""
        return {"authorization": f"Bearer {self.token}", "user-agent": "vigil-client/1"}
