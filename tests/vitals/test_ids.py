"""Opaque ids: what may be one, and that an error never repeats what was given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitals.batch import BatchHeader
from vitals.errors import VigilError
from vitals.ids import InvalidId, device_id, is_opaque, patient_id, pseudonym

OPAQUE = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")


@given(OPAQUE)
def test_an_opaque_word_is_kept_as_it_is(word: str) -> None:
    assert patient_id(word) == word
    assert device_id(word) == word
    header = BatchHeader(patient_id(word), device_id(word), word, word)
    assert header.source_app == word


@pytest.mark.parametrize(
    "text", ["Erika Mustermann", "Müller", "", "-p1", ".p1", "p" * 65, "p1\n", "p1 ", "p/1", "a@b.c", "p\x00", "п1"]
)
def test_what_could_be_a_name_is_refused_and_not_repeated(text: str) -> None:
    assert not is_opaque(text)
    for check in (patient_id, device_id):
        with pytest.raises(InvalidId) as refused:
            check(text)
        assert not text.strip() or text.strip() not in str(refused.value)


@pytest.mark.parametrize("field", ["patient_id", "device_id", "source_app", "adapter"])
def test_a_header_names_the_field_and_not_its_content(field: str) -> None:
    words = {"patient_id": "p1", "device_id": "d1", "source_app": "app", "adapter": "ble", field: "Erika Mustermann"}
    with pytest.raises(VigilError, match=field) as refused:
        BatchHeader(**words)  # type: ignore[arg-type]
    assert "Erika" not in str(refused.value)


@given(text=st.text(), other=st.text())
def test_a_pseudonym_is_opaque_stable_and_tells_texts_apart(text: str, other: str) -> None:
    alias = pseudonym(b"key", text, "dev")
    assert is_opaque(alias)
    assert alias == pseudonym(b"key", text, "dev") != pseudonym(b"another key", text, "dev")
    assert (alias == pseudonym(b"key", other, "dev")) == (text == other)


def test_a_pseudonym_stays_the_same_over_releases() -> None:
    # openssl: printf "Erika's Polar H10" | openssl dgst -sha256 -hmac key
    assert pseudonym(b"key", "Erika's Polar H10", "dev") == "dev-3c60211b4bf64eda95e2"
