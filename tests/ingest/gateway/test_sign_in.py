"""Who gets in when other rooms answer late, old things, or not at all; platforms that sign in by OIDC."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from ingest.gateway.body import Held
from ingest.gateway.last_known import LastKnown
from ingest.gateway.policy import GatewayPolicy, LockoutPolicy
from ingest.gateway.ports import Unavailable
from ingest.gateway.problems import Refused
from ingest.gateway.sign_in import SignIn, bearer
from vitals.access import Access, Credential, Kind, Principal, new_token
from vitals.ids import PatientId

NOW_US = 1_800_000_000_000_000
S = 1_000_000


@dataclass
class Source:
    """A room that can be away, or slow."""

    answer: int = 1
    away: bool = False
    hangs: asyncio.Event | None = None
    asked: int = 0

    async def __call__(self) -> int:
        self.asked += 1
        if self.hangs is not None:
            await self.hangs.wait()
        if self.away:
            raise Unavailable("away")
        return self.answer


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_the_last_answer_serves_for_an_hour() -> None:
    source, clock = Source(), Clock()
    known = LastKnown(source, 3_600.0, clock)
    assert known.age_s is None
    assert await known.current() == 1
    source.away, source.answer = True, 2
    clock.now_s += 3_599
    assert await known.current() == 1
    clock.now_s += 2
    with pytest.raises(Unavailable):
        await known.current()
    source.away = False
    clock.now_s += 1
    assert await known.current() == 2
    assert known.age_s == 0


async def test_what_was_never_seen_is_unavailable_and_any_failure_counts() -> None:
    async def broken() -> int:
        raise RuntimeError

    with pytest.raises(Unavailable):
        await LastKnown(broken, 3_600.0).current()
    with pytest.raises(Unavailable):
        await LastKnown(Source(away=True), 3_600.0).current()


async def test_all_who_wait_ask_once_and_a_moment_is_new_enough() -> None:
    source, clock = Source(hangs=asyncio.Event()), Clock()
    known = LastKnown(source, 3_600.0, clock)
    waiting = [asyncio.create_task(known.current()) for _ in range(100)]
    await asyncio.sleep(0)
    assert source.hangs is not None
    source.hangs.set()
    assert set(await asyncio.gather(*waiting)) == {1}
    assert [await known.current() for _ in range(100)] == [1] * 100
    assert source.asked == 1
    assert await known.current(anew=True) == 1
    clock.now_s += 0.3
    await known.current()
    assert source.asked == 3


async def test_a_source_that_hangs_delays_nobody_for_long() -> None:
    source, clock = Source(), Clock()
    known = LastKnown(source, 3_600.0, clock)
    await known.current()
    source.hangs = asyncio.Event()
    clock.now_s += 10
    async with asyncio.timeout(10):
        assert await known.current() == 1
    source.hangs.set()


@dataclass
class Oidc:
    """A platform's keys: a token of the form a.subject.c is good."""

    away: bool = False
    certificates: list[str | None] = field(default_factory=list)

    async def subject_of(self, token: str, now_us: int, certificate_sha256: str | None) -> tuple[str, str] | None:
        self.certificates.append(certificate_sha256)
        if self.away:
            raise Unavailable("no keys")
        subject = token.split(".")[1]
        return ("https://issuer", subject) if subject else None


def platform(name: str = "ward") -> Credential:
    return Credential(
        Principal("t" * 16, Kind.PLATFORM, PatientId("p-1")), None, NOW_US + S, subject=("https://issuer", name)
    )


def signing_in(access: Access, oidc: Oidc | None = None) -> SignIn:
    async def credentials() -> Access:
        return access

    policy = GatewayPolicy(lockout=LockoutPolicy(free_failures=3))
    return SignIn(credentials, oidc, policy, lambda: NOW_US)


async def refused(sign_in: SignIn, header: str | None, certificate: str | None = None) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        await sign_in.credential(header, "192.0.2.1", certificate)
    return caught.value.status, str(caught.value.code)


async def test_a_platform_signs_in_by_its_issuer() -> None:
    oidc = Oidc()
    sign_in = signing_in(Access(subjects={("https://issuer", "ward"): platform()}), oidc)
    found = await sign_in.credential("Bearer a.ward.c", "192.0.2.1", "ab" * 32)
    assert found.principal.kind is Kind.PLATFORM
    assert oidc.certificates == ["ab" * 32]
    assert await refused(sign_in, "Bearer a.other.c") == (401, "unauthorized")
    assert await refused(sign_in, "Bearer a..c") == (401, "unauthorized")
    oidc.away = True
    assert await refused(sign_in, "Bearer a.ward.c") == (503, "credentials_unknown")
    assert await refused(signing_in(Access()), "Bearer a.ward.c") == (401, "unauthorized")


async def test_guesses_lock_and_a_missing_header_is_no_guess() -> None:
    sign_in = signing_in(Access())
    assert {await refused(sign_in, None) for _ in range(10)} == {(401, "unauthorized")}
    tries = [await refused(sign_in, f"Bearer {new_token().text}") for _ in range(4)]
    assert tries == [(401, "unauthorized")] * 2 + [(429, "locked_out")] * 2


async def test_a_certificate_is_compared_in_any_case_of_letters() -> None:
    made = new_token()
    credential = Credential(
        Principal(made.token_id, Kind.DEVICE, PatientId("p-1")), made.secret_sha256, NOW_US + S,
        certificate_sha256="AB" * 32,
    )  # fmt: skip
    sign_in = signing_in(Access({made.token_id: credential}))
    assert await sign_in.credential(f"bearer {made.text}", "192.0.2.1", "ab" * 32) is credential
    assert await refused(sign_in, f"Bearer {made.text}", "cd" * 32) == (401, "unauthorized")
    assert await refused(sign_in, f"Bearer {made.text}") == (401, "unauthorized")


def test_what_is_no_bearer_token() -> None:
    assert bearer("Bearer abc") == bearer("BEARER  abc ") == "abc"
    for bad in (None, "", "Bearer", "Bearer ", "Basic abc", "abc", "Bearer ä", "Bearer " + "x" * 8_193):
        assert bearer(bad) is None


def test_bodies_in_memory_are_bounded_together() -> None:
    held = Held(100, 2)
    held.take(60)
    with pytest.raises(Refused) as caught:
        held.take(41)
    assert (caught.value.status, caught.value.retry_after_s) == (503, 2)
    held.take(40)
    held.give(100)
    assert held.bytes == 0
