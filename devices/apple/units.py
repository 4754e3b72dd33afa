"""Units as HealthKit, apps on it and their users' languages write them, and what each is in the catalogue's unit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

Scale = tuple[float, float]
"""value in the catalogue's unit = value x factor + offset."""
Scales = Mapping[str, Scale]
"""Unit, as HealthKit writes it -> its scale."""

SAME: Final = (1.0, 0.0)
COUNT: Final[Scales] = {"count": SAME}
RATE: Final[Scales] = {"count/min": SAME, "count/s": (60.0, 0.0), "Hz": (60.0, 0.0)}
FRACTION: Final[Scales] = {"%": (100.0, 0.0)}
"""HealthKit's own per cent: a fraction, 0.97."""
PERCENT: Final[Scales] = {"%": SAME}
CELSIUS: Final[Scales] = {"degC": SAME, "degF": (5 / 9, -160 / 9), "K": (1.0, -273.15)}
KILOGRAM: Final[Scales] = {
    "kg": SAME, "g": (1e-3, 0.0), "lb": (0.45359237, 0.0), "oz": (0.028349523125, 0.0), "st": (6.35029318, 0.0)
}  # fmt: skip
GRAM: Final[Scales] = {unit: (factor * 1e3, 0.0) for unit, (factor, _) in KILOGRAM.items()} | {"mg": (1e-3, 0.0)}
METRE: Final[Scales] = {
    "m": SAME, "km": (1e3, 0.0), "cm": (1e-2, 0.0), "mi": (1609.344, 0.0), "ft": (0.3048, 0.0), "yd": (0.9144, 0.0),
    "in": (0.0254, 0.0),
}  # fmt: skip
CENTIMETRE: Final[Scales] = {unit: (round(factor * 100, 9), 0.0) for unit, (factor, _) in METRE.items()}
# The dietary "Cal" of the export is the kilocalorie; "cal" is the small one.
KILOCALORIE: Final[Scales] = {
    "kcal": SAME, "Cal": SAME, "kJ": (1 / 4.184, 0.0), "cal": (1e-3, 0.0), "J": (1 / 4184, 0.0)
}  # fmt: skip
MINUTE: Final[Scales] = {"min": SAME, "s": (1 / 60, 0.0), "hr": (60.0, 0.0)}
MILLISECOND: Final[Scales] = {"ms": SAME, "s": (1e3, 0.0)}
MMHG: Final[Scales] = {"mmHg": SAME, "kPa": (7.500615758456564, 0.0)}
GLUCOSE: Final[Scales] = {"mg/dL": SAME, "mmol/L": (18.01558800000541, 0.0)}
"""`mmol<180.1558800000541>/L`, with whatever molar mass, is read by `scale_of`."""
DECIBEL: Final[Scales] = {"dBASPL": SAME}
SPEED: Final[Scales] = {
    "m/s": SAME, "km/hr": (1 / 3.6, 0.0), "mi/hr": (0.44704, 0.0), "ft/s": (0.3048, 0.0), "cm/s": (1e-2, 0.0)
}  # fmt: skip
OXYGEN_UPTAKE: Final[Scales] = {"mL/min·kg": SAME}
INTERNATIONAL_UNIT: Final[Scales] = {"IU": SAME}
BODY_MASS_INDEX: Final[Scales] = {"count": SAME, "kg/m^2": SAME}

