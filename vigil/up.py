"""All services on this machine under one supervisor, against a broker and a database of yours, or embedded ones."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from ingest.admin import create_topics
from timeseries.migrate import migrate
from vigil.demo import ends_on_signals
from vigil.settings import Settings
from vigil.supervisor import SERVICES, Supervisor, workers


def run(config: Settings, folder: Path, *, embedded: bool, seconds: float | None = None) -> None:
    """Run until told to stop (or for `seconds`). Raises `MissingSetting` without addresses, unless `embedded`."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    say = Console(stderr=True, highlight=False).print
    over = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(ends_on_signals(over))
        environment = _embedded(stack, folder) if embedded else _configured(config)
        migrate(environment["DATABASE_URL"])
        bootstrap = environment["KAFKA_BOOTSTRAP_SERVERS"]
        asyncio.run(create_topics(bootstrap, partitions=config.partitions, replication=config.replication))
        environment["VIGIL_NOTIFICATION_LOG"] = str((folder / "notifications.jsonl").absolute())
        environment["VIGIL_GATEWAY_FOLDER"] = str(folder / "gateway")
        names = [name for name in SERVICES if name != "gateway" or _has_key(config, environment)]
        supervisor = stack.enter_context(Supervisor(workers(names, environment, folder)))
        say(f"broker   {bootstrap}\nconsole  http://{config.console_host}:{config.console_port}/")
        say(_gateway(config) if "gateway" in names else "gateway  not started: VIGIL_HASH_KEY is not set")
        say(f"logs     {folder}")
        say("Ctrl-C stops everything")
        over.wait(seconds)
    for name, state in supervisor.states().items():
        if "restarted" in state:
            say(f"{name}: {state}")


def _has_key(config: Settings, environment: Mapping[str, str]) -> bool:
    """Tell whether there is a key for pseudonyms: the gateway needs one."""
    return config.hash_key is not None or "VIGIL_HASH_KEY" in environment


def _gateway(config: Settings) -> str:
    scheme = "http" if config.gateway_tls_cert is None else "https"
    return f"gateway  {scheme}://{config.gateway_host}:{config.gateway_port}"


def _configured(config: Settings) -> dict[str, str]:
    return {"DATABASE_URL": config.database(), "KAFKA_BOOTSTRAP_SERVERS": config.broker()}


def _embedded(stack: ExitStack, folder: Path) -> dict[str, str]:
    """Start both. The database keeps its data in `folder`; the broker keeps nothing: it is there to try things."""
    from vigil.embedded.broker import EmbeddedBroker
    from vigil.embedded.postgres import EmbeddedPostgres

    postgres = stack.enter_context(EmbeddedPostgres(folder / "data"))
    broker = stack.enter_context(EmbeddedBroker(log=folder / "broker.log"))
    return {
        "DATABASE_URL": postgres.url,
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
        "VIGIL_HASH_KEY": _hash_key(folder / "hash.key"),
    }


def _hash_key(file: Path) -> str:
    """Return the key beside the data, made on first use: with another one every device would be a new one."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file.read_text()
