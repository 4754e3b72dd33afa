"""What `vigil token` prints: the secret once on standard output, as text or QR code; all words on standard error."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import segno
import typer
from rich.table import Table

from timeseries.access import Made, Rotated, Token, Wanted
from vigil.quarantine_screen import console

_BRIGHT: Final = "\033[97;40m"
"""White on black, whatever the terminal's colours: most cameras read no inverted code."""
_PLAIN: Final = "\033[0m"


def pairing_uri(url: str, token: str) -> str:
    """Return what the QR code says: `vigil://pair?url=<gateway>&token=<token>`, both percent-encoded."""
    return f"vigil://pair?url={quote(url, safe='')}&token={quote(token, safe='')}"


def qr_code(text: str, *, colours: bool) -> str:
    """Return a QR code (ISO/IEC 18004, level M) in half blocks, its quiet zone around it; light is drawn, dark left."""
    out = io.StringIO()
    segno.make_qr(text, error="m").terminal(out, compact=True)
    lines = out.getvalue().splitlines()
    return "\n".join(f"{_BRIGHT}{line}{_PLAIN}" if colours else line for line in lines)


def show_secret(token: str, url: str | None) -> None:
    """Print a token, the only time; with the gateway's address as a QR code instead."""
    if url is None:
        typer.echo(token)
    else:
        typer.echo(qr_code(pairing_uri(url, token), colours=sys.stdout.isatty()))


def show_made(made: Made, wanted: Wanted) -> None:
    """Say on standard error what was made."""
    _say(f"{made.token_id} ({made.kind.value}) speaks for {_scope(wanted.patient, wanted.devices or None)}")
    if made.patient_is_new:
        _say("nobody knew that patient before: if that is a slip of the pen, revoke the token")
    if made.text is None:
        _say(f"tokens of its issuer open that until {_at(made.expires_at)}, if they name that subject")
    else:
        _say(f"it ends {_at(made.expires_at)}. Here it is, this once:")


def show_rotated(old: str, made: Rotated) -> None:
    """Say on standard error what takes whose place."""
    _say(f"{made.token_id} takes the place of {old}, which ends when that is first used, by {_at(made.old_ends_at)}")
    _say(f"it ends {_at(made.expires_at)}. Here it is, this once:")


def as_lines(tokens: Sequence[Token]) -> None:
    """Print one JSON object a line."""
    for one in tokens:
        typer.echo(json.dumps(asdict(one), default=lambda moment: moment.isoformat()))


def show_tokens(tokens: Sequence[Token]) -> None:
    """Print a table."""
    out = console()
    if not tokens:
        out.print("no token stands: `vigil token create` makes one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "kind", "speaks for", "created", "last used", "expires", "state"):
        table.add_column(name, no_wrap=name != "speaks for")
    for one in tokens:
        table.add_row(
            one.token_id, one.kind, _scope(one.patient_id, one.devices), f"{_at(one.created_at)} by {one.created_by}",
            "never" if one.last_used_at is None else _at(one.last_used_at), _at(one.expires_at), _state(one),
        )  # fmt: skip
    out.print(table)


def _state(one: Token) -> str:
    if one.state == "ending" and one.revoked_at is not None:
        return f"ending {_at(one.revoked_at)}, then {one.replaced_by}"
    if one.state == "revoked" and one.revoked_at is not None:
        return f"revoked {_at(one.revoked_at)} by {one.revoked_by}"
    days = (one.expires_at - datetime.now(UTC)).days
    return f"{one.state}, {days} days left" if one.state in {"active", "unused"} and days < 30 else one.state


def _scope(patient: str | None, devices: Sequence[str] | None) -> str:
    if devices is None:
        return f"{patient}, any device"
    shown = ", ".join(devices[:4]) + (f" and {len(devices) - 4} more" if len(devices) > 4 else "")
    return f"{patient}, {shown}" if patient is not None else f"whoever wears {shown}"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _say(text: str) -> None:
    typer.echo(text, err=True)
