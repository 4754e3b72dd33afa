"""A state's bytes: back as they were, or refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stream.features.memory import UnreadableState, pack, unpack

arrays = hnp.arrays(
    st.sampled_from([np.float64, np.int64, np.int8, np.float32, np.bool_]), hnp.array_shapes(min_dims=0, min_side=0)
)


@given(st.dictionaries(st.text(max_size=5), arrays, max_size=4))
def test_what_is_packed_comes_back(fields: dict[str, np.ndarray]) -> None:
    if "kind" in fields:
        return
    back = unpack("test/1", pack("test/1", **fields))
    assert list(back) == list(fields)
    for name, field in fields.items():
        assert back[name].dtype == field.dtype
        assert back[name].shape == field.shape
        assert back[name].tobytes() == np.ascontiguousarray(field).tobytes()
        assert back[name].flags.writeable


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadableState):
        unpack("test/1", data)


@given(st.data())
def test_a_damaged_state_is_refused_or_of_the_same_form(data: st.DataObject) -> None:
    whole = pack("test/1", a=np.arange(5), b=np.zeros((2, 3)))
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    for given_ in (damaged, whole[:at]):
        try:
            unpack("test/1", given_)
        except UnreadableState:
            continue
        assert len(given_) == len(whole)


@pytest.mark.parametrize("tail", [b"", b"x"])
def test_another_stages_state_and_trailing_bytes_are_refused(tail: bytes) -> None:
    with pytest.raises(UnreadableState, match=r"test/2|too many"):
        unpack("test/1" if tail else "test/2", pack("test/1", a=np.arange(2)) + tail)


def test_objects_are_refused() -> None:
    whole = pack("t", a=np.zeros(1))
    with pytest.raises(UnreadableState, match="damaged"):
        unpack("t", whole.replace(b"<f8", b"|O8"))
