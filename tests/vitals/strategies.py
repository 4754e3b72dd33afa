"""Sample columns of any content, for property tests."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vitals.batch import SampleColumns
from vitals.catalogue import BY_NUMBER

_TIME = st.integers(-(2**62), 2**62)


def columns(min_size: int = 0, max_size: int = 30, values: st.SearchStrategy[float] | None = None) -> Any:
    """Any samples that the schema can carry: any time, any number, NaN too; ids on some."""
    return st.integers(min_size, max_size).flatmap(lambda n: _columns(n, values or st.floats(width=64)))


@st.composite
def _columns(draw: st.DrawFn, n: int, values: st.SearchStrategy[float]) -> SampleColumns:
    def column(dtype: type, elements: st.SearchStrategy[Any] | None = None) -> Any:
        return draw(hnp.arrays(dtype, n, elements=elements))

    return SampleColumns(
        start_us=column(np.int64, _TIME),
        duration_ms=column(np.int64, st.integers(-(2**40), 2**40)),
        zone_offset_min=column(np.int16),
        metric=column(np.int16, st.sampled_from(sorted(BY_NUMBER))),
        value=column(np.float64, values),
        quality=column(np.float32, st.floats(width=32)),
        context=column(np.int16),
        written_us=column(np.int64, _TIME),
        received_us=column(np.int64, _TIME),
        sample_id=draw(hnp.arrays(np.uint8, (n, 16), elements=st.integers(0, 255))),
        deleted=column(np.bool_),
    )
