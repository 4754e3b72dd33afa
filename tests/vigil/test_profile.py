"""`vigil profile` as a person uses it, over a real PostgreSQL."""

from pathlib import Path

import pytest

from stream.policy_file.profile import read_profile
from tests.conftest import REPO
from tests.timeseries.making import query
from tests.vigil.saying import Command
from vigil.commands.profile import app

EXAMPLE = REPO / "fixtures" / "policies" / "profile.toml"
WHO = ("--by", "clinician-7", "--reason", "case 1")


COMMAND = Command(app)
run, said, refusal = COMMAND.run, COMMAND.said, COMMAND.refusal


def test_a_profile_is_set_shown_changed_and_ended(url: str, tmp_path: Path) -> None:
    assert "no profile of p1 holds" in said("show", "p1")
    assert "no profile of p1 was ever set" in said("history", "p1")
    assert "profile version 1 of p1 holds" in said("set", "p1", str(EXAMPLE), *WHO)
    shown = said("show", "p1")
    assert read_profile(shown) == read_profile(EXAMPLE.read_bytes()), "what is shown is a file that can be set"
    other = tmp_path / "other.toml"
    other.write_text("pacemaker = true\n")
    assert "profile version 2" in said("set", "p1", str(other), "--by", "clinician-8", "--reason", "case 2")
    assert "pacemaker = true" in said("show", "p1")
    assert "profile version 2 of p1 has ended" in said("end", "p1", "--by", "clinician-9", "--reason", "moved")
    told = said("history", "p1")
    for word in (
        "clinician-7",
        "clinician-8",
        "clinician-9",
        "case 1",
        "case 2",
        "moved",
        "pacemaker = true",
        "[limits.spo2]",
    ):
        assert word in told
    assert "no profile of that patient holds" in refusal("end", "p1", *WHO)
    assert query(url, "SELECT count(*) FROM care_profiles WHERE valid_to IS NULL") == [(0,)]


WRONG = {
    "age_band = 'ageless'": ":1: age_band: input should be 'child', 'adult' or 'old'",
    "pregnant = 'yes'": ":1: pregnant: input should be a valid boolean",
    "pregnant = 1": ":1: pregnant: input should be a valid boolean",
    "oxygen_target = 92": ":1: oxygen_target: unknown key; did you mean oxygen?",
    "version = 3": ":1: version: the version is counted, not written",
    "spo2_scale = 3": ":1: spo2_scale: input should be 1 or 2",
    "review_by = 'Dr. Anna Muster'": ":1: review_by: not an opaque id",
    "[limits.spo2]\nlow = '88'": ":2: limits.spo2.low: input should be a valid number",
    "[limits.spo2]\nlow = 88\nhigh = 80": ":1: limits.spo2: the low limit lies below the high one",
    "[limits.spo2]\nlowest = 88": ":2: limits.spo2.lowest: unknown key; did you mean low?",
    "[limits.heart_rate]\nlow = 5": ":2: limits.heart_rate.low: heart_rate lies within 20 to 300 /min",
    "[limits.steps]\nlow = 5": ":1: limits.steps: no vital that can have limits; ",
    "[sleeping_limits.sp02]\nlow = 5": ":1: sleeping_limits.sp02: no vital that can have limits; did you mean spo2?",
    "[limits": ":1: no TOML: ",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_has_its_line_and_field(url: str, tmp_path: Path, text: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    told = refusal("set", "p1", str(file), *WHO)
    assert told.startswith(f"{file}{WRONG[text]}"), told
    assert len(told.splitlines()) == 1
    assert "Muster" not in told
    assert query(url, "SELECT count(*) FROM care_profiles") == [(0,)]


def test_all_that_is_wrong_is_told_at_once(url: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("\n".join(text for text in WRONG if "[" not in text and "= 1" not in text).replace("'yes'", "'no'"))
    lines = [
        line.removeprefix(f"{file}:").partition(":")[0] for line in refusal("set", "p1", str(file), *WHO).splitlines()
    ]
    assert lines == ["1", "2", "3", "4", "5", "6"]


def test_names_are_refused(url: str) -> None:
    assert "must be 1 to 64 letters" in refusal("set", "Anna Muster", str(EXAMPLE), *WHO)
    assert "must be 1 to 64 letters" in refusal("set", "p1", str(EXAMPLE), "--by", "Dr. Muster", "--reason", "r")
    assert "say why" in refusal("set", "p1", str(EXAMPLE), "--by", "u-1", "--reason", "")
