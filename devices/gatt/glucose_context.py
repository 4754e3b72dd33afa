"""Glucose Service 1.0: Glucose Measurement Context 0x2A34 (§3.2), which belongs to the record of its sequence number.

Flags: bit 0 carbohydrate (an id and an SFLOAT in kg); 1 meal; 2 tester and health, a nibble each; 3 exercise (uint16
seconds and uint8 percent); 4 medication (an id and an SFLOAT); 5 that is in litres (else kg); 6 HbA1c, SFLOAT percent;
7 extended flags follow the sequence number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.gatt.characteristic import Characteristic
from devices.gatt.frame import Frame
from devices.gatt.ieee11073 import MedicalFloat, scaled
from devices.gatt.report import Row, report, rows_to_samples
from vitals.batch import SampleColumns
from vitals.quality import Context

NAME: Final = "Glucose Measurement Context"
CARBOHYDRATES: Final = ("reserved", "breakfast", "lunch", "dinner", "snack", "drink", "supper", "brunch")
MEALS: Final = ("reserved", "before_meal", "after_meal", "fasting", "casual", "bedtime")
TESTERS: Final = {1: "self", 2: "health_care_professional", 3: "lab_test", 15: "not_available"}
HEALTH: Final = {
    1: "minor_health_issues", 2: "major_health_issues", 3: "during_menses", 4: "under_stress", 5: "no_health_issues",
    15: "not_available",
}  # fmt: skip
MEDICATIONS: Final = (
    "reserved", "rapid_acting_insulin", "short_acting_insulin", "intermediate_acting_insulin", "long_acting_insulin",
    "pre_mixed_insulin",
)  # fmt: skip
EXERCISE_OVERRUN: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class GlucoseContext:
    """What a meter notes beside a record; None where the frame does not carry the field. Numbers are ids."""

    sequence_number: int
    carbohydrate: int | None = None
    carbohydrate_kg: MedicalFloat | None = None
    meal: int | None = None
    tester: int | None = None
    health: int | None = None
    exercise_s: int | None = None
    exercise_percent: int | None = None
    medication: int | None = None
    medication_amount: MedicalFloat | None = None
    in_litres: bool = False
    hba1c_percent: MedicalFloat | None = None


def decode(payload: bytes) -> GlucoseContext:
    """Decode one notification. Raises `MalformedFrame`."""
    frame = Frame(f"{NAME} (2A34)", payload)
    flags = frame.flags()
    sequence_number = frame.uint(2, "the sequence number")
    if flags & 0x80:
        frame.uint(1, "the extended flags")  # all of them are reserved
    carbohydrate, carbohydrate_kg = _id_and_amount(frame, "carbohydrate") if flags & 0x01 else (None, None)
    meal = frame.uint(1, "the meal") if flags & 0x02 else None
    health, tester = divmod(frame.uint(1, "tester and health"), 16) if flags & 0x04 else (None, None)
    exercise_s = frame.uint(2, "the exercise duration") if flags & 0x08 else None
    exercise_percent = frame.uint(1, "the exercise intensity") if flags & 0x08 else None
    medication, amount = _id_and_amount(frame, "medication") if flags & 0x10 else (None, None)
    hba1c = frame.sfloat("the HbA1c") if flags & 0x40 else None
    return GlucoseContext(
        sequence_number, carbohydrate, carbohydrate_kg, meal, tester, health, exercise_s, exercise_percent,
        medication, amount, bool(flags & 0x20), hba1c,
    )  # fmt: skip


def _id_and_amount(frame: Frame, what: str) -> tuple[int, MedicalFloat]:
    return frame.uint(1, f"the {what} id"), frame.sfloat(f"the {what} amount")


def to_json(context: GlucoseContext) -> dict[str, object]:
    """Return the context for people to read: carbohydrate in g, medication in mg or mL."""
    amount = None if context.medication_amount is None else _medication(context.medication_amount, context.in_litres)
    return report(
        "2A34",
        NAME,
        sequence_number=context.sequence_number,
        carbohydrate=_word(CARBOHYDRATES, context.carbohydrate),
        carbohydrate_g=_grams(context),
        meal=_word(MEALS, context.meal),
        tester=None if context.tester is None else TESTERS.get(context.tester, "reserved"),
        health=None if context.health is None else HEALTH.get(context.health, "reserved"),
        exercise_duration_s=None if context.exercise_s == EXERCISE_OVERRUN else context.exercise_s,
        exercise_duration_overrun=context.exercise_s == EXERCISE_OVERRUN,
        exercise_intensity_percent=context.exercise_percent,
        medication=_word(MEDICATIONS, context.medication),
        **({} if amount is None else {f"medication_{'ml' if context.in_litres else 'mg'}": amount}),
        hba1c_percent=context.hba1c_percent,
    )


def _medication(amount: MedicalFloat, in_litres: bool) -> MedicalFloat:
    return scaled(amount, 1e3 if in_litres else 1e6)


def _grams(context: GlucoseContext) -> MedicalFloat | None:
    return None if context.carbohydrate_kg is None else scaled(context.carbohydrate_kg, 1e3)


def _word(words: tuple[str, ...], number: int | None) -> str | None:
    if number is None:
        return None
    return words[number] if number < len(words) else "reserved"


def to_samples(context: GlucoseContext, received_us: int, *, measured_us: int | None = None) -> SampleColumns:
    """Return the carbohydrate of a record measured at `measured_us`; nothing without it, for a context has no time.

    Insulin is told in kg or litres here, never in units: it gives no sample.
    """
    if measured_us is None:
        return rows_to_samples([], received_us)
    rows = [Row("carbohydrates", _grams(context), measured_us)]
    return rows_to_samples(rows, received_us, context=int(Context.USER_ENTERED))


CHARACTERISTICS: Final = (
    Characteristic("2A34", NAME, decode, to_json, to_samples, service_uuid16="1808", how="notify"),
)
