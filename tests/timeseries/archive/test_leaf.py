"""A leaf says which rows a patient has in a file, whatever the file looks like."""

import hashlib
import json
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.timeseries.archive.making import WORDS, file_rows
from tests.timeseries.making import rows as made_rows
from timeseries.archive_format import Slice, Words, from_arrow, slice_of, to_arrow
from timeseries.archive_leaf import LeafHash, LeafHasher
from timeseries.rows import Rows


def leaves(parts: Sequence[Slice], salt: bytes = b"0123456789abcdef") -> list[LeafHash]:
    hasher = LeafHasher(lambda position, patient: salt)
    for part in parts:
        hasher.add(part)
    return hasher.finish()


def by_hand(rows: Rows, salt: bytes) -> bytes:
    """The canonical form as the module's first lines tell it, of one patient's rows."""
    digests = b""
    for metric in np.unique(rows["metric_key"]):
        for origin in np.unique(rows["origin_key"]):
            series = rows[(rows["metric_key"] == metric) & (rows["origin_key"] == origin)]
            if len(series):
                words = json.dumps(WORDS.of(series[0]), separators=(",", ":")).encode()
                packed = b"".join(struct.pack("<qqqdiiifhhhh", *row.tolist()) for row in series)
                digests += hashlib.sha256(struct.pack(">I", len(words)) + words + packed).digest()
    head = b"vigil archive leaf 1\n" + salt + struct.pack(">Q", len(rows))
    return hashlib.sha256(head + digests).digest()


@given(file_rows(), st.lists(st.integers(0, 24), max_size=5))
def test_the_same_rows_in_other_row_groups_are_the_same_leaves(rows: Rows, cuts: list[int]) -> None:
    whole = leaves([slice_of(rows, WORDS)])
    parts = [slice_of(part, WORDS) for part in np.split(rows, sorted(cuts))]
    assert leaves(parts) == whole
    assert leaves([from_arrow(to_arrow(part)) for part in parts]) == whole
    assert [leaf.position for leaf in whole] == list(range(len(whole)))
    assert sum(leaf.rows for leaf in whole) == len(rows)


@given(file_rows(1))
def test_a_leaf_is_what_it_is_said_to_be(rows: Rows) -> None:
    for leaf in leaves([slice_of(rows, WORDS)]):
        assert leaf.patient_id == WORDS.patients[leaf.patient_key]
        assert leaf.sha256 == by_hand(rows[rows["patient_key"] == leaf.patient_key], leaf.salt)


@given(file_rows(1), st.data())
def test_one_changed_bit_changes_the_leaf_of_its_patient_and_no_other(rows: Rows, data: st.DataObject) -> None:
    part = slice_of(rows, WORDS)
    at = data.draw(st.integers(0, rows.nbytes * 8 - 1))
    changed = bytearray(rows.tobytes())
    changed[at // 8] ^= 1 << at % 8
    patient = rows[at // 8 // rows.itemsize]["patient_key"]
    before = leaves([part])
    after = leaves([Slice(np.frombuffer(changed, rows.dtype), part.starts, part.words)])
    differ = [one.patient_id for one, other in zip(before, after, strict=True) if one.sha256 != other.sha256]
    assert differ == [WORDS.patients[patient]]


@given(file_rows(2), st.data())
def test_a_row_that_is_missing_or_twice_or_elsewhere_changes_the_leaf(rows: Rows, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    whole = {leaf.sha256 for leaf in leaves([slice_of(rows, WORDS)])}
    for other in (np.delete(rows, at), np.insert(rows, at, rows[at])):
        assert {leaf.sha256 for leaf in leaves([slice_of(other, WORDS)])} != whole


@pytest.mark.parametrize("word", range(5))
def test_a_changed_word_changes_the_leaf(word: int) -> None:
    part = slice_of(made_rows(4), WORDS)
    words = [tuple("other" if at == word else one for at, one in enumerate(part.words[0]))]
    assert leaves([part])[0].sha256 != leaves([Slice(part.rows, part.starts, words)])[0].sha256


def test_words_do_not_run_into_each_other() -> None:
    both = (Words({1: "p"}, {1: ("m", "u")}, {1: names}) for names in (("a", "bc"), ("ab", "c")))
    one, other = (leaves([slice_of(made_rows(4), words)])[0].sha256 for words in both)
    assert one != other


def test_the_salt_is_in_the_leaf() -> None:
    part = slice_of(made_rows(4), WORDS)
    assert leaves([part], b"a" * 16)[0].sha256 != leaves([part], b"b" * 16)[0].sha256


def test_one_patient_in_two_places_is_no_file_of_ours() -> None:
    ours, theirs = (slice_of(made_rows(2, patient_key=key), WORDS) for key in (1, 2))
    with pytest.raises(ValueError, match="apart"):
        leaves([ours, theirs, ours])


def test_no_rows_no_leaf() -> None:
    assert leaves([]) == leaves([slice_of(made_rows(0), WORDS)]) == []
