"""Apache Kafka in KRaft mode, one node, from plain jars: the broker that keeps acknowledged records over SIGKILL."""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.services import Unavailable
from vigil.embedded.broker import answers_kafka
from vigil.embedded.ports import HOST, free_port
from vigil.embedded.process import Service, ServiceFailed

_REPO = Path(__file__).resolve().parents[2]
_FETCH = _REPO / "tools" / "kafka" / "fetch.py"
_LIBS = _REPO / ".cache" / "kafka" / "libs"
_UNAVAILABLE = 3  # fetch.py's exit code for "cannot be had here"

# A short life on a small machine: no optimising compiler, the simplest collector, a small heap.
SHORT_LIVED = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# What Kafka's own start script gives it (kafka-run-class.sh of 4.x), for those who measure.
AS_SHIPPED = ("-Xmx1g", "-Xms1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35")
_CLUSTER = "vigil-tests-vigil-test"

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "inter.broker.listener.name": "BROKER",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.num.partitions": "5",
    "transaction.state.log.min.isr": "1",
    "min.insync.replicas": "1",
    "group.initial.rebalance.delay.ms": "0",
    # After a kill the controller refuses the node's new incarnation until the old one's session (9 s) is over.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "auto.create.topics.enable": "false",
}


class ApacheKafka(Service):
    """A broker on 127.0.0.1 whose port and log directory stay the same over any stop, kill and start."""

    name = "Apache Kafka"
    start_timeout_s = 120.0
    stop_timeout_s = 30.0

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        jvm: Sequence[str] = SHORT_LIVED,
    ) -> None:
        super().__init__(directory / "kafka.log")
        self._jvm = jvm
        self._directory = directory
        self._port = port or free_port()
        self._controller_port = free_port()
        self._settings = {**_SETTINGS, **self._addresses(), **(settings or {})}

    @property
    def bootstrap(self) -> str:
        """The address a client connects to."""
        return f"{HOST}:{self._port}"

    def _addresses(self) -> dict[str, str]:
        controller = f"{HOST}:{self._controller_port}"
        return {
            "listeners": f"BROKER://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"BROKER://{self.bootstrap}",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self._directory / "data"),
        }

    @property
    def _properties(self) -> Path:
        return self._directory / "server.properties"

    def _prepare(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))
        if not (self._directory / "data" / "meta.properties").exists():
            self._format_storage()

    def _format_storage(self) -> None:
        arguments = ["format", "-t", _CLUSTER, "-c", str(self._properties)]
        done = subprocess.run(
            [*_java(), "kafka.tools.StorageTool", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ServiceFailed(f"{self.name}: its storage cannot be formatted:\n{done.stdout}{done.stderr}")

    def _command(self) -> Sequence[str | Path]:
        return [*_java(self._jvm), "kafka.Kafka", self._properties]

    def _answers(self) -> bool:
        return answers_kafka(self._port)


def ensure_jars() -> None:
    """Fetch the jars where they are not there yet; `Unavailable` where they cannot be had."""
    _java()
    done = subprocess.run([sys.executable, _FETCH], capture_output=True, text=True, check=False)
    if done.returncode == _UNAVAILABLE:
        raise Unavailable(done.stderr.strip())
    if done.returncode != 0:
        raise ServiceFailed(f"tools/kafka/fetch.py failed:\n{done.stderr.strip()}")


def _java(jvm: Sequence[str] = SHORT_LIVED) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise Unavailable("Apache Kafka needs Java 17 or later: no `java` on the PATH")
    return [java, *jvm, "-Dlog4j2.level=WARN", "-cp", f"{_LIBS}/*"]
