"""Who gets in."""

import hashlib
from typing import Any

import pytest

from console.access import Access, NotGuarded, NoTokenHash, Session, check_binding
from console.app import create_app
from tests.console.conftest import visiting
from tests.console.looking import form_token, words
from tests.console.world import FakeReader, World

TOKEN = "correct-horse-battery"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()
GUARDED: dict[str, Any] = {"host": "0.0.0.0", "token_hash": HASH}
SIGN_IN = {"token": TOKEN, "actor": "n-417"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "vigil.example"])
def test_beyond_this_machine_only_with_a_token(host: str) -> None:
    with pytest.raises(NotGuarded, match="VIGIL_CONSOLE_TOKEN_HASH"):
        create_app(FakeReader(World()), host=host)
    create_app(FakeReader(World()), host=host, token_hash=HASH)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_on_this_machine_without(host: str) -> None:
    check_binding(host, None)


@pytest.mark.parametrize("text", ["", TOKEN, HASH.upper(), HASH + "\n", HASH[:-1]])
def test_a_token_in_place_of_its_hash_is_refused(text: str) -> None:
    with pytest.raises(NoTokenHash, match="64 lower-case hex") as caught:
        check_binding("127.0.0.1", text)
    assert not text or text not in str(caught.value)


async def test_without_a_token_nothing_is_shown() -> None:
    async with visiting(FakeReader(World(patients=["p-1"])), **GUARDED) as client:
        for path in ("/", "/patients/p-1", "/nobody"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        client.headers["accept"] = "application/json"
        for path in ("/", "/events", "/api/patients", "/api/alerts", "/api/openapi.json", "/api/patients/p-1/series"):
            answer = await client.get(path)
            assert answer.status_code == 401
            assert "p-1" not in answer.text
        for path in ("/healthz", "/readyz", "/static/console.css", "/login"):
            assert (await client.get(path)).status_code == 200


async def test_signing_in_and_out() -> None:
    async with visiting(FakeReader(World(patients=["p-1"])), base="https://vigil.example", **GUARDED) as client:
        assert (await client.post("/login", data=SIGN_IN | {"token": "guess"})).status_code == 403
        assert (await client.post("/login", data=SIGN_IN | {"actor": "Anna Smith"})).status_code == 422
        answer = await client.post("/login", data=SIGN_IN)
        assert answer.headers["location"] == "/"
        cookie = answer.headers["set-cookie"].lower()
        for part in ("httponly", "samesite=strict", "secure", "path=/", "max-age=43200"):
            assert part in cookie
        page = (await client.get("/")).text
        assert "Acting as n-417" in words(page)
        await client.post("/logout", data={"form_token": form_token(page)})
        assert (await client.get("/")).status_code == 303


async def test_a_cookie_of_our_own_making_does_not_open() -> None:
    async with visiting(FakeReader(World()), **GUARDED) as client:
        ends = 9_999_999_999
        for forged in (
            "",
            "~",
            f"x~n-417~{ends}~",
            f"x~n-417~{ends}~{'0' * 64}",
            "ü~~~",
            Access(HASH).sign(Session("x", "", ends)),
        ):
            cookie = [(b"cookie", f"vigil_session={forged}".encode())]
            assert (await client.get("/", headers=cookie)).status_code == 303


async def test_a_bearer_token_opens_the_api() -> None:
    async with visiting(FakeReader(World(patients=["p-1"])), **GUARDED) as client:
        right, wrong = {"authorization": f"Bearer {TOKEN}"}, {"authorization": "Bearer guess", "accept": "*/*"}
        assert (await client.get("/api/patients", headers=right)).json()["total"] == 1
        assert (await client.get("/", headers=right)).status_code == 200
        assert (await client.get("/api/patients", headers=wrong)).status_code == 401


async def test_guessing_is_slowed() -> None:
    async with visiting(FakeReader(World()), **GUARDED) as client:
        answers = [(await client.post("/login", data=SIGN_IN | {"token": f"guess-{k}"})).status_code for k in range(12)]
        assert answers == [403] * 10 + [429] * 2
        assert (await client.post("/login", data=SIGN_IN)).status_code == 429


def test_sessions_end() -> None:
    access = Access(HASH)
    session = access.begin(1_000.0, "n-417")
    cookie = access.sign(session)
    assert access.read(cookie, 1_000.0 + 12 * 3_600 - 1) == session
    assert access.read(cookie, 1_000.0 + 12 * 3_600) is None
    assert access.may_try(0.0)
    for _ in range(10):
        access.failed(0.0)
    assert not access.may_try(59.0)
    assert access.may_try(61.0)


async def test_another_host_name_is_refused() -> None:
    """DNS rebinding: a page elsewhere points its own name at this machine."""
    async with visiting(FakeReader(World(patients=["p-1"]))) as client:
        for host, status in (
            ("evil.example", 400),
            ("evil.example:8080", 400),
            ("localhost:8080", 200),
            ("[::1]:1", 200),
        ):
            answer = await client.get("/", headers={"host": host})
            assert answer.status_code == status
            assert status == 200 or "evil" not in answer.text


async def test_allowed_hosts() -> None:
    async with visiting(FakeReader(World()), allowed_hosts=["vigil.example"], **GUARDED) as client:
        assert (await client.get("/healthz", headers={"host": "vigil.example"})).status_code == 200
        assert (await client.get("/healthz", headers={"host": "127.0.0.1"})).status_code == 400
