"""Whatever is inserted, comes late, is corrected, deleted, moved to history and dropped: every level says what the
samples say, on stock PostgreSQL through the real store and on TimescaleDB."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.timeseries.making import query
from tests.timeseries.rollup_model import ORDERS, Machine, assert_levels, samples_of
from timeseries.migrate import migrate

_TABLES = (
    "samples, sample_revisions, latest, dirty_ranges, watermarks, quarantine, quarantine_records, raw_horizons, "
    "vitals_1m, vitals_15m, vitals_1h, vitals_1m_history, vitals_15m_history, vitals_1h_history"
)


@pytest.fixture
def stock(database: str) -> str:
    return database


@pytest.fixture
def extension(wasm: str) -> str:
    migrate(wasm, prepare_threshold=None)
    return wasm


def _run(machine: Machine, orders: Sequence[tuple[Any, ...]]) -> None:
    for name, *arguments in orders:
        getattr(machine, name)(*arguments)
    machine.handle_late()
    machine.refresh()
    machine.check()
    machine.refresh_everything()
    machine.check()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ORDERS)
def test_stock_postgresql(stock: str, orders: Sequence[tuple[Any, ...]]) -> None:
    query(stock, f"TRUNCATE {_TABLES}")
    machine = Machine(stock, wasm=False)
    _run(machine, orders)
    if not machine.horizons:
        assert_levels(stock, samples_of(stock))


_EXAMPLE = count(1)


@pytest.mark.timescale
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ORDERS)
def test_timescaledb(extension: str, orders: Sequence[tuple[Any, ...]]) -> None:
    """Each example has patients of its own: what earlier ones left behind is noise that must not matter."""
    query(extension, "DELETE FROM raw_horizons")
    first = 2 * next(_EXAMPLE)
    machine = Machine(extension, wasm=True, patients=(first, first + 1))
    _run(machine, orders)
    if not machine.horizons:
        assert_levels(extension, samples_of(extension, machine.patients), "", machine.patients)
