"""`make accuracy`: how well the watch sees, on simulated truth and on the recordings that are there; JSON at the end.

Figures from simulation are no clinical performance. `python -m tests.accuracy [name ...]` runs some of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.accuracy import baseline, behaviour, deterioration, events, rhythm, technical, whole

PARTS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "rhythm": rhythm.figures,
    "deterioration": deterioration.figures,
    "events": events.figures,
    "baseline": baseline.figures,
    "behaviour": behaviour.figures,
    "technical": technical.figures,
    "whole": whole.figures,
}


def main() -> None:
    """Run the parts and print one JSON object: figures by part, and each bar with whether it was met."""
    parser = argparse.ArgumentParser(prog="make accuracy", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(PARTS)}; all by default")
    found: dict[str, Any] = {}
    for name in parser.parse_args().names or PARTS:
        begun = time.monotonic()
        found[name] = PARTS[name]()
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    met = bars(found)
    print(json.dumps({"figures": found, "bars": met}, indent=1))
    sys.exit(0 if all(one["met"] for one in met.values()) else 1)


def bars(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return each bar that the parts say something of: what was found, what is asked, and whether it is met."""
    told: dict[str, Any] = {}
    if "whole" in found:
        told |= _whole(found["whole"])
    if "behaviour" in found:
        told |= _behaviour(found["behaviour"])
    if "rhythm" in found:
        told |= _rhythm(found["rhythm"])
    return told


def _whole(found: Mapping[str, Any]) -> dict[str, Any]:
    healthy, ill = found["healthy"], found["deterioration"]
    told = {
        f"healthy_{tier}_a_patient_day": _at_most(healthy[f"{tier}_a_patient_day"], most)
        for tier, most in (("paging", 0.02), ("digest", 0.2), ("technical", 0.2))
    }
    physiological = sum(sum(one["physiological"].values()) for one in found["faults"]["by_fault"].values())
    told["physiological_alerts_by_faults"] = _at_most(physiological, 0)
    told["deteriorations_not_paged_before_news2_7"] = _at_most(ill["reached_7"] - ill["paged_before"], 0)
    recordings = found["recordings"]
    if "nsr001" in recordings:
        told |= {f"{name}_paging": _at_most(sum(recordings[name]["paging"].values()), 0) for name in _CALM}
        first = recordings["ltafdb74"]["first_after_s"].get("irregular_rhythm", float("inf"))
        told["ltafdb74_recorded_after_s"] = _at_most(first, 60)
    return told


_CALM: Final = ("mitdb100", "nsr001")


def _behaviour(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "false_reviews_a_patient_day": _at_most(found["false_reviews_a_patient_day"], 0.004),
        "withdrawals_found_within_28_days": _at_least(found["found_within_28_days_share"], 0.95),
    }


def _rhythm(found: Mapping[str, Any]) -> dict[str, Any]:
    windows = found["windows"]
    return {"af_sensitivity": _at_least(windows["sensitivity"], 0.97), "af_specificity": _at_least(
        windows["specificity"], 0.98)}  # fmt: skip


def _at_most(value: float, most: float) -> dict[str, Any]:
    return {"found": value, "at_most": most, "met": value <= most}


def _at_least(value: float, least: float) -> dict[str, Any]:
    return {"found": value, "at_least": least, "met": value >= least}


if __name__ == "__main__":
    main()
