"""Answers kept for a repeated Idempotency-Key: across restarts, bounded, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.gateway.policy import ReplyPolicy
from ingest.gateway.problems import Refused
from ingest.gateway.replies import FILE, Replies, Reply, digest, key_of, name_of

NOW_US = 1_800_000_000_000_000
S = 1_000_000


async def opened(folder: Path, **policy: float) -> Replies:
    replies = Replies(folder, ReplyPolicy(**policy))  # type: ignore[arg-type]
    await replies.open()
    return replies


async def test_an_answer_outlives_the_process_for_a_day(tmp_path: Path) -> None:
    replies = await opened(tmp_path)
    name, sent = name_of("token", "key"), digest(b"body", "/v1/samples")
    assert await replies.find(name, sent, NOW_US) is None
    await replies.keep(name, sent, Reply(202, b"{}"), NOW_US)
    await replies.close()
    again = await opened(tmp_path)
    assert await again.find(name, sent, NOW_US + 86_399 * S) == Reply(202, b"{}")
    assert await again.find(name, sent, NOW_US + 86_401 * S) is None
    with pytest.raises(Refused) as caught:
        await again.find(name, digest(b"other", "/v1/samples"), NOW_US)
    assert (caught.value.status, caught.value.code) == (422, "idempotency_key_reused")
    await again.keep(name, digest(b"later"), Reply(202, b"[]"), NOW_US + 90_000 * S)
    assert await again.find(name, digest(b"later"), NOW_US + 90_000 * S) == Reply(202, b"[]")
    await again.close()


async def test_number_and_bytes_are_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    replies = await opened(tmp_path, most=50, most_bytes=2_000, most_answer_bytes=500)
    for at in range(300):
        await replies.keep(name_of("token", str(at)), b"sent", Reply(202, bytes(at % 40)), NOW_US + at)
        assert replies._count <= 50
        assert replies._bytes <= 2_000
    assert await replies.find(name_of("token", "299"), b"sent", NOW_US) is not None
    assert await replies.find(name_of("token", "0"), b"sent", NOW_US) is None
    await replies.keep(name_of("token", "big"), b"sent", Reply(202, bytes(501)), NOW_US)
    assert await replies.find(name_of("token", "big"), b"sent", NOW_US) is None
    count, size = replies._count, replies._bytes
    await replies.close()
    again = await opened(tmp_path)
    assert (again._count, again._bytes) == (count, size)
    await again.close()


async def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all, but long enough to look at" * 100)
    replies = await opened(tmp_path)
    await replies.keep(b"name", b"sent", Reply(202, b"{}"), NOW_US)
    assert await replies.find(b"name", b"sent", NOW_US) == Reply(202, b"{}")
    await replies.close()


async def test_without_a_file_nothing_is_kept_and_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    replies = await opened(tmp_path / "file")  # no folder
    await replies.keep(b"name", b"sent", Reply(202, b"{}"), NOW_US)
    assert await replies.find(b"name", b"sent", NOW_US) is None
    await replies.close()


async def test_one_request_of_a_name_at_a_time(tmp_path: Path) -> None:
    replies = Replies(tmp_path, ReplyPolicy())
    with replies.under_way(b"name"), pytest.raises(Refused) as caught, replies.under_way(b"name"):
        pass
    assert (caught.value.status, caught.value.code) == (409, "idempotency_key_under_way")
    with replies.under_way(b"name"), replies.under_way(b"other"):
        pass


@given(st.text(max_size=300))
def test_a_key_is_visible_ascii_of_some_length(given_key: str) -> None:
    good = 1 <= len(given_key) <= 255 and given_key.isascii() and all("!" <= one <= "~" for one in given_key)
    if good:
        assert key_of(given_key) == given_key
    else:
        with pytest.raises(Refused) as caught:
            key_of(given_key)
        assert caught.value.status == 400


def test_what_means_something_else_has_another_digest() -> None:
    made = {
        digest(b"x", "a", "b"),
        digest(b"x", "ab", ""),
        digest(b"", "a", "b", "x"),
        digest(b"x", "a", "c"),
        digest(b"y", "a", "b"),
    }
    assert len(made) == 5
    assert name_of("a", "b") != name_of("a", "c")
