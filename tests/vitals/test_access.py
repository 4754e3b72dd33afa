"""Credentials: only the very token opens, every other text costs the same, and nothing prints a secret."""

import hashlib
import hmac
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitals.access import Access, Credential, Kind, NewToken, Principal, is_token_id, new_token, token_id_of
from vitals.ids import DeviceId, PatientId

NOW = 1_800_000_000_000_000
TOKEN = new_token()
_CHARACTERS = string.ascii_letters + string.digits + "_-=. \n\x00é"


def credential(token: NewToken = TOKEN, **changes: Any) -> Credential:
    principal = Principal(token.token_id, Kind.DEVICE, PatientId("p1"), frozenset({DeviceId("d1")}))
    return replace(Credential(principal, token.secret_sha256, NOW + 1), **changes)


def holding(one: Credential) -> Access:
    return Access({one.principal.token_id: one})


def test_the_token_itself_opens() -> None:
    found = holding(credential()).by_token(TOKEN.text, NOW)
    assert found is not None
    assert found.principal.only_device == "d1"
    assert found.principal.may_name(DeviceId("d1"))
    assert not found.principal.may_name(DeviceId("d2"))


@given(st.integers(0, len(TOKEN.text) - 1), st.sampled_from(_CHARACTERS))
def test_any_one_changed_character_is_refused(at: int, other: str) -> None:
    changed = TOKEN.text[:at] + other + TOKEN.text[at + 1 :]
    assert (holding(credential()).by_token(changed, NOW) is not None) == (changed == TOKEN.text)


@given(st.integers(0, len(TOKEN.text)), st.sampled_from(_CHARACTERS))
def test_a_character_too_many_or_too_few_is_refused(at: int, more: str) -> None:
    known = holding(credential())
    assert known.by_token(TOKEN.text[:at] + more + TOKEN.text[at:], NOW) is None
    assert at == len(TOKEN.text) or known.by_token(TOKEN.text[:at] + TOKEN.text[at + 1 :], NOW) is None


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    assert holding(credential()).by_token(text, NOW) is None


def test_a_secret_opens_only_under_its_own_id() -> None:
    other = new_token()
    both = Access({one.token_id: credential(one) for one in (TOKEN, other)})
    assert both.by_token(f"vgl_{other.token_id}_{TOKEN.text[-43:]}", NOW) is None


@pytest.mark.parametrize(
    ("changes", "stands"),
    [
        ({}, True),
        ({"expires_us": NOW}, False),
        ({"revoked_us": NOW}, False),
        ({"revoked_us": NOW - 1}, False),
        ({"revoked_us": NOW + 1}, True),  # the overlap of a rotation
        ({"secret_sha256": None}, False),  # a platform's: its id is no token
        ({"secret_sha256": None, "subject": ("https://issuer.example", "s")}, False),
    ],
)
def test_what_expired_or_was_revoked_is_refused(changes: dict[str, Any], stands: bool) -> None:
    assert (holding(credential(**changes)).by_token(TOKEN.text, NOW) is not None) == stands


def test_a_secret_of_nothing_opens_nothing() -> None:
    """Where no hash is stored, none may fit, not even that of an empty secret or the stand-in's own bytes."""
    for stored in (None, bytes(32)):
        known = holding(credential(secret_sha256=stored))
        assert known.by_token(TOKEN.text, NOW) is None
        assert known.by_token("", NOW) is None
    unknown = Access({"": credential(secret_sha256=hashlib.sha256(b"").digest())})
    assert unknown.by_token(f"vgl_{TOKEN.token_id}_{'A' * 43}", NOW) is None


def test_every_refusal_does_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counting(a: bytes, b: bytes) -> bool:
        done.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    known = holding(credential())
    wrong = TOKEN.text[:-1] + ("A" if TOKEN.text[-1] != "A" else "E")
    texts = [TOKEN.text, wrong, new_token().text, "", "vgl_", "x" * 10_000]
    for text in texts:
        known.by_token(text, NOW)
    fallen: list[dict[str, Any]] = [{"expires_us": 0}, {"revoked_us": 0}, {"secret_sha256": None}]
    for changes in fallen:
        holding(credential(**changes)).by_token(TOKEN.text, NOW)
    assert done == [(32, 32)] * (len(texts) + 3)


def test_a_subject_opens_as_long_as_its_credential_stands() -> None:
    subject = ("https://issuer.example", "ward-7")
    one = credential(secret_sha256=None, subject=subject)
    known = Access({}, {subject: one})
    assert known.by_subject(*subject, NOW) is one
    assert known.by_subject(*subject, NOW + 1) is None
    assert known.by_subject("https://issuer.example/", "ward-7", NOW) is None
    assert known.by_subject("https://issuer.example", "ward-70", NOW) is None


def test_new_tokens_are_of_the_form_and_unlike() -> None:
    made = [new_token() for _ in range(200)]
    assert len({one.text for one in made} | {one.token_id for one in made}) == 400
    for one in made:
        assert token_id_of(one.text) == one.token_id
        assert is_token_id(one.token_id)
        assert hashlib.sha256(one.text[-43:].encode()).digest() == one.secret_sha256
    assert not any(map(is_token_id, ("", "a" * 15, "a" * 17, "A" * 16, "a" * 16 + "\n", TOKEN.text)))


def test_nothing_prints_a_secret() -> None:
    secret = TOKEN.text[-43:]
    for text in map(repr, (TOKEN, credential(), holding(credential()))):
        assert secret not in text
        assert repr(TOKEN.secret_sha256)[2:-1] not in text


def test_a_rotated_token_is_of_the_same_holder() -> None:
    first = credential().principal
    later = replace(first, token_id="b" * 16, lineage=first.holder)
    assert first.holder == later.holder == replace(later, token_id="c" * 16).holder == TOKEN.token_id


def test_a_holder_stands_as_long_as_any_credential_of_the_lineage_does() -> None:
    first, second, platform = new_token(), new_token(), new_token()

    def access(*revoked_us: int | None) -> Access:
        lineage = (Principal(first.token_id, Kind.DEVICE, PatientId("p1")), Principal(
            second.token_id, Kind.DEVICE, PatientId("p1"), lineage=first.token_id))  # fmt: skip
        tokens = {
            who.token_id: Credential(who, b"", NOW, revoked_us=at) for who, at in zip(lineage, revoked_us, strict=True)
        }
        other = Credential(Principal(platform.token_id, Kind.PLATFORM, PatientId("p1")), None, NOW, subject=("i", "s"))
        return Access(tokens, {("i", "s"): other})

    for revoked, holds in (((None, None), True), ((5, None), True), ((5, 20), True), ((5, 10), False)):
        assert access(*revoked).holds(first.token_id, 10) is holds
    assert not access(None, None).holds(first.token_id, NOW)
    assert not access(None, None).holds(second.token_id, 10)
    assert access(5, 5).holds(platform.token_id, 10)
    assert not Access().holds("", 10)
