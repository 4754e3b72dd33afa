"""What holds for every built-in adapter: a file read again, in whatever pieces, tells the same."""

import numpy as np
import pytest

from devices.adapters import load
from tests.devices.adapting import Told, told
from tests.devices.fhir.test_fhir import PLANTED as FHIR
from tests.devices.fhir.test_fhir import bundle, observation
from tests.devices.fit.encode import Fit, file_id
from tests.devices.fit.test_fit import T0, record, session
from tests.devices.fitbit.test_fitbit import PLANTED as FITBIT
from tests.devices.garmin.test_garmin import PLANTED as GARMIN
from tests.devices.zips import zipped

ACTIVITY = file_id(Fit(), T0)
for _second in range(20):
    record(ACTIVITY, _second, way_cm=_second * 300)
FILES = {
    "fit-file": session(ACTIVITY, 1).data,
    "fitbit-export": zipped(FITBIT),
    "garmin-export": zipped(GARMIN),
    "fhir-bundle": bundle(
        *(observation(code, 50) for code in ("8867-4", "40443-4", "9279-1")), observation("8310-5", 310, "K")
    ),
}


def everything(result: Told) -> set[tuple[object, ...]]:
    """What came out, whatever pieces it came in."""
    found: set[tuple[object, ...]] = set()
    for piece in result.pieces:
        origin = (piece.device_id, piece.source_app)
        found |= {(*origin, session) for session in piece.sessions}
        s = piece.samples
        if s is not None:
            columns = (
                s.start_us,
                s.duration_ms,
                s.metric,
                s.value,
                s.quality,
                s.zone_offset_min,
                s.written_us,
                s.deleted,
            )
            found |= {(*origin, *row) for row in zip(*(np.asarray(one).tolist() for one in columns), strict=True)}
    return found


@pytest.mark.parametrize("name", sorted(FILES))
def test_read_again_in_other_pieces_it_tells_the_same(name: str) -> None:
    adapter, data = load(name), FILES[name]
    first = told(adapter, data, zone="Europe/Vienna")
    assert len(everything(first)) > 3
    for batch_size in (5_000, 7, 1):
        again = told(adapter, data, zone="Europe/Vienna", batch_size=batch_size)
        assert everything(again) == everything(first)
        assert again.reading.tally == first.reading.tally


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_identity_is_told_once(name: str) -> None:
    """Two samples of one origin, metric, start and duration would be one row, and one of them lost."""
    found: set[tuple[object, ...]] = set()
    for piece in told(load(name), FILES[name]).pieces:
        s = piece.samples
        for row in (
            zip(s.metric.tolist(), s.start_us.tolist(), s.duration_ms.tolist(), strict=True) if s is not None else ()
        ):
            key = (piece.device_id, piece.source_app, *row)
            assert key not in found
            found.add(key)


def test_the_fhir_file_with_everything_is_read_again_alike() -> None:
    assert everything(told(load("fhir-bundle"), FHIR)) == everything(told(load("fhir-bundle"), FHIR, batch_size=1))
