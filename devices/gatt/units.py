"""Factors from the units that sensors may send to the catalogue's."""

from __future__ import annotations

from typing import Final

MMHG_PER_KPA: Final = 7.500615758456564
"""1 mm[Hg] is 133.322387415 Pa (ISO 80000-4)."""
CELSIUS_PER_FAHRENHEIT: Final = (5 / 9, -160 / 9)
MG_DL_PER_MOL_L: Final = 18_015.588
"""Glucose: 180.15588 g/mol, as HealthKit has it."""
MG_DL_PER_KG_L: Final = 100_000.0
KG_PER_LB: Final = 0.45359237
CM_PER_INCH: Final = 2.54
