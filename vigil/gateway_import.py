"""Edge: reads one uploaded export into the backfill lane, in a process of its own beside the gateway.

A large export keeps an interpreter busy for minutes: in the gateway it would hold up live traffic, here it has the
lower priority, and memory of its own. The gateway and its child speak in lines of JSON: the order goes in by standard
input (whose export it is stands in no command line), progress and the end come out. The child ends when that input
does, so it does not outlive a gateway that is killed. It needs the broker, and no database.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

from devices.adapter import Reading
from devices.adapters import load
from devices.errors import MalformedExport
from ingest.gateway.job_ends import ImportFailed, Interrupted
from ingest.gateway.ports import Unavailable, Upload
from ingest.publisher import BrokerUnreachable
from vitals.clock import system_clock
from vitals.errors import VigilError
from vitals.ids import patient_id

_NICENESS: Final = 10
_LINE_BYTES: Final = 1 << 20
_TELL_EVERY_S: Final = 0.25
_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
"""What the child has of the environment: no address or password of a database is among it."""


@dataclass(frozen=True, slots=True)
class ExportImporter:
    """What the gateway's jobs read uploads with (`ingest.gateway.ports.Importer`)."""

    broker: str
    hash_key: bytes = field(repr=False)

    async def run(self, upload: Upload, progress: Callable[[int, int], None]) -> Mapping[str, object]:
        """Return the summary once the broker has everything; cancelled, the child is gone when this is left.

        Raises `ImportFailed`, `Unavailable` while the broker is away, `Interrupted` where the child was killed.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "vigil.gateway_import",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # a traceback could quote the file
            limit=_LINE_BYTES,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
        )  # fmt: skip
        try:
            return await self._talk(process, upload, progress)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _talk(
        self, process: asyncio.subprocess.Process, upload: Upload, progress: Callable[[int, int], None]
    ) -> Mapping[str, object]:
        assert process.stdin is not None  # noqa: S101  both are pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(_packed(self._order(upload)))
        try:
            while line := await process.stdout.readline():
                said = json.loads(line)
                if "done" in said:
                    progress(said["done"], said["total"])
                else:
                    return _ended(said)
        except (ValueError, OSError):
            raise Interrupted("what reads the upload said something that cannot be") from None
        raise Interrupted("what reads the upload was killed")

    def _order(self, upload: Upload) -> dict[str, object]:
        return {
            "file": str(upload.file), "patient": upload.patient_id, "adapter": upload.adapter, "zone": upload.zone,
            "broker": self.broker, "hash_key": self.hash_key.hex(),
        }  # fmt: skip


def _packed(said: Mapping[str, object]) -> bytes:
    return json.dumps(said).encode() + b"\n"


def _ended(said: Mapping[str, Any]) -> Mapping[str, object]:
    summary: Mapping[str, object] = said.get("summary") or {}
    match said.get("end"):
        case "done":
            return summary
        case "away":
            raise Unavailable("the broker does not take the export: it is tried again until it does")
        case "failed":
            raise ImportFailed(said["code"], said["detail"], summary)
        case _:
            raise Interrupted(f"what reads the upload broke in a way that nobody foresaw ({said.get('kind')})")


def main() -> None:
    """Read the order from standard input and do it."""
    os.nice(_NICENESS)
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_gateway, daemon=True).start()
    _say(_done(order))


def _end_with_the_gateway() -> None:
    os.read(0, 1)  # not through `sys.stdin`: its lock would be held when the interpreter ends
    os._exit(1)


def _say(said: Mapping[str, object]) -> None:
    sys.stdout.buffer.write(_packed(said))
    sys.stdout.buffer.flush()


def _done(order: Mapping[str, Any]) -> dict[str, object]:
    """Read the upload and return how that ended, as it is told to the gateway."""
    from vigil.imports import counted, read_pieces, send, summary

    adapter, refused = load(order["adapter"]), Counter[str]()
    reading = Reading(
        system_clock(), bytes.fromhex(order["hash_key"]), order["zone"], on_progress=_now_and_then(monotonic)
    )
    pieces = counted(read_pieces(adapter, Path(order["file"]), reading), refused)
    end: dict[str, object] = {"end": "done"}
    try:
        asyncio.run(send(order["broker"], adapter.name, patient_id(order["patient"]), pieces))
    except BrokerUnreachable:
        end = {"end": "away"}
    except MalformedExport as error:
        end = {"end": "failed", "code": "malformed", "detail": str(error)}
    except VigilError as error:
        end = {"end": "failed", "code": "not_readable", "detail": str(error)}
    except OSError as error:
        end = {"end": "failed", "code": "upload_lost", "detail": f"the upload cannot be read ({error.strerror})"}
    except Exception as error:  # noqa: BLE001  its text could quote the file; the gateway tries again, and gives up
        end = {"end": "broken", "kind": type(error).__name__}
    return {**end, "summary": summary(adapter.name, reading, refused)}


def _now_and_then(now_s: Callable[[], float]) -> Callable[[int, int], None]:
    last_s = float("-inf")

    def tell(done: int, total: int) -> None:
        nonlocal last_s
        if now_s() - last_s >= _TELL_EVERY_S:
            last_s = now_s()
            _say({"done": done, "total": total})

    return tell


if __name__ == "__main__":
    main()
