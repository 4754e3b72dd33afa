"""Which settled detectors there are: the section of a policy file, its frozen policy, and what it makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from stream.detectors.protocol import Detector, Technical


@dataclass(frozen=True, slots=True)
class Section:
    """`[detectors.NAME]` of a policy file: the fields of the frozen dataclass `policy` are its keys (seconds, units and
    bounds in their names and `__post_init__`), `make` builds the detector from it."""

    name: str
    policy: type[Any]
    make: Callable[[Any], Detector[Any] | Technical[Any]]
    technical: bool = False


SECTIONS: Final[tuple[Section, ...]] = ()
