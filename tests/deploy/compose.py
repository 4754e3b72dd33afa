"""docker-compose.yml as data: what compose would make of it with a given .env."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPO

FILE = REPO / "docker-compose.yml"
FOLDER = REPO
VERSION: str = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].partition(":")[0] == "vigil"}
TOOLS = {name for name, service in SERVICES.items() if service.get("profiles")}
ONE_SHOT = {"migrate", "logins", "topics"}

# The forms of interpolation that the file uses: ${NAME}, ${NAME:-default}, ${NAME:?message}.
_REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<how>[-?])(?P<rest>[^}]*))?\}")


def references(value: object) -> Iterator[tuple[str, str | None]]:
    """Yield (name, `-` for one with a default or `?` for one that must be set) of every ${...}."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
    elif isinstance(value, str):
        for found in _REFERENCE.finditer(value):
            yield found["name"], found["how"]


def environment(service: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return a service's environment; a variable without a value is passed on where `env` has it."""
    given: dict[str, str | None] = SERVICES[service].get("environment", {})
    passed = {name: env.get(name) if value is None else _filled_in(value, env) for name, value in given.items()}
    return {name: value for name, value in passed.items() if value is not None}


def _filled_in(text: str, env: Mapping[str, str]) -> str:
    def put(found: re.Match[str]) -> str:
        value = env.get(found["name"]) or (found["rest"] if found["how"] == "-" else None)
        assert value is not None, f"{found['name']} is not set"
        return value

    return _REFERENCE.sub(put, text)


def dotenv(path: Path) -> dict[str, str]:
    """Return the variables of a .env file without quotes."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
