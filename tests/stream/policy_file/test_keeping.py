"""A policy that changes while the watch runs: what is right is taken over, what is wrong changes nothing."""

import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from stream.policy_file.keeping import RELOADS, FileWatch, PolicyKeeper, keep_copy, read_copy
from stream.policy_file.policies import built_in
from tests.stream.policy_file.making import HEAD


def told(logs: list[Any], event: str) -> list[dict[str, Any]]:
    return [
        {key: one[key] for key in one if key not in {"event", "log_level"}} for one in logs if one["event"] == event
    ]


def reloads(outcome: str) -> float:
    return float(RELOADS.labels(outcome)._value.get())


async def test_what_is_right_is_in_force_and_what_is_wrong_is_told() -> None:
    keeper = PolicyKeeper()
    assert keeper.policies is built_in()
    before = reloads("loaded"), reloads("refused")
    with capture_logs() as logs:
        assert await keeper.offer(HEAD.encode(), "file")
        right = keeper.policies
        assert not await keeper.offer(
            f'{HEAD}[patient."p-anna".limits.spo2_low.spo2]\nside = "Anna"\n'.encode(), "file"
        )
        assert not await keeper.offer(
            f'{HEAD}[patient."p-anna".limits.spo2_low.spo2]\nside = "Anna"\n'.encode(), "file"
        )
    assert keeper.policies is right
    assert (reloads("loaded") - before[0], reloads("refused") - before[1]) == (1, 1)
    assert told(logs, "policy_loaded") == [{"source": "file", "version": right.told}]
    assert told(logs, "policy_refused") == [
        {"source": "file", "line": 4, "field": "patient.*.limits.spo2_low.spo2.side", "kind": "value"}
    ]
    assert "anna" not in str(logs).lower()


async def test_the_same_text_is_judged_once_and_a_text_that_comes_back_again() -> None:
    keeper = PolicyKeeper()
    assert await keeper.offer(HEAD.encode(), "file")
    assert not await keeper.offer(HEAD.encode(), "file")
    assert not await keeper.offer(b"wrong", "file")
    assert await keeper.offer(HEAD.encode(), "file")


def test_a_file_is_given_at_once_and_then_when_it_has_settled(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("one")
    watch = FileWatch(path)
    assert watch.look() == b"one"
    assert watch.look() is None
    path.write_text("half")
    assert watch.look() is None, "an editor may still be writing"
    path.write_text("halves")
    assert watch.look() is None
    assert watch.look() == b"halves"
    assert watch.look() is None


def test_a_file_of_the_same_size_and_another_time_is_another(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("one")
    watch = FileWatch(path)
    assert watch.look() == b"one"
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert [watch.look(), watch.look()] == [None, b"two"]


def test_a_file_that_goes_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("one")
    watch = FileWatch(path)
    watch.look()
    path.unlink()
    with capture_logs() as logs:
        assert [watch.look(), watch.look()] == [None, None]
    assert told(logs, "policy_file_unreadable") == [{"error": "FileNotFoundError"}]
    path.write_text("back again")
    assert [watch.look(), watch.look()] == [None, b"back again"]


def test_a_copy_is_for_this_user_only_and_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "policy.toml"
    assert read_copy(path) is None
    keep_copy(path, b"one")
    keep_copy(path, b"two")
    assert read_copy(path) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["policy.toml"]


def test_a_copy_that_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with capture_logs() as logs:
        keep_copy(tmp_path / "file" / "policy.toml", b"one")
    assert told(logs, "policy_copy_failed") == [{"error": "FileExistsError"}]


@pytest.mark.parametrize("text", ["", "\x00"])
async def test_an_empty_file_is_no_policy(text: str) -> None:
    keeper = PolicyKeeper()
    assert not await keeper.offer(text.encode(), "file")
    assert keeper.policies is built_in()