# HealthKit's unit -> its spellings elsewhere, folded (see `_folded`). "cal" is missing: only case tells it apart.
_SPELLINGS: Final = {
    "count": "count counts steps step schritte pas pasos passi passos stappen steg шаги шаг 步 歩 걸음 "
    "flights floors times",
    "count/min": "bpm beats/min beats/minute beatsperminute /min 1/min min^-1 count/minute brpm br/min breaths/min "
    "spm rpm lpm ppm batt/min schläge/min slag/min slagen/min уд/мин уд./мин 次/分 次/分钟 次/分鐘 拍/分 回/分",
    "count/s": "/s 1/s count/sec",
    "Hz": "hz hertz",
    "%": "% percent prozent",
    "degC": "degc °c oc celsius 摄氏度",
    "degF": "degf °f of fahrenheit 华氏度",
    "kg": "kg kilogram kilograms kilogramm 公斤 千克 кг",
    "g": "g gram grams gramm 克 г",  # noqa: RUF001
    "mg": "mg milligram milligrams 毫克 мг",
    "lb": "lb lbs pound pounds 磅",
    "oz": "oz ounce ounces 盎司",
    "st": "st stone stones 英石",
    "m": "meter meters metre metres 米 公尺 м",
    "km": "km kilometer kilometers kilometre kilometres 公里 千米 км",
    "cm": "cm centimeter centimeters 厘米 公分 см",
    "mi": "mi mile miles 英里 マイル",
    "ft": "ft feet foot 英尺",
    "in": "in inch inches 英寸",
    "yd": "yd yard yards 码",
    "kcal": "kcal kilocalorie kilocalories kilokalorien 千卡 大卡 ккал",
    "kJ": "kj kilojoule kilojoules 千焦 кдж",
    "J": "j joule joules",
    "min": "min mins minute minutes minuten 分 分钟 分鐘 мин",
    "s": "s sec secs second seconds sekunden 秒 с",  # noqa: RUF001
    "hr": "h hr hrs hour hours std stunden 小时 小時 時間 ч",
    "ms": "ms msec millisecond milliseconds 毫秒 мс",
    "mmHg": "mmhg mm[hg] 毫米汞柱 ммрт.ст.",
    "kPa": "kpa",
    "mg/dL": "mg/dl мг/дл",
    "mmol/L": "mmol/l ммоль/л",
    "dBASPL": "db dba db(a) dbaspl 分贝",
    "m/s": "m/s m/sec mps",
    "km/hr": "km/h km/hr kmh kmph kph",
    "mi/hr": "mi/h mi/hr mph",
    "ft/s": "ft/s",
    "cm/s": "cm/s",
    "mL/min·kg": "ml/min·kg ml/(min·kg) ml/(kg·min) ml/kg·min ml/kg/min ml/min/kg",
    "IU": "iu ie ui u ед 单位",
    "kg/m^2": "kg/m^2 kg/m2",
}
_CANONICAL: Final = {word: unit for unit, words in _SPELLINGS.items() for word in words.split()}
_BLANK: Final = re.compile(r"\s+")
_MOLAR: Final = re.compile(r"mmol<(\d{1,4}(?:\.\d{1,20})?)>/l")
_GLUCOSE_MASS: Final = (180.0, 180.3)
_LONGEST: Final = 64


def scale_of(scales: Scales, unit: str) -> Scale | None:
    """Return the scale of `unit`, however it is spelt (no-break spaces, languages, apps); None if there is none."""
    if unit in scales:
        return scales[unit]
    text = _folded(unit)
    molar = _MOLAR.fullmatch(text)
    if molar is not None and "mmol/L" in scales:
        mass = float(molar[1])
        return (mass / 10, 0.0) if _GLUCOSE_MASS[0] <= mass <= _GLUCOSE_MASS[1] else None
    return scales.get(_CANONICAL.get(text, _BLANK.sub("", unit[:_LONGEST])))


@lru_cache(maxsize=1_024)
def _folded(unit: str) -> str:
    """Return a spelling without spaces and case, in plain letters, with one sign for every multiplication."""
    plain = unicodedata.normalize("NFKC", unit[:_LONGEST]).casefold()
    return _BLANK.sub("", plain).replace("*", "·").replace("⋅", "·").replace("∙", "·")


def converted(value: float, scale: Scale) -> float:
    """Return the value in the catalogue's unit, rounded so that 0.58 of 100 is 58: the same in every import."""
    factor, offset = scale
    return value if scale == SAME else round(value * factor + offset, 6)
