"""Edge: how a beat gets in: through the gateway, as a phone's samples do, or straight to the broker."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from ingest.client import AsyncGatewayClient, Gateway, GatewayError, RetryPolicy, Sample
from ingest.publisher import BrokerUnreachable, Publisher
from vitals.batch import BatchHeader, sample_columns
from vitals.catalogue import number_of
from vitals.clock import to_datetime
from vitals.errors import VigilError
from vitals.synthetic import DEVICE, PATIENT, SOURCE_APP

ADAPTER: Final = "heartbeat"


class NotSent(VigilError):
    """A beat is not known to have got in; the message says why, and holds no token."""


class Door(Protocol):
    """Where beats get in."""

    name: str

    async def send(self, beat_us: int, metric: str, value: float) -> None:
        """Return once it is safe with whoever took it. Raises `NotSent`, within about the door's `timeout_s`."""

    async def close(self) -> None:
        """Let go of connections."""


class GatewayDoor:
    """Posts to `/v1/samples`, by the token of the synthetic patient: authentication, consent and registry are passed.

    Over http, too: a deployment's own network reads a token that opens nobody's door but this.
    """

    name = "gateway"

    def __init__(self, url: str, token: str, *, timeout_s: float = 10.0) -> None:
        gateway = Gateway(url, token, in_the_clear=True)
        retry = RetryPolicy(first_s=0.25, longest_s=timeout_s / 4, give_up_s=timeout_s / 2)
        self._client = AsyncGatewayClient(gateway, retry=retry, timeout_s=timeout_s)

    async def send(self, beat_us: int, metric: str, value: float) -> None:
        """Send a beat; see `Door.send`."""
        sample = Sample(metric, to_datetime(beat_us), value)
        try:
            sent = await self._client.send([sample], device=DEVICE, source_app=SOURCE_APP)
        except GatewayError as error:
            raise NotSent(str(error)) from error
        if not sent.accepted + sent.duplicates:
            raise NotSent(f"the gateway refuses it: {', '.join(sent.reasons) or 'no reason given'}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


class BrokerDoor:
    """Puts records onto `vigil.samples`: for a deployment without a gateway."""

    name = "broker"

    def __init__(self, bootstrap_servers: str, *, timeout_s: float = 10.0) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._timeout_s = timeout_s
        self._publisher: Publisher | None = None

    async def send(self, beat_us: int, metric: str, value: float) -> None:
        """Send a beat; see `Door.send`."""
        at = np.array([beat_us], np.int64)
        columns = sample_columns(
            at, np.array([number_of(metric)], np.int16), np.array([value], np.float64), received_us=at
        )
        try:
            await (await self._started()).publish(BatchHeader(PATIENT, DEVICE, SOURCE_APP, ADAPTER), columns)
        except BrokerUnreachable as error:
            await self.close()
            raise NotSent(str(error)) from error

    async def _started(self) -> Publisher:
        if self._publisher is None:
            publisher = Publisher(self._bootstrap_servers, timeout_s=self._timeout_s)
            await publisher.start()
            self._publisher = publisher
        return self._publisher

    async def close(self) -> None:
        """Disconnect; the next beat connects again."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.stop()
