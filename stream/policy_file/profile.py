"""A care profile as a clinician writes it: TOML, checked against vitals/care_profile.py, errors by line. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from stream.policy_file.faults import Fault, FileRefused, no_such
from stream.policy_file.locate import Lines
from stream.policy_file.reading import fault_of, parsed
from stream.policy_file.writing import tables_of
from vitals.care_profile import CareProfile
from vitals.catalogue import BY_CODE, METRICS, Kind, RetentionClass

_LIMITS: Final = ("limits", "sleeping_limits")
LIMITED: Final = tuple(
    one.code for one in METRICS if one.kind is Kind.INSTANTANEOUS and one.retention is RetentionClass.VITAL
)
"""Metrics that can have a person's own limits: vitals measured at a moment."""


def read_profile(data: bytes | str, file: str = "profile") -> CareProfile:
    """Return the profile that a text states. Raises `FileRefused` with all that is wrong."""
    _, tables, lines = parsed(data, file)
    faults = [*_of_limits(tables, lines)]
    known = {fault.path for fault in faults}
    left = {key: _without(key, one, known) for key, one in tables.items() if key != "version"}
    if "version" in tables:
        faults.append(Fault(lines[("version",)], ("version",), "unknown_key", "the version is counted, not written"))
    try:
        profile = CareProfile.model_validate_json(json.dumps(left, default=str), strict=True)
    except ValidationError as error:
        told = error.errors(include_url=False, include_context=True, include_input=False)
        raise FileRefused(file, [*faults, *(fault_of(CareProfile, one, lines) for one in told)]) from None
    if faults:
        raise FileRefused(file, faults)
    return profile


def _without(key: str, table: Any, known: set[tuple[str, ...]]) -> Any:
    if key not in _LIMITS or not isinstance(table, Mapping):
        return table
    return {metric: one for metric, one in table.items() if not any(path[:2] == (key, metric) for path in known)}


def _of_limits(tables: Mapping[str, Any], lines: Lines) -> Iterator[Fault]:
    """Tell of limits on what has none, and of limits beyond what the metric can mean."""
    for key in _LIMITS:
        held = tables.get(key)
        for metric, band in held.items() if isinstance(held, Mapping) else ():
            path = (key, metric)
            if metric not in LIMITED:
                says = no_such(metric, LIMITED).replace("unknown key", "no vital that can have limits")
                yield Fault(lines[path], path, "unknown_key", says)
                continue
            bounds = BY_CODE[metric]
            for side, value in band.items() if isinstance(band, Mapping) else ():
                if type(value) in {int, float} and not bounds.low <= value <= bounds.high:
                    says = f"{metric} lies within {bounds.low:g} to {bounds.high:g} {bounds.unit}"
                    yield Fault(lines[(*path, side)], (*path, side), "value", says)


def profile_text(profile: CareProfile) -> str:
    """Return the file that states a profile: what was said, and nothing else."""
    told = profile.model_dump(mode="json", exclude_defaults=True, exclude_none=True, exclude={"version"})
    return tables_of(told) or "# nothing is said: adult defaults\n"
