"""`vigil token`: who may send to the gateway. A secret is shown once, on standard output, and is kept nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vigil.settings import settings
from vitals.access import Kind, is_token_id
from vitals.errors import VigilError

if TYPE_CHECKING:
    from timeseries.access import Tokens

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=(
        "Credentials of phones, bridges and platforms that send to the gateway.\n\n"
        "A device: **vigil token create --patient p-017 --device watch-1 --who nurse-1**. A phone, with all devices of "
        "its owner, paired by its camera: **vigil token create --patient p-017 --qr --url https://vigil.example.org "
        "--who nurse-1**. A ward's bridge: **vigil token create --devices strap-1,strap-2 --who nurse-1**."
    ),
)

_DURATION: Final = re.compile(r"(\d{1,6})\s*(d|h|min|m|s|w)")
_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "min": 60, "m": 60, "s": 1}


class TokensUnavailable(VigilError):
    """The database does not answer, or lacks the tables of tokens."""


class NoCertificate(VigilError):
    """A file holds no certificate in PEM form."""


class BadAddress(VigilError):
    """An address cannot be told to a phone, or is none of an issuer."""


def _duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter("a time such as 365d, 12h or 30min; a token always ends, after two years at most")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _token_id(text: str) -> str:
    """Refuse a whole token, without repeating it: it would be in the shell's history, and must go."""
    if not is_token_id(text.strip()):
        raise typer.BadParameter(
            "16 letters and digits, as `vigil token list` shows them. If that was a whole token, revoke it: it stands "
            "in your shell's history now"
        )
    return text.strip()


TokenId = Annotated[Any, typer.Argument(parser=_token_id, metavar="TOKEN_ID", help="Its id, not the token itself.")]
Who = Annotated[str, typer.Option("--who", metavar="ID", help="Who does this: an opaque id, never a name.")]
Qr = Annotated[bool, typer.Option("--qr", help="Show a QR code that pairs a phone, instead of the token.")]
Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="With --qr: the gateway as the phone reaches it; VIGIL_GATEWAY_URL."),
]


@contextmanager
def _tokens(who: str) -> Iterator[Tokens]:
    import psycopg

    from timeseries.access import Tokens

    try:
        with psycopg.connect(settings().database(), autocommit=True, options="-c timezone=UTC") as connection:
            yield Tokens(connection, who)
    except psycopg.errors.UndefinedTable:
        raise TokensUnavailable("the database has no tokens yet: run vigil db migrate") from None
    except psycopg.OperationalError as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise TokensUnavailable(f"the database does not answer{state}; nothing was changed") from None


@app.command()
def create(
    who: Who,
    patient: Annotated[
        str | None, typer.Option("--patient", metavar="ID", help="All that it sends is about this patient (opaque id).")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="ID", help="With --patient: only this device; say it again for more."),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="IDS", help="A ward's bridge: these devices, each on whoever wears it."),
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="What it is; otherwise what follows from the rest.")] = None,
    expires: Annotated[Any, typer.Option("--expires", parser=_duration, metavar="TIME", help="365d; 730d at most.")]
    = "365d",
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", metavar="FILE", help="It counts only with this client certificate (PEM)."),
    ] = None,
    issuer: Annotated[str | None, typer.Option("--issuer", metavar="URL", help="A platform's OpenID Connect issuer.")]
    = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Whom its tokens name; no person's name.")] = None,
    note: Annotated[str | None, typer.Option("--note", metavar="WORD", help="One opaque word, never a name.")] = None,
    qr: Qr = False,
    url: Url = None,
) -> None:  # fmt: skip
    """Make a credential and show it, once.

    The token alone goes to standard output, what there is to say about it to standard error: so
    `vigil token create ... > token.txt` keeps it. What is lost is made anew, it cannot be shown again. A platform that
    signs in by OpenID Connect gets no token: its issuer's tokens then open what is said here, and nothing else.
    """
    from timeseries.access import TokenRefused, Wanted
    from vigil import token_screen as screen

    if device and (devices or patient is None):
        raise TokenRefused("--device goes with --patient; a ward's bridge has --devices ID,ID and no patient")
    if patient is not None and devices:
        raise TokenRefused("--devices is a ward's bridge and has no --patient; name one patient's with --device")
    if (issuer is None) != (subject is None):
        raise TokenRefused("a platform has both --issuer and --subject")
    if qr and subject is not None:
        raise TokenRefused("a platform has no token that a QR code could show")
    named = device or [one.strip() for one in (devices or "").split(",") if one.strip()]
    address = _phone_address(url) if qr else None
    wanted = Wanted(
        patient, tuple(named), kind, expires, None if certificate is None else fingerprint(certificate),
        None if issuer is None or subject is None else (_issuer(issuer), _subject(subject)), note,
    )  # fmt: skip
    with _tokens(who) as tokens:
        made = tokens.create(wanted)
    screen.show_made(made, wanted)
    if made.text is not None:
        screen.show_secret(made.text, address)


