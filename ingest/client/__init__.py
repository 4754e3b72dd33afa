"""The gateway's client: samples, deletions, anchors and exports over HTTP, with the retries that the contract asks for.

from ingest.client import Gateway, GatewayClient, Sample

with GatewayClient(Gateway("https://vigil.example", token)) as client:
    sent = client.send([Sample("heart_rate", datetime.now(UTC), 72)])
"""

from ingest.client.address import Gateway
from ingest.client.aside import Aside
from ingest.client.calls import Wire
from ingest.client.errors import Forbidden, GatewayError, GatewayRefused, GatewayUnreachable, NotSignedIn, TryLater
from ingest.client.plain import GatewayClient
from ingest.client.publisher import GatewayPublisher
from ingest.client.results import Job, LastSample, Me, NewToken, Sent
from ingest.client.retrying import RetryPolicy
from ingest.client.samples import Sample
from ingest.client.stream import Stream
from ingest.client.waiting import AsyncGatewayClient

__all__ = [
    "Aside",
    "AsyncGatewayClient",
    "Forbidden",
    "Gateway",
    "GatewayClient",
    "GatewayError",
    "GatewayPublisher",
    "GatewayRefused",
    "GatewayUnreachable",
    "Job",
    "LastSample",
    "Me",
    "NewToken",
    "NotSignedIn",
    "RetryPolicy",
    "Sample",
    "Sent",
    "Stream",
    "TryLater",
    "Wire",
]
