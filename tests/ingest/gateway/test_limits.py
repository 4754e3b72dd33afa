"""Token buckets, locks, and a request's names: pure, with time as a parameter."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ingest.gateway.limits import Bucket, Rates
from ingest.gateway.lockout import Lockout, group
from ingest.gateway.policy import LockoutPolicy, RatePolicy
from ingest.gateway.trace import request_id, traceparent
from vitals.ids import is_opaque

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_STEPS = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), min_size=1, max_size=60)


@given(_STEPS, st.floats(0.5, 20), st.floats(50, 200))
def test_no_window_of_time_lets_more_through_than_burst_and_rate(
    steps: list[tuple[float, int]], per_s: float, burst: float
) -> None:
    bucket, now_s, taken = Bucket(per_s, burst, burst, 0.0), 0.0, []
    for pause_s, amount in steps:
        now_s += pause_s
        if bucket.take(amount, now_s) == 0:
            taken.append((now_s, amount))
    for at, (since_s, _) in enumerate(taken):
        total = 0
        for until_s, amount in taken[at:]:
            total += amount
            assert total <= burst + per_s * (until_s - since_s) + 1e-6


@given(_STEPS, st.floats(0.5, 20), st.floats(50, 200))
def test_what_is_sent_after_the_wait_it_was_told_is_let_through(
    steps: list[tuple[float, int]], per_s: float, burst: float
) -> None:
    bucket, now_s = Bucket(per_s, burst, burst, 0.0), 0.0
    for pause_s, amount in steps:
        now_s += pause_s
        wait_s = bucket.take(amount, now_s)
        if wait_s > 0:
            now_s += wait_s + 1e-6
            assert bucket.take(amount, now_s) == 0


def test_more_than_the_burst_is_let_through_once_and_leaves_a_debt() -> None:
    bucket = Bucket(10.0, 100.0, 100.0, 0.0)
    assert bucket.take(150, 0.0) == 0
    assert bucket.take(1, 0.0) > 5.0
    assert bucket.take(1, 5.2) == 0


def test_a_clock_that_goes_back_gains_nothing() -> None:
    bucket = Bucket(10.0, 10.0, 10.0, 1_000.0)
    assert bucket.take(10, 1_000.0) == 0
    assert bucket.take(1, 0.0) > 0
    assert bucket.take(1, -1_000.0) > 0


def test_each_credential_has_its_own_buckets_and_few_are_kept() -> None:
    rates = Rates(RatePolicy(requests_per_s=1.0, requests_burst=2.0, credentials=10))
    assert [rates.request("a", 0.0) for _ in range(2)] == [0.0, 0.0]
    assert rates.request("a", 0.0) == 1.0
    assert rates.request("b", 0.0) == 0.0
    for number in range(1_000):
        rates.request(f"t-{number}", 0.0)
    assert len(rates) == 10


LOCK = LockoutPolicy(free_failures=3, window_s=60, first_s=2, longest_s=100, addresses=50, all_failures=1_000)


def guesses(
    lockout: Lockout, count: int, address: str = "192.0.2.1", now_s: float = 0.0, salt: str = ""
) -> list[float]:
    return [lockout.failed(address, f"{salt}{now_s}-{at}".encode(), now_s) for at in range(count)]


def test_guessing_locks_and_each_further_guess_doubles_the_lock() -> None:
    lockout = Lockout(LOCK)
    assert guesses(lockout, 3) == [0.0, 0.0, 2.0]
    now_s, waits = 2.001, []
    for _ in range(9):
        waits.append(lockout.failed("192.0.2.1", f"{now_s}".encode(), now_s))
        now_s += waits[-1] + 0.001
    assert [round(wait) for wait in waits] == [4, 8, 16, 32, 64, 100, 100, 100, 100]


def test_what_comes_during_a_lock_makes_it_no_longer() -> None:
    lockout = Lockout(LOCK)
    guesses(lockout, 3)
    assert guesses(lockout, 500, now_s=1.0) == [1.0] * 500
    assert lockout.failed("192.0.2.1", b"later", 2.5) == 4.0


def test_the_same_wrong_credential_again_is_no_guess() -> None:
    lockout = Lockout(LOCK)
    assert [lockout.failed("192.0.2.1", b"expired", at * 1.0) for at in range(50)] == [0.0] * 50


def test_the_brake_is_for_all_addresses_and_ends_with_its_window() -> None:
    lockout = Lockout(LockoutPolicy(free_failures=3, first_s=50, all_failures=10))
    for at in range(10):
        guesses(lockout, 2, f"198.51.100.{at}", 3.0, str(at))
    assert lockout.failed("203.0.113.1", b"any", 4.0) > 0
    assert lockout.failed("203.0.113.1", b"any", 64.0) == 0


def test_a_wards_expired_phones_are_no_guessing() -> None:
    """Each asks once a minute, as phones do: from the second minute on nothing that they say is new."""
    lockout = Lockout(LockoutPolicy())
    phones = [f"phone-{number}".encode() for number in range(100)]
    waits = [lockout.failed("192.0.2.1", phone, 60.0 * turn) for turn in range(2_000) for phone in phones]
    assert not any(waits[-100:])


def test_an_address_that_was_quiet_for_long_begins_anew() -> None:
    lockout = Lockout(LOCK)
    guesses(lockout, 3)
    assert guesses(lockout, 3, now_s=200.0) == [0.0, 0.0, 2.0]
    lockout = Lockout(LOCK)
    assert guesses(lockout, 2) == guesses(lockout, 2, now_s=61.0) == [0.0, 0.0]


@given(st.lists(st.tuples(st.ip_addresses().map(str), st.booleans(), st.floats(0, 1e6)), max_size=300))
def test_memory_is_bounded_whoever_comes(steps: list[tuple[str, bool, float]]) -> None:
    lockout = Lockout(LOCK)
    for address, same, now_s in steps:
        wait_s = lockout.failed(address, b"same" if same else b"%f" % now_s, now_s)
        assert 0 <= wait_s <= max(LOCK.longest_s, 1e6)
    assert len(lockout) <= LOCK.addresses


def test_addresses_are_grouped_by_subscriber() -> None:
    assert group("2001:db8:1:2:3:4:5:6") == group("2001:db8:1:2::9") == "2001:db8:1:2::"
    assert group("2001:db8:1:3::9") != group("2001:db8:1:2::9")
    assert group("::ffff:192.0.2.1") == group("192.0.2.1") == "192.0.2.1"
    assert group("fe80::1%eth0") == "fe80::"
    assert group("") == group("unix") == "unknown"


@given(st.lists(st.text(max_size=80), max_size=3))
def test_a_request_id_is_opaque_whatever_was_sent(given_ids: list[str]) -> None:
    name = request_id(given_ids)
    assert is_opaque(name)
    assert name in given_ids or re.fullmatch("[0-9a-f]{32}", name)


def test_a_request_id_comes_back_where_there_is_exactly_one() -> None:
    assert request_id(["abc-1"]) == "abc-1"
    assert request_id(["abc-1", "abc-2"]) not in {"abc-1", "abc-2"}
    assert request_id(["a\r\nset-cookie: x=1"]).isalnum()


_PARENTS = st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True)


@given(st.one_of(st.text(max_size=80), _PARENTS))
def test_a_step_of_its_own_in_any_trace(given_parent: str) -> None:
    own = traceparent([given_parent])
    found = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0[01]", own)
    assert found is not None
    assert int(found[1], 16)
    assert int(found[2], 16)
    assert found[2] not in given_parent


def test_a_trace_goes_on_and_a_broken_one_does_not() -> None:
    parent = "00f067aa0ba902b7"
    for good, flags in ((f"00-{TRACE}-{parent}-01", "01"), (f"00-{TRACE}-{parent}-00", "00"),
                        (f"cc-{TRACE}-{parent}-03-what-comes", "01")):  # fmt: skip
        own = traceparent([good])
        assert own.startswith(f"00-{TRACE}-")
        assert own.endswith(flags)
        assert parent not in own
    for bad in (f"ff-{TRACE}-{parent}-01", f"00-{TRACE}-{parent}-01-more", f"00-{'0' * 32}-{parent}-01",
                f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{parent}-01",
                f"00-{TRACE}-{parent}-01\n"):  # fmt: skip
        assert TRACE not in traceparent([bad])
    assert TRACE not in traceparent([f"00-{TRACE}-{parent}-01"] * 2)
