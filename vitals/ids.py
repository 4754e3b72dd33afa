"""Opaque ids. No id that enters Vigil may carry a name: adapters hash what could (see `pseudonym`)."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final, NewType

from vitals.errors import VigilError

PatientId = NewType("PatientId", str)
DeviceId = NewType("DeviceId", str)

_OPAQUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class InvalidId(VigilError):
    """An id is not 1 to 64 letters, digits, `.`, `_`, `:` or `-`, beginning with a letter or digit."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} must be 1 to 64 letters, digits, '.', '_', ':' or '-', and start with a letter or digit"
        )


def is_opaque(text: str) -> bool:
    """Tell whether `text` has the form of an opaque id."""
    return _OPAQUE.fullmatch(text) is not None


def patient_id(text: str) -> PatientId:
    """Check a patient id. Raises `InvalidId`; the message does not repeat what was given, which may be a name."""
    if not is_opaque(text):
        raise InvalidId("patient id")
    return PatientId(text)


def device_id(text: str) -> DeviceId:
    """Check a device id. Raises `InvalidId`."""
    if not is_opaque(text):
        raise InvalidId("device id")
    return DeviceId(text)


def pseudonym(key: bytes, text: str, prefix: str) -> str:
    """Return a keyed hash of `text` as an opaque id: the same device is recognised, its name is gone (HMAC-SHA-256)."""
    return f"{prefix}-{hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:20]}"
