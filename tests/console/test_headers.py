"""What every answer carries, and what no page holds."""

import re
from itertools import pairwise

import pytest

from tests.console.conftest import NOW, visiting
from tests.console.looking import attributes, structure
from tests.console.world import FakeReader, Sample, World, alert

WORLD = World(samples=[Sample("p-1", "heart_rate", NOW, 70)], alerts=[alert("p-1", NOW)])
PATHS = ["/", "/patients/p-1", "/login", "/nobody", "/healthz", "/api/patients", "/static/console.js", "/?page=x"]


class Broken(FakeReader):
    async def overview(self, **_: object) -> object:  # type: ignore[override]
        raise RuntimeError("secret-detail")


@pytest.mark.parametrize("path", PATHS)
async def test_security_headers(path: str) -> None:
    async with visiting(FakeReader(WORLD)) as client:
        check(dict((await client.get(path)).headers))


async def test_security_headers_where_the_request_is_refused() -> None:
    async with visiting(FakeReader(WORLD), host="0.0.0.0", token_hash="0" * 64) as client:
        for answer in (await client.get("/"), await client.post("/login", headers={"sec-fetch-site": "cross-site"})):
            check(dict(answer.headers))


async def test_an_error_tells_nothing_and_has_the_headers_too() -> None:
    async with visiting(Broken(WORLD)) as client:
        answer = await client.get("/")
    assert answer.status_code == 500
    assert "secret-detail" not in answer.text
    assert "RuntimeError" not in answer.text
    check(dict(answer.headers))


def check(headers: dict[str, str]) -> None:
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] in {"no-store", "no-cache"}


@pytest.mark.parametrize("path", ["/", "/patients/p-1", "/nobody"])
async def test_nothing_inline_and_nothing_from_elsewhere(path: str) -> None:
    async with visiting(FakeReader(WORLD)) as client:
        html = (await client.get(path)).text
    for tag, names in structure(html):
        assert not [name for name in names if name == "style" or name.startswith("on")], tag
        assert tag != "style"
        assert tag != "script" or "src" in names
    for tag, name, value in attributes(html):
        if name in {"href", "src", "action"}:
            assert re.match(r"[/?#]", value), (tag, value)
            assert not value.startswith("//")


async def test_every_field_has_its_label_and_headings_descend() -> None:
    async with visiting(
        FakeReader(WORLD),
    ) as client:
        html = (await client.get("/")).text
    labelled = {value for tag, name, value in attributes(html) if (tag, name) == ("label", "for")}
    fields = [names for tag, names in structure(html) if tag == "input" and "id" in names]
    ids = {value for tag, name, value in attributes(html) if (tag, name) == ("input", "id")}
    assert fields
    assert ids <= labelled
    levels = [int(tag[1]) for tag, _ in structure(html) if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


async def test_ids_are_unique() -> None:
    async with visiting(FakeReader(WORLD)) as client:
        for path in ("/", "/patients/p-1"):
            ids = [value for _, name, value in attributes((await client.get(path)).text) if name == "id"]
            assert len(ids) == len(set(ids))
