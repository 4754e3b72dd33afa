"""`vigil serve` as it is run: which of database and broker it needs when, how it stops, what it refuses to be."""

import asyncio
import json
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest

from ingest.admin import create_topics
from ingest.client import Gateway, GatewayClient, RetryPolicy, Sample, TryLater, Wire
from ingest.gateway.server import NotGuarded
from ingest.record import decode
from ingest.spool import Place
from ingest.topics import SAMPLES, SAMPLES_BACKFILL
from tests.gateway_world import Served, served
from tests.ingest.test_record import GOOD
from tests.services.topics import read
from timeseries.access_books import AccessBooks
from timeseries.access_tokens import MOST_ROTATIONS, TokenRefused, Tokens, Wanted
from timeseries.migrate import migrate
from vigil.demo_tokens import YOU, curl, pair
from vigil.embedded.broker import EmbeddedBroker
from vigil.embedded.ports import HOST, free_port
from vigil.embedded.postgres import EmbeddedPostgres
from vigil.gateway import GatewayBooks, check_exposure, policy_of, proxies_of, tls_of
from vigil.settings import MissingSetting, Settings
from vitals.clock import system_clock

SOON = RetryPolicy(first_s=0.05, longest_s=0.2, give_up_s=3.0)


@pytest.fixture
def shared_tmp() -> Iterator[Path]:
    """A folder that the database's own user may pass through, too."""
    with tempfile.TemporaryDirectory(prefix="vigil-gateway-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="module")
def own_broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as one:
        asyncio.run(create_topics(one.bootstrap, partitions=1))
        yield one


def samples(bpm: float, count: int = 1, *, ago: timedelta = timedelta(seconds=2)) -> list[Sample]:
    now = datetime.now(UTC) - ago
    return [Sample("heart_rate", now - timedelta(seconds=n), bpm + n) for n in range(count)]


def eventually(holds: Callable[[], bool], within_s: float = 40.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.05)


def values(own_broker: EmbeddedBroker, topic: str, count: int) -> set[float]:
    told = asyncio.run(read(own_broker.bootstrap, topic, count))
    return {float(value) for one in told for value in decode(GOOD.key, one, GOOD.headers)[1].value}


def test_a_phone_is_served_and_sigterm_ends_it_in_order(
    database: str, own_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    metrics = free_port()
    with served(database, own_broker.bootstrap, tmp_path, VIGIL_METRICS_PORT=str(metrics)) as gateway:
        gateway.worn("watch-1", "p-1")
        token = gateway.token("p-1", "watch-1")
        with GatewayClient(Gateway(gateway.url, token), retry=SOON) as client:
            assert client.send(samples(100, 3), wire=Wire.JSON).safe is Place.BROKER
            assert client.send(samples(200, 3, ago=timedelta(hours=1)), wire=Wire.ARROW).accepted == 3
            assert client.me().devices == ("watch-1",)
            successor = client.rotate()
        with GatewayClient(Gateway(gateway.url, successor.token), retry=SOON) as client:
            assert client.send(samples(110)).accepted == 1
        told = httpx.get(f"http://{HOST}:{metrics}/metrics").text
        assert 'vigil_gateway_samples_total{outcome="accepted"} 7.0' in told
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(20) == 0
        assert "gateway_stopped" in gateway.log
        for secret in ("p-1", "watch-1", token, successor.token):
            assert secret not in gateway.log
    assert values(own_broker, SAMPLES, 2) >= {100, 101, 102, 110}
    assert values(own_broker, SAMPLES_BACKFILL, 1) >= {200, 201, 202}


def test_the_demos_line_for_a_shell_sends_a_sample(database: str, own_broker: EmbeddedBroker, tmp_path: Path) -> None:
    tokens = pair(database, ["demo-01", YOU])
    with served(database, own_broker.bootstrap, tmp_path) as gateway:
        words = shlex.split(curl(gateway.url, tokens[YOU], system_clock()))
        done = subprocess.run([*words, "-sS"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["accepted"] == 1


def test_it_takes_data_while_the_database_is_away_once_it_has_seen_the_credentials(
    own_broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory, shared_tmp: Path
) -> None:
    with EmbeddedPostgres(shared_tmp / "data") as postgres:
        migrate(postgres.url)
        folder = tmp_path_factory.mktemp("gateway")
        with served(postgres.url, own_broker.bootstrap, folder) as gateway:
            token = gateway.token("p-1")
            with GatewayClient(Gateway(gateway.url, token), retry=SOON) as client:
                assert client.send(samples(120), device="watch-1").accepted == 1
                postgres.stop()
                assert client.send(samples(121), device="watch-1").safe is Place.BROKER
                me = client.me()
                assert me.last_samples is None
            gateway.process.kill()
            gateway.process.wait()
        with served(postgres.url, own_broker.bootstrap, folder, wait=False) as again:
            eventually(lambda: _alive(again))
            with GatewayClient(Gateway(again.url, token), retry=RetryPolicy(give_up_s=0.1)) as client:
                with pytest.raises(TryLater) as refused:
                    client.send(samples(122), device="watch-1")
                assert refused.value.code == "credentials_unknown"
                postgres.start()
                again.ready()
                assert client.send(samples(122), device="watch-1").accepted == 1


def _alive(gateway: Served) -> bool:
    try:
        return httpx.get(f"{gateway.url}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_it_takes_data_while_the_broker_is_away_and_drains_later(database: str, tmp_path: Path) -> None:
    port = free_port()
    with served(database, f"{HOST}:{port}", tmp_path) as gateway:
        token = gateway.token("p-1")
        with GatewayClient(Gateway(gateway.url, token), retry=SOON) as client:
            assert client.send(samples(130, 5), device="watch-1").safe is Place.SPOOL
            me = client.me()
            assert (me.spooled_records, me.hint) == (1, "send live data first")
            with EmbeddedBroker(port=port) as late:
                asyncio.run(create_topics(late.bootstrap, partitions=1))
                eventually(lambda: client.me().spooled_records == 0)
                assert values(late, SAMPLES_BACKFILL, 1) == {130, 131, 132, 133, 134}
                eventually(lambda: client.send(samples(140), device="watch-1").safe is Place.BROKER)


@pytest.mark.parametrize(
    "given",
    [
        {"gateway_host": "0.0.0.0"},
        {"gateway_tls_cert": "cert.pem"},
        {"gateway_client_ca": "ca.pem"},
        {"gateway_tls_cert": "no.pem", "gateway_tls_key": "no.key"},
        {"gateway_host": "0.0.0.0", "gateway_trusted_proxies": "*"},
    ],
)
def test_it_shows_no_token_to_a_network(given: dict[str, str]) -> None:
    with pytest.raises(NotGuarded):
        check_exposure(Settings.model_validate(given))


def test_it_may_stand_behind_a_proxy_or_have_tls(tmp_path: Path) -> None:
    behind = Settings.model_validate({"gateway_host": "0.0.0.0", "gateway_trusted_proxies": " 10.0.0.5, 10.1.0.0/16 "})
    check_exposure(behind)
    assert proxies_of(behind) == ["10.0.0.5", "10.1.0.0/16"]
    for name in ("cert.pem", "cert.key"):
        (tmp_path / name).touch()
    names = {"gateway_tls_cert": tmp_path / "cert.pem", "gateway_tls_key": tmp_path / "cert.key"}
    own = Settings.model_validate({"gateway_host": "0.0.0.0", **names})
    check_exposure(own)
    found = tls_of(own)
    assert found is not None
    assert found.key == tmp_path / "cert.key"


def test_limits_come_from_the_settings() -> None:
    policy = policy_of(Settings.model_validate({"gateway_requests_per_s": 5, "gateway_spool_bytes": 1 << 20}))
    assert (policy.rate.requests_per_s, policy.rate.requests_burst, policy.spool.max_bytes) == (5, 30, 1 << 20)
    assert policy_of(Settings.model_validate({})).rate.samples_burst == 200_000


def test_half_of_a_sign_in_is_named() -> None:
    assert Settings.model_validate({}).oidc() is None
    with pytest.raises(MissingSetting, match="VIGIL_GATEWAY_OIDC_AUDIENCE"):
        Settings.model_validate({"gateway_oidc_issuer": "https://login.example"}).oidc()
    with pytest.raises(MissingSetting, match="VIGIL_GATEWAY_OIDC_ISSUER"):
        Settings.model_validate({"gateway_oidc_audience": "vigil"}).oidc()


async def test_a_token_that_is_rotated_too_often_is_refused_and_not_told_to_come_back(database: str) -> None:
    """`Unavailable` would be answered 503 with Retry-After: the client would ask for the rest of the hour."""
    with psycopg.connect(database, autocommit=True) as connection:
        made = Tokens(connection, "nurse-1").create(Wanted(patient="p1"))
    async with AccessBooks(database, every_s=60) as opened:
        books = GatewayBooks(opened)
        for _ in range(MOST_ROTATIONS):
            await books.rotate(made.token_id, system_clock())
        with pytest.raises(TokenRefused):
            await books.rotate(made.token_id, system_clock())
