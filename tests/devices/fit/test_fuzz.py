"""Any bytes are a FIT file or malformed, also behind a CRC that fits."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.fit import ADAPTER
from devices.fit.framing import crc16
from tests.devices.adapting import Told, told
from tests.devices.fit.encode import Fit, at, crc, file_id
from tests.devices.fit.test_fit import T0, record, session

VALID = session(record(record(file_id(Fit(), T0), 0), 1), 1)
for _minute in range(3):
    VALID.message(55, (26, "uint16", _minute), (27, "uint8", 60), (24, "byte", 0x61), local=2)
    VALID.message(275, (253, "uint32", at(T0) + _minute), (0, "enum", 3), local=3)
VALID.message(132, (253, "uint32", at(T0)), (9, "uint32", 1_024), local=4)
VALID.message(132, (10, "byte", [1, 2, 3, 4, 5, 6]), (6, "uint8", (60, 61, 62, 63)), local=5)
VALID.message(207, (3, "uint8", 0), local=6)
VALID.message(206, (0, "uint8", 0), (1, "uint8", 0), (2, "uint8", 2), (3, "string", "x"), local=7)
VALID.message(20, (253, "uint32", at(T0)), (3, "uint8", 120), local=8, dev=[(0, 0, b"\x07")])
BYTES = VALID.data


def sealed(data: bytes) -> bytes:
    """The bytes with size and CRCs that fit."""
    body = data[14:-2]
    head = data[:4] + len(body).to_bytes(4, "little") + b".FIT"
    head = b"\x0e" + head[1:] + crc16(b"\x0e" + head[1:]).to_bytes(2, "little")
    return head + body + crc16(head + body).to_bytes(2, "little")


def read(data: bytes) -> Told:
    return told(ADAPTER, data, fails=True)


def test_the_valid_file_is_valid() -> None:
    assert read(BYTES).error is None
    assert crc16(b"123456789") == crc(b"123456789") == 0xBB3D  # CRC-16/ARC's check value


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(14, len(BYTES) - 3), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutations_behind_a_crc_that_fits(changes: list[tuple[int, int]]) -> None:
    data = bytearray(BYTES)
    for place, value in changes:
        data[place] = value
    read(sealed(bytes(data)))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(BYTES)), st.integers(0, 60), st.binary(max_size=30))
def test_pieces_cut_out_and_put_in(place: int, length: int, put: bytes) -> None:
    changed = BYTES[:place] + put + BYTES[place + length :]
    read(changed)
    read(sealed(changed + bytes(20)))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_body(body: bytes) -> None:
    read(sealed(bytes(14) + body + bytes(2)))
