"""The gateway's contract as a file, docs/openapi.json, made from its routes: `python tools/openapi.py --write`.

Without `--write` it prints the contract. tests/test_gateway_page.py fails where the file lags behind the code.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ingest.gateway.app import create_app
from ingest.gateway.parts import Parts
from ingest.gateway.ports import LastSample, Upload
from ingest.record import Record
from ingest.spool import Place
from vitals.access import Principal

FILE = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"


class _NoRoom:
    """What stands behind a door that nobody opens."""

    async def accept(self, record: Record, *, topic: str = "", later: str = "") -> Place:
        _nobody_asks(record, topic, later)

    def used(self, token_id: str, now_us: int) -> None:
        _nobody_asks(token_id, now_us)

    def anchored(self, token_id: str, anchors: Mapping[str, str]) -> None:
        _nobody_asks(token_id, anchors)

    def not_consented(self, adapter: str, counts: Mapping[int, int]) -> None:
        _nobody_asks(adapter, counts)

    async def anchors(self, token_id: str) -> Mapping[str, str]:
        _nobody_asks(token_id)

    async def last_samples(self, principal: Principal) -> Sequence[LastSample]:
        _nobody_asks(principal)

    async def rotate(self, token_id: str, now_us: int) -> str:
        _nobody_asks(token_id, now_us)

    async def run(self, upload: Upload, progress: object) -> Mapping[str, object]:
        _nobody_asks(upload, progress)


def _nobody_asks(*_: object) -> NoReturn:
    raise AssertionError("the contract is made without asking anything")


def contract() -> str:
    """Return the contract as JSON."""
    room = _NoRoom()
    parts = Parts(
        access=_nobody_asks, gate=_nobody_asks, way_in=room, spool_state=_nobody_asks, books=room, notes=_nobody_asks,
        importer=room, hash_key=bytes(32), folder=Path("nowhere"),
    )  # fmt: skip
    return json.dumps(create_app(parts).openapi(), indent=1, ensure_ascii=False, sort_keys=False) + "\n"


def main() -> None:
    """Print the contract, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="bring docs/openapi.json up to date")
    if parser.parse_args().write:
        FILE.write_text(contract(), encoding="utf-8")
    else:
        print(contract(), end="")


if __name__ == "__main__":
    main()
