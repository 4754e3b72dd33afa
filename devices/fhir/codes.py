"""Codes and units: which LOINC or MDC code is which metric, and which UCUM units become the catalogue's.

A code or a unit that is not here gives no sample, and is counted by that reason: no unit is ever guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from vitals.catalogue import BY_CODE, METRICS

LOINC: Final = "http://loinc.org"
MDC: Final = "urn:iso:std:iso:11073:10101"
UCUM: Final = "http://unitsofmeasure.org"
VIGIL: Final = "urn:vigil:metric"
"""Codes of Vigil's own catalogue, beside LOINC and where LOINC has none."""
CATEGORY: Final = "urn:vigil:category:"
SAMPLE_ID: Final = "urn:vigil:sample"
PATIENT_ID: Final = "urn:vigil:patient"
DEVICE_ID: Final = "urn:vigil:device"
QUALITY: Final = "urn:vigil:quality"
CONTEXT: Final = "urn:vigil:context"


@dataclass(frozen=True, slots=True)
class Target:
    """A metric's code; a suffix for the source app where a site or method must not pool with others; a channel."""

    metric: str
    suffix: str = ""
    channel: str = "main"


# Beside the catalogue's own LOINC codes. Body temperature keeps its site, glucose its specimen (CLINICAL, Values).
_LOINC: Final = {
    "2708-6": Target("spo2", ".arterial"),  # oxygen saturation in arterial blood; vital signs write it beside 59408-5
    "8328-7": Target("body_temperature", ".axillary"),
    "8331-1": Target("body_temperature", ".oral"),
    "8332-9": Target("body_temperature", ".rectal"),
    "8333-0": Target("body_temperature", ".tympanic"),
    "15074-8": Target("glucose", ".blood"),
    "2345-7": Target("glucose", ".serum"),
    "14745-4": Target("glucose", ".body_fluid"),
    "41653-7": Target("glucose", ".meter"),
    "99504-3": Target("glucose", ".interstitial"),
    "3141-9": Target("weight"),
    "11524-6": Target("ecg"),
}
_MDC: Final = {
    "131328": Target("ecg"),
    "131329": Target("ecg", channel="lead_i"),
    "131330": Target("ecg", channel="lead_ii"),
    "131389": Target("ecg", channel="lead_iii"),
    "147842": Target("heart_rate"),
    "149530": Target("pulse_rate"),
    "150456": Target("spo2"),
    "150452": Target("ppg"),
    "151562": Target("respiratory_rate"),
    "150021": Target("bp_systolic"),
    "150022": Target("bp_diastolic"),
    "150023": Target("bp_mean"),
    "188736": Target("weight"),
}


def _targets() -> dict[tuple[str, str], Target]:
    found = {(LOINC, code): target for code, target in _LOINC.items()}
    found |= {(MDC, code): target for code, target in _MDC.items()}
    found |= {(LOINC, one.loinc): Target(one.code) for one in METRICS if one.loinc is not None}
    return found | {(VIGIL, one.code): Target(one.code) for one in METRICS}


TARGETS: Final[Mapping[tuple[str, str], Target]] = MappingProxyType(_targets())

Scale = tuple[float, float]
_SAME: Final = (1.0, 0.0)

_A_MINUTE: Final = (
    "/min", "1/min", "{beats}/min", "{Beats}/min", "{breaths}/min", "{steps}/min",
    "bpm", "beats/min", "beats/minute", "breaths/min", "breaths/minute",
)  # fmt: skip
# In UCUM first, then as systems without it write them.
_BY_UNIT: Final[Mapping[str, Mapping[str, Scale]]] = MappingProxyType(
    {
        "/min": dict.fromkeys(_A_MINUTE, _SAME) | {"/s": (60.0, 0.0), "Hz": (60.0, 0.0)},
        "%": {"%": _SAME, "1": (100.0, 0.0)},
        "Cel": {
            "Cel": _SAME, "C": _SAME, "degC": _SAME, "\u00b0C": _SAME, "K": (1.0, -273.15),
            "[degF]": (5 / 9, -160 / 9), "degF": (5 / 9, -160 / 9), "\u00b0F": (5 / 9, -160 / 9),
        },
        "mm[Hg]": {"mm[Hg]": _SAME, "mmHg": _SAME, "mm Hg": _SAME, "kPa": (7.500615758456564, 0.0)},
        "mg/dL": {"mg/dL": _SAME, "mmol/L": (18.01558800000541, 0.0), "g/L": (100.0, 0.0)},
        "kg": {
            "kg": _SAME, "g": (1e-3, 0.0), "[lb_av]": (0.45359237, 0.0), "lb": (0.45359237, 0.0),
            "lbs": (0.45359237, 0.0), "[oz_av]": (0.028349523125, 0.0), "[stone_av]": (6.35029318, 0.0),
        },
        "cm": {
            "cm": _SAME, "m": (100.0, 0.0), "mm": (0.1, 0.0), "[in_i]": (2.54, 0.0), "[in_us]": (2.54, 0.0),
            "in": (2.54, 0.0), "[ft_i]": (30.48, 0.0),
        },
        "m": {"m": _SAME, "km": (1e3, 0.0), "cm": (1e-2, 0.0), "[mi_i]": (1609.344, 0.0), "[ft_i]": (0.3048, 0.0)},
        "kcal": {"kcal": _SAME, "[Cal]": _SAME, "kJ": (1 / 4.184, 0.0), "J": (1 / 4184, 0.0), "cal": (1e-3, 0.0)},
        "ms": {"ms": _SAME, "s": (1e3, 0.0)},
        "s": {"s": _SAME, "ms": (1e-3, 0.0), "min": (60.0, 0.0)},
        "min": {"min": _SAME, "s": (1 / 60, 0.0), "h": (60.0, 0.0)},
        "kg/m2": {"kg/m2": _SAME, "kg/m^2": _SAME},
        "{steps}": {"{steps}": _SAME, "{step}": _SAME, "{count}": _SAME, "1": _SAME, "steps": _SAME},
        "m/s": {"m/s": _SAME, "km/h": (1 / 3.6, 0.0)},
        "mL/min/kg": {"mL/min/kg": _SAME, "mL/kg/min": _SAME, "mL/(kg.min)": _SAME, "mL/(min.kg)": _SAME},
        "mV": {"mV": _SAME, "uV": (1e-3, 0.0), "V": (1e3, 0.0)},
        "[g]": {"[g]": _SAME, "m/s2": (1 / 9.80665, 0.0), "m/s^2": (1 / 9.80665, 0.0)},
    }
)  # fmt: skip


def scale_of(metric: str, *units: str) -> Scale | None:
    """Return (factor, offset) of the first of `units` that is known for the metric, None if none is."""
    unit = BY_CODE[metric].unit
    known = _BY_UNIT.get(unit, {unit: _SAME})
    return next((known[one] for one in units if one in known), None)
