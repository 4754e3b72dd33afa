"""The bars of the rhythm detectors, on a few held-out wearers: the long run is `tests.accuracy.rhythm`."""

from __future__ import annotations

from tests.accuracy.rhythm import HEALTHY, HELD_OUT, made_up, simulated


def test_simulated_wearers() -> None:
    told = simulated((HELD_OUT + 100,), hours=6.0)
    windows, alerts = told["windows"], told["alerts"]
    assert windows["fibrillating"] > 300
    assert windows["other"] > 5_000
    assert windows["sensitivity"] >= 0.97
    assert windows["specificity"] >= 0.98
    assert alerts["false_af_pages_per_patient_day"] == 0
    paged = [kind for kind in HEALTHY for word in alerts["findings_per_patient_day"][kind] if "irregular" in word]
    assert paged == []


def test_made_up_rhythms() -> None:
    told = made_up((HELD_OUT + 100, HELD_OUT + 101))
    assert told["sensitivity"] >= 0.97
    assert told["specificity"] >= 0.98
