"""What sensors may send, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.devices.gatt.encoders import Decimal

uint8, uint16, uint24, uint32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 24, 32))
sint16 = st.integers(-(1 << 15), (1 << 15) - 1)
nibble = st.integers(0, 15)
spare = st.binary(max_size=4)

# The mantissas of what is no number are -2048, -2047, -2046, 2046 and 2047 with exponent 0; with others they are.
sfloats = st.builds(Decimal, st.integers(-2045, 2045), st.integers(-8, 7))
floats = st.builds(Decimal, st.integers(-(1 << 23) + 3, (1 << 23) - 3), st.integers(-128, 127))
dates = st.tuples(
    st.integers(1582, 9999), st.integers(1, 12), st.integers(1, 28), st.integers(0, 23), st.integers(0, 59),
    st.integers(0, 59),
)  # fmt: skip
pairs = st.tuples(sfloats, sfloats)
