"""Edge: the records a device kept while nobody was there, downloaded through its control point, and where to resume."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from bleak import BleakClient

from devices.gatt.record_access import abort, report_all
from ingest.ble.finder import ERRORS
from ingest.ble.frames import Notification
from ingest.ble.plan import STORED, Offer
from ingest.ble.policy import LinkPolicy
from ingest.ble.stored import Answer, Resume, advanced, answer, request
from ingest.ble.telling import Event, Teller
from ingest.ble.troubles import Trouble, trouble_of

_BUSY_PAUSE_S: Final = 0.5


class Memory:
    """What one device's memory has told safely, kept over its connections for as long as the process lives.

    After a restart everything is asked for once more, and stored once.
    """

    def __init__(self, policy: LinkPolicy) -> None:
        self._policy = policy
        self._resume: dict[str, Resume | None] = {}
        self._heard_s = 0.0
        self._records = 0

    def safe(self, notifications: Sequence[Notification]) -> None:
        """Note what broker or spool have."""
        now_s = asyncio.get_running_loop().time()
        for uuid in STORED.intersection(one.uuid for one in notifications):
            told = ((one.uuid, one.payload, one.stored) for one in notifications if one.uuid == uuid)
            self._resume[uuid] = advanced(self._resume.get(uuid), told, now_s)

    def heard(self) -> None:
        """Note that a record came: the device is at it still."""
        self._heard_s = asyncio.get_running_loop().time()
        self._records += 1

    async def download(
        self, client: BleakClient, control: Offer, answers: asyncio.Queue[bytes], teller: Teller, uuid: str
    ) -> None:
        """Ask for what is not safe yet, or for all where the device cannot tell apart; return when it has ended."""
        now_s = asyncio.get_running_loop().time()
        asked = request(self._resume.get(uuid), now_s, self._policy.stored_again_s)
        self._records = 0
        ended = await self._ask(client, control, answers, asked)
        if ended is Answer.UNSUPPORTED and asked != report_all():
            ended = await self._ask(client, control, answers, report_all())
        if ended in {Answer.DONE, Answer.NO_RECORDS}:
            teller.tell(Event.STORED, uuid=uuid, records=self._records)
        else:
            teller.tell(Event.STORED_FAILED, uuid=uuid, records=self._records, why=ended.value)

    async def _ask(self, client: BleakClient, control: Offer, answers: asyncio.Queue[bytes], asked: bytes) -> Answer:
        while not answers.empty():
            answers.get_nowait()
        async with asyncio.timeout(self._policy.prepare_s):
            try:
                await client.write_gatt_char(control.handle, asked, response=True)
            except ERRORS as error:
                if trouble_of(error) is not Trouble.BUSY:
                    raise
                # A procedure that an earlier connection began goes on still.
                await client.write_gatt_char(control.handle, abort(), response=True)
                await asyncio.sleep(_BUSY_PAUSE_S)
                await client.write_gatt_char(control.handle, asked, response=True)
        return await self._until_answered(answers)

    async def _until_answered(self, answers: asyncio.Queue[bytes]) -> Answer:
        loop = asyncio.get_running_loop()
        self._heard_s = loop.time()
        while (left_s := self._heard_s + self._policy.stored_silence_s - loop.time()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    ended = answer(await answers.get())
            except TimeoutError:
                continue  # unless a record came meanwhile, nothing is left
            if ended is not None:
                return ended
        return Answer.FAILED