@app.command("list")
def list_(
    patient: Annotated[str | None, typer.Option("--patient", metavar="ID", help="Only those of one patient.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Show the tokens that stand: for whom, since when, when last used, until when."""
    from vigil import token_screen as screen

    with _tokens("operator") as tokens:
        found = tokens.tokens(patient, everything=everything)
    screen.as_lines(found) if as_json else screen.show_tokens(found)


@app.command()
def revoke(
    token_id: TokenId,
    who: Who,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The number of the matter, never a name.")],
) -> None:
    """End a token and all that it was rotated to, at once and for good."""
    with _tokens(who) as tokens:
        gone = tokens.revoke(token_id, why)
    for one in gone:
        typer.echo(f"{one} opens nothing any more; every gateway knows within a second")


@app.command()
def rotate(
    token_id: TokenId,
    who: Who,
    overlap: Annotated[
        Any, typer.Option("--overlap", parser=_duration, metavar="TIME", help="How long the old one stands at most.")
    ] = "24h",
    qr: Qr = False,
    url: Url = None,
) -> None:
    """Make a token's successor and show it, once; the old one ends when the new one is first used.

    It opens the same, for as long from now on, and keeps how far its phone has come. Phones rotate their tokens
    themselves; here it is done for them, after a doubt or for a device that cannot.
    """
    from vigil import token_screen as screen

    address = _phone_address(url) if qr else None
    with _tokens(who) as tokens:
        made = tokens.rotate(token_id, overlap)
    screen.show_rotated(token_id, made)
    screen.show_secret(made.text, address)


def fingerprint(file: Path) -> str:
    """Return the SHA-256 of a PEM certificate's DER, in hex. Raises `NoCertificate`."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(file.read_bytes()).fingerprint(SHA256()).hex()
    except (OSError, ValueError):
        raise NoCertificate(f"{file}: no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None


def _phone_address(url: str | None) -> str:
    from ingest.gateway.oidc_keys import is_safe

    found = url or (None if settings().gateway_url is None else str(settings().gateway_url))
    if found is None:
        raise BadAddress("--qr needs --url, the gateway's address as the phone reaches it: https://vigil.example.org")
    if not is_safe(found):
        raise BadAddress("a token travels over https only: --url https://... (http only on this machine's loopback)")
    return found.rstrip("/")


def _issuer(url: str) -> str:
    from ingest.gateway.oidc_keys import is_safe

    if not is_safe(url):
        raise BadAddress("--issuer is an https address, exactly as the tokens' claim `iss` has it")
    return url


def _subject(text: str) -> str:
    if not (0 < len(text) <= 255 and text.isprintable() and not any(one.isspace() for one in text)):
        raise BadAddress("--subject is 1 to 255 printable characters without spaces: the claim `sub` of its tokens")
    return text
