"""Edge: do gateway and console answer, is the certificate good, has the disk room, is the spool empty?"""

from __future__ import annotations

import shutil
import ssl
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import httpx

from vigil.checks.finding import Finding, Verdict, judged
from vigil.settings import Settings

_TIMEOUT_S: Final = 5.0
_SOON_DAYS: Final = 21
_ROOM_BYTES: Final = 2 << 30
_WEAK: Final = 0o077


async def check(config: Settings) -> Sequence[Finding]:
    """Look at what listens on this machine, as the settings have it."""
    return [
        *await _gateway(config),
        *await _answers(
            "console", f"http://{_name(config.console_host)}:{config.console_port}/healthz", "vigil console"
        ),
    ]


async def _gateway(config: Settings) -> list[Finding]:
    secure = config.gateway_tls_cert is not None
    base = f"{'https' if secure else 'http'}://{_name(config.gateway_host)}:{config.gateway_port}"
    found = await _answers("gateway", f"{base}/readyz", "vigil serve")
    if config.gateway_tls_cert is not None:
        found.append(certificate(config.gateway_tls_cert, time.time()))
    return [*found, *folder(Path(config.gateway_folder))]


async def _answers(area: str, url: str, command: str) -> list[Finding]:
    try:
        # Whether the certificate is good is looked at by itself, and this machine's name is hardly in it.
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, verify=False) as client:  # noqa: S501
            before = time.time()
            answer = await client.get(url)
            ours = (before + time.time()) / 2
    except (httpx.HTTPError, ssl.SSLError, OSError):
        return [
            Finding(area, "answers", Verdict.WARN, f"nothing answers at {url}", f"not here, or not running: {command}")
        ]
    if answer.status_code >= 400:
        says = f"says it is not ready ({answer.status_code}): {_reason(answer)}"
        return [Finding(area, "answers", Verdict.FAIL, says, f"its log says why: {command}")]
    found = [Finding(area, "answers", Verdict.OK, url)]
    if "date" in answer.headers:
        found.append(_date(area, answer.headers["date"], ours))
    return found


def _reason(answer: httpx.Response) -> str:
    try:
        told = answer.json()
    except ValueError:
        return "no reason given"
    return str(told.get("detail") or told.get("error") or "no reason given")[:200] if isinstance(told, dict) else ""


def _date(area: str, header: str, ours: float) -> Finding:
    theirs = parsedate_to_datetime(header).timestamp() + 0.5  # the header counts whole seconds
    return judged(
        "clocks", area, f"{theirs - ours:+.0f} s against this machine's", fine=abs(theirs - ours) <= 2,
        do="let NTP set the clocks of both machines",
    )  # fmt: skip


def certificate(file: Path, now_s: float) -> Finding:
    """Return whether the certificate can be read and for how long it is good."""
    from cryptography import x509

    try:
        ends = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return Finding("gateway", "certificate", Verdict.FAIL, "cannot be read", "look at VIGIL_GATEWAY_TLS_CERT")
    days = (ends - datetime.fromtimestamp(now_s, UTC)).days
    return judged(
        "gateway", "certificate", f"good for {days} days" if days >= 0 else "has ended", fine=days >= _SOON_DAYS,
        bad=Verdict.WARN if days >= 0 else Verdict.FAIL, do="renew it, and start the gateway again",
    )  # fmt: skip


def folder(path: Path) -> Iterator[Finding]:
    """Yield whether the gateway's folder is private and has room, and what waits in its spool."""
    if not path.is_dir():
        yield Finding("gateway", "folder", Verdict.SKIP, "not there yet: the gateway makes it")
        return
    weak = path.stat().st_mode & _WEAK
    yield judged(
        "gateway", "folder", "for its owner only" if not weak else "others may look into it", fine=not weak,
        do=f"chmod 700 {path}",
    )  # fmt: skip
    free = shutil.disk_usage(path).free
    yield judged(
        "gateway", "disk", f"{free / (1 << 30):,.1f} GiB free", fine=free > _ROOM_BYTES,
        bad=Verdict.WARN if free > _ROOM_BYTES // 8 else Verdict.FAIL, do="make room: the spool may need it",
    )  # fmt: skip


def _name(host: str) -> str:
    """Return the name by which a listener is asked from its own machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
