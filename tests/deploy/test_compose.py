"""The deployment, without a Docker engine: the compose file against its schema, the command line and the settings."""

import hashlib
import importlib.util
import re
import stat
import subprocess
import sys
import tomllib
from ipaddress import IPv4Network
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer
import typer.main

from console.access import check_binding
from ingest.gateway.policy import GatewayPolicy
from tests.conftest import REPO
from tests.deploy.compose import (
    COMPOSE,
    FILE,
    ONE_SHOT,
    OURS,
    SERVICES,
    TOOLS,
    VERSION,
    dotenv,
    environment,
    references,
)
from tools.settings_table import every_variable
from vigil.cli import app
from vigil.commands import services as service_commands
from vigil.gateway import check_exposure
from vigil.settings import Settings

RUNNING = sorted(OURS.keys() - ONE_SHOT - TOOLS)
# Least privilege: who gets the addresses of what.
_RECORDERS = {"recorder", "recorder-backfill", "recorder-waveforms"}
ROLE = dict.fromkeys(_RECORDERS, "vigil_recorder") | {
    "dispatch": "vigil_dispatch", "console": "vigil_console", "quarantine-feed": "vigil_quarantine",
    "gateway": "vigil_gateway", "watch": "vigil_watch", "heartbeat": "vigil_heartbeat",
}  # fmt: skip
OWNER = {"migrate", "logins", "rollup", "lifecycle", "cli"}
DATABASE = {*ROLE, *OWNER}
BROKER = {"topics", *_RECORDERS, "watch", "dispatch", "notifier", "heartbeat", "quarantine-feed", "gateway", "cli"}
# Services that are a command of a group, not one at top level.
OF_A_GROUP = {
    ("db", "migrate"), ("db", "logins"), ("topics", "create"), ("db", "rollup"), ("db", "lifecycle"),
    ("quarantine", "feed"),
}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, str]:
    """A fresh .env and what its making said."""
    path = tmp_path / ".env"
    done = subprocess.run(
        [sys.executable, REPO / "tools" / "make_env.py", path], capture_output=True, text=True, check=True
    )
    return path, done.stdout


@pytest.mark.skipif(importlib.util.find_spec("check_jsonschema") is None, reason="check-jsonschema is not installed")
def test_the_file_is_what_the_compose_specification_calls_one() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_service_runs_a_command_that_exists(name: str) -> None:
    words = list(OURS[name]["command"])
    command = typer.main.get_command(app)
    if words == ["--help"]:
        return
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(name, words)


def test_every_service_of_the_command_line_is_deployed() -> None:
    line = typer.Typer()
    service_commands.register(line)
    known = {command.callback.__name__ for command in line.registered_commands if command.callback is not None}
    commands = {tuple(OURS[name]["command"][:2]) for name in OURS if name not in TOOLS}
    assert commands >= OF_A_GROUP
    assert {first for first, *_ in commands - OF_A_GROUP} == known - {"up"}  # compose is what `up` is for one machine
    lanes = {OURS[name]["command"][-1] for name in RUNNING if OURS[name]["command"][0] == "recorder"}
    assert lanes == {lane.value for lane in service_commands.Lane}


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_variable_is_a_setting(name: str) -> None:
    assert set(OURS[name]["environment"]) <= every_variable()


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_generated_secrets_make_valid_settings(
    name: str, made: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in every_variable():
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment(name, dotenv(made[0])).items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert (settings.database_url is not None) == (name in DATABASE)
    assert (settings.kafka_bootstrap_servers is not None) == (name in BROKER)
    assert (settings.hash_key is not None) == (name in {"cli", "gateway"})
    if settings.database_url is not None:
        url = urlsplit(settings.database())
        role = ROLE.get(name, "vigil")
        password = "POSTGRES_PASSWORD" if name in OWNER else role.replace("vigil_", "VIGIL_LOGIN_").upper()
        assert (url.hostname, url.port, url.username) == ("db", 5432, role)
        assert url.password == dotenv(made[0])[password]
    if name == "logins":
        assert settings.logins().keys() == set(ROLE.values())
    if name == "console":
        check_binding(settings.console_host, settings.console_token_hash)
    if name == "gateway":
        check_exposure(settings)
        assert settings.oidc() is None
    if name in RUNNING and name not in {"rollup", "lifecycle"}:
        assert settings.metrics_port is not None
        asked = str(SERVICES[name]["healthcheck"])
        assert f":{settings.metrics_port}/metrics" in asked or name in {"console", "gateway"}


def test_an_optional_webhook_reaches_those_who_need_it(made: tuple[Path, str]) -> None:
    env = {**dotenv(made[0]), "VIGIL_WEBHOOK_URL": "https://hooks.example/vigil"}
    told = {name for name in OURS if "VIGIL_WEBHOOK_URL" in environment(name, env)}
    assert told == {"dispatch", "notifier"}
    assert "VIGIL_WEBHOOK_SECRET" in environment("notifier", env)


def test_the_generated_file_is_complete_private_and_never_overwritten(made: tuple[Path, str]) -> None:
    path, said = made
    env = dotenv(path)
    must = {name for name, how in references(COMPOSE) if how == "?"}
    may = {name for name, how in references(COMPOSE) if how == "-"} | {"VIGIL_WEBHOOK_URL"}
    assert must <= env.keys()
    assert all(env.values())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = subprocess.run([sys.executable, REPO / "tools" / "make_env.py", path], capture_output=True, check=False)
    assert again.returncode == 1
    assert dotenv(path) == env
    example = (REPO / ".env.example").read_text()
    assert dotenv(REPO / ".env.example") == dict.fromkeys(env, "")
    assert set(re.findall(r"^# ([A-Z_]+)=$", example, re.MULTILINE)) == may
    token = said.split()[-1]
    assert hashlib.sha256(token.encode()).hexdigest() == env["VIGIL_CONSOLE_TOKEN_HASH"]
    assert token not in path.read_text()


def test_every_reference_says_what_to_do_or_has_a_default() -> None:
    assert {how for _, how in references(COMPOSE)} == {"-", "?"}


def test_nothing_is_published_beyond_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"console": ["127.0.0.1:8080:8080"], "gateway": ["127.0.0.1:8090:8090"]}
    assert not any("network_mode" in service for service in SERVICES.values())


