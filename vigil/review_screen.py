"""What the commands on reviews print: a table for the clinician, dictionaries for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from alerts.wording import NOTICE
from timeseries.review_model import Listed, LookedAt
from vigil.quarantine_screen import console

_ENDED: Final[Mapping[str, str]] = {
    "usual_again": "as usual again", "joined": "told on together with another", "corrected": "corrected days show none",
    "not_looked_for": "plan or consent ended",
}  # fmt: skip
_NAMES: Final[Mapping[str, str]] = {
    "activity_changed": "steps", "sleep_timing_changed": "mid-sleep", "sleep_length_changed": "min asleep",
    "sleep_broken": "min awake at night",
}  # fmt: skip
_PREFIXES: Final[Mapping[str, str]] = {"steps_": "steps", "sleep_midpoint_min_": "mid-sleep"}


def show(who: str, listed: Sequence[Listed], looks: Sequence[LookedAt], *, everything: bool) -> None:
    """Print one clinician's list, then whose days were looked at how far."""
    out = console()
    if listed:
        table = Table(
            "review", "patient", "since", "what is seen", "figures", "seen", *(("ended",) if everything else ()),
            box=None, pad_edge=False, header_style="bold",
        )  # fmt: skip
        for one in listed:
            row = (
                one.review_id[:12], one.patient_id, _since(one), one.sentence, figures(one), _seen(one),
                *((_ended(one),) if everything else ()),
            )  # fmt: skip
            table.add_row(*map(escape, row))
        out.print(table)
    else:
        out.print(f"nothing on the list of {escape(who)}" + ("" if everything else " (--all shows what ended)"))
    out.print(_looked(looks))
    out.print(NOTICE)


def figures(one: Listed) -> str:
    """Return the figures of a review in a few words: what is usual, what it is since, and how unusual that is."""
    told = one.evidence.get("figures", {})
    parts = {name: _part(told, prefix) for prefix, name in _PREFIXES.items() if f"{prefix}usual" in told}
    parts = parts or {_NAMES.get(one.rule, one.rule): _part(told, "")}
    return "; ".join(_in_words(name, part) for name, part in parts.items())


def _part(told: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in told.items() if name.startswith(prefix)}


def _in_words(name: str, part: Mapping[str, float]) -> str:
    usual, since = (_quantity(name, part.get(which)) for which in ("usual", "since_then"))
    spread, days = part.get("deviation_sd", 0.0), part.get("days", 0.0)
    return f"{name} {usual} -> {since} ({spread:+.1f} SD, {days:.0f} days)"


def _quantity(name: str, value: float | None) -> str:
    if value is None:
        return "?"
    return f"{int(value // 60) % 24:02d}:{int(value) % 60:02d}" if name == "mid-sleep" else f"{value:,.0f}"


def _since(one: Listed) -> str:
    """Return the wearer's own day."""
    return str(one.evidence.get("since") or f"{one.opened_at:%Y-%m-%d}")


def _seen(one: Listed) -> str:
    return "" if one.seen_at is None else f"{one.seen_at:%Y-%m-%d %H:%M} by {one.seen_by}"


def _ended(one: Listed) -> str:
    return "" if one.cleared_at is None else f"{one.cleared_at:%Y-%m-%d} {_ENDED.get(one.ended or '', one.ended or '')}"


def _looked(looks: Sequence[LookedAt]) -> str:
    """Say how many are looked at and how far: an empty list alone would not say that anybody looks."""
    if not looks:
        return "nobody's care profile names you in review_by: nothing is looked for (vigil profile set)"
    untils = [one.until_day for one in looks if one.until_day is not None]
    told = [f"{len(looks):,} under a plan with you"]
    told.append(f"days looked at up to {max(untils)}" if untils else "no day of theirs was looked at yet")
    told += [_learning(one) for one in looks if _is_learning(one)]
    behind = [one.patient_id for one in looks if one.until_day is not None and (max(untils) - one.until_day).days > 3]
    if behind:
        told.append(f"no new days of {', '.join(behind)}")
    return "; ".join(told)


def _is_learning(one: LookedAt) -> bool:
    known = (one.activity_days, one.sleep_days, one.needed_days)
    return None in known or min(one.activity_days or 0, one.sleep_days or 0) <= (one.needed_days or 0)


def _learning(one: LookedAt) -> str:
    if one.needed_days is None:
        return f"{one.patient_id}: not looked at yet"
    known = f"{one.activity_days} days of steps, {one.sleep_days} nights"
    return f"{one.patient_id}: still learning what is usual ({known}; {one.needed_days} are needed)"


def as_dict(one: Listed) -> dict[str, Any]:
    """Return a review for a program."""
    at = {name: getattr(one, name) for name in ("opened_at", "raised_at", "cleared_at", "seen_at")}
    return {
        "review_id": one.review_id, "patient_id": one.patient_id, "rule": one.rule, "rule_version": one.rule_version,
        "state": one.state, "ended": one.ended, "sentence": one.sentence, "evidence": one.evidence,
        "policy": one.policy, "seen_by": one.seen_by,
        **{name: None if moment is None else moment.isoformat() for name, moment in at.items()},
    }  # fmt: skip
