"""Whatever somebody types: a policy, or errors that each name file and line; never a traceback."""

import re
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.policy_file.faults import FileRefused
from stream.policy_file.policies import policies_of
from stream.policy_file.profile import read_profile
from tests.conftest import REPO
from tests.stream.policy_file.making import HEAD, SECTIONS

EXAMPLES = REPO / "fixtures" / "policies"
LINES = [
    *HEAD.splitlines(), *(EXAMPLES / "wards.toml").read_text().splitlines(),
    *(EXAMPLES / "default.toml").read_text().splitlines()[:60], *(EXAMPLES / "profile.toml").read_text().splitlines(),
    "[detectors.tired]", "window_s = 3", "bands_per_min = [1, 2]", "pair = [1]", "[detectors.tired.timing]",
    "suppressed_by = ['workout']", "timing = 3", "members = 3", "ward = 3", "patient = []", "limits = { a = 1 }",
    "[[limits]]", "[[ward.x]]", "[staffed.days]", "engine.lateness_s = -inf", "start = 1979-05-27T07:32:00Z",
]  # fmt: skip
SCRAPS = [
    "",
    "\n",
    "#",
    '"',
    "'",
    "=",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    '"""',
    "1e999",
    "nan",
    "true",
    "-",
    "\\u0000",
    "\x00",
    "é",
    "\r\n",
]
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from([*SCRAPS, *LINES])), max_size=6)


def edited(text: str, edits: list[tuple[float, int, str]]) -> str:
    for where, drop, put in edits:
        at = int(where * len(text))
        text = text[:at] + put + text[at + drop :]
    return text


def tried(text: str) -> None:
    last = text.count("\n") + 1
    for read in (lambda: policies_of(text, "f.toml", SECTIONS), lambda: read_profile(text, "f.toml")):
        refused = refusal(read)
        if refused is not None:
            assert refused.faults
            assert all(1 <= fault.line <= last and fault.discreet for fault in refused.faults)
            assert all(re.match(r"f\.toml:\d+: .+", line) for line in str(refused).split("\n")), str(refused)


def refusal(read: Callable[[], Any]) -> FileRefused | None:
    try:
        read()
    except FileRefused as error:
        return error
    return None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=25), EDITS)
def test_lines_in_any_order(lines: list[str], edits: list[tuple[float, int, str]]) -> None:
    tried(edited("\n".join(lines), edits))


@settings(max_examples=200, deadline=None)
@given(EDITS)
def test_a_right_file_that_somebody_typed_into(edits: list[tuple[float, int, str]]) -> None:
    tried(edited((EXAMPLES / "wards.toml").read_text(), edits))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for read in (policies_of, read_profile):
        refused = refusal(lambda: read(data, "f.toml"))  # noqa: B023 - called at once
        assert refused is None or all(line.startswith("f.toml:") for line in str(refused).split("\n"))