def test_only_who_must_leaves_the_backend() -> None:
    assert COMPOSE["networks"]["backend"] == {"internal": True}
    outside = {name: set(service["networks"]) - {"backend"} for name, service in SERVICES.items()}
    assert {name: nets for name, nets in outside.items() if nets} == {
        "console": {"frontend"}, "gateway": {"frontend"}, "notifier": {"egress"}, "heartbeat": {"egress"},
        "lifecycle": {"egress"},
    }  # fmt: skip


def test_the_gateway_believes_one_address_and_no_network_that_clients_are_in() -> None:
    """Whoever comes from a trusted address says himself where he comes from: the lockout would be nobody's."""
    (network,) = COMPOSE["networks"]["frontend"]["ipam"]["config"]
    (default,) = re.findall(r":-(.+)}", SERVICES["gateway"]["environment"]["VIGIL_GATEWAY_TRUSTED_PROXIES"])
    trusted = IPv4Network(default)
    assert (str(trusted.network_address), trusted.num_addresses) == (network["gateway"], 1)
    assert trusted.subnet_of(IPv4Network(network["subnet"]))


def test_the_gateway_has_memory_for_a_heavy_document_beside_all_bodies_it_may_hold() -> None:
    """Reading 25 MiB of Health Auto Export was measured at 430 MB; so much again is for the rest of it."""
    policy = GatewayPolicy()
    limit = int(SERVICES["gateway"]["deploy"]["resources"]["limits"]["memory"].removesuffix("g")) << 30
    assert limit >= 2 * (policy.document_bytes * 430 // 25 + policy.held_bytes)


def test_every_image_has_a_version() -> None:
    for service in SERVICES.values():
        assert re.fullmatch(r"[a-z0-9/-]+:\d+\.\d+\.\d+(-[a-z0-9]+)?", service["image"])
    assert {service["image"] for service in OURS.values()} == {f"vigil:{VERSION}"}
    assert [name for name in OURS if "build" in OURS[name]] == ["migrate"]
    assert {service["pull_policy"] for service in OURS.values()} == {"never"}


def test_kafka_is_the_version_that_the_tests_run() -> None:
    jars = (REPO / "tools" / "kafka" / "jars.sha256").read_text()
    version = re.search(r"kafka_2\.13-([\d.]+)\.jar", jars)
    assert version is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version[1]}"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_secret_stands_in_the_file(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|KEY|TOKEN|CLUSTER_ID|DATABASE_URL", variable) and value is not None:
            assert next(references(value), None) is not None, variable


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - TOOLS))
def test_every_service_is_watched_or_ends_by_itself(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["restart"].startswith("on-failure:")
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert not [one for one in service.get("volumes", []) if one.startswith((".", "/", "~"))]


def test_a_service_waits_for_what_it_needs() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == wanted, (name, needed)
    for name in OURS.keys() - ONE_SHOT:
        needs = {"logins"} if name in ROLE or name in TOOLS else {"migrate"} if name in OWNER else set()
        needs |= {"topics"} if name in BROKER else set()
        assert OURS[name]["depends_on"].keys() == needs, name


def test_the_database_can_hold_ten_years_of_chunks() -> None:
    flags = SERVICES["db"]["command"]
    assert "-cmax_locks_per_transaction=1024" in flags
    assert {"-clog_parameter_max_length=0", "-clog_error_verbosity=terse"} <= set(flags)


def _stages() -> list[list[str]]:
    text = (REPO / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    starts = [at for at, line in enumerate(lines) if line.startswith("FROM ")] + [len(lines)]
    return [lines[first:last] for first, last in pairwise(starts)]


def test_the_image_is_pinned_hashed_and_not_root() -> None:
    build, final = _stages()
    for stage in (build, final):
        assert re.match(r"FROM python:3\.11\.\d+-slim-bookworm\b", stage[0])
    assert any("--require-hashes" in line and "--only-binary=:all:" in line for line in build)
    users = [line.split()[1] for line in final if line.startswith("USER ")]
    assert users == [OURS["migrate"]["user"]]
    assert not any(re.search(r"apt|gcc|curl|wget|ADD ", line) for line in [*build, *final])
    assert any("pip uninstall" in line for line in final)


def test_the_image_holds_every_package_and_nothing_else() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = {line.split()[1] for line in _stages()[0] if line.startswith("COPY ")}
    assert copied - {"requirements/runtime.txt"} == packages
    assert all((REPO / source).exists() for source in copied)
    lines = (REPO / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert allowed == {*copied, "LICENSE"}
