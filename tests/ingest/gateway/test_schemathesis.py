"""schemathesis over the OpenAPI description, with all its checks, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from ingest.gateway.app import create_app
from ingest.gateway.policy import GatewayPolicy, LockoutPolicy, RatePolicy
from tests.ingest.gateway.edge import Running, World, running
from vitals.access import Kind

POLICY = GatewayPolicy(
    rate=RatePolicy(requests_per_s=1e6, requests_burst=1e6, samples_per_s=1e9, samples_burst=1e9),
    lockout=LockoutPolicy(free_failures=10**9, all_failures=10**9),  # every operation is tried with wrong credentials
)


WORLD = World(Path("nowhere"))
TOKEN = WORLD.token(devices=None, kind=Kind.BRIDGE)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    WORLD.folder = tmp_path_factory.mktemp("gateway")
    with running(WORLD, POLICY) as gateway:
        yield gateway


CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            # What a body says may be well formed and still be refused: no such device, no consent, too long ago.
            "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "401", "403", "404", "413", "422"]},
            # A fault of one sample is told beside the others' acceptance: 202 with its verdict.
            "negative_data_rejection": {"expected-statuses": ["202", "400", "401", "403", "404", "413", "415", "422"]},
        }
    }
)
schema = schemathesis.openapi.from_dict(create_app(WORLD.parts()).openapi(), config=CONFIG)


@schemathesis.serializer(
    "application/vnd.apache.arrow.stream", "application/zip", "application/xml", "application/fhir+ndjson"
)
def as_bytes(context: schemathesis.SerializationContext, value: object) -> bytes:
    """Send what was made as it is: of Arrow, archives and lines of JSON schemathesis makes any bytes."""
    return value if isinstance(value, bytes) else str(value).encode()


@schema.auth()
class Token:
    """Signs each request in; schemathesis leaves it out, or puts another in, to see whether that is refused."""

    def get(self, case: schemathesis.Case[Any], context: schemathesis.AuthContext) -> str:
        return TOKEN

    def set(self, case: schemathesis.Case[Any], data: str, context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@pytest.mark.slow
@pytest.mark.timeout(200)
@schema.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_every_operation_as_described(case: schemathesis.Case[Any], served: Running) -> None:
    case.call_and_validate(base_url=served.url)
