"""What is wrong with a file is told by line and field, all of it at once, and what is allowed there."""

from pathlib import Path

import pytest

from stream.policy_file.document import MAX_BYTES, MAX_LINE
from stream.policy_file.faults import Fault, FileRefused
from stream.policy_file.policies import policies_of
from stream.policy_file.reading import read_bounded
from tests.stream.policy_file.making import HEAD, SECTIONS


def told(text: str | bytes) -> list[str]:
    with pytest.raises(FileRefused) as refused:
        policies_of(text, "f.toml", SECTIONS)
    return str(refused.value).splitlines()


ALIKE = 'side = "above"\nthreshold = 300\nclear = 250\npriority = "medium"\n'
WRONG = {
    "a limit with its clear beyond": (
        "[limits.spo2_low.spo2]\nclear = 80\n",
        "f.toml:4: limits.spo2_low.spo2.clear: rule spo2_low: the clearing limit lies beyond the limit",
    ),
    "half a pair": (
        "[limits.spo2_low.spo2]\nasleep_threshold = 80\n",
        "f.toml:4: limits.spo2_low.spo2.asleep_threshold: rule spo2_low: asleep_threshold and asleep_clear belong",
    ),
    "an age at which nothing would page": (
        "[limits.spo2_low.spo2]\nmax_age_s = 0\n",
        "f.toml:4: limits.spo2_low.spo2.max_age_s: max_age_s lies within 60 to 14400",
    ),
    "an age at which last week would page": (
        '[patient."p-1".limits.spo2_low.spo2]\nmax_age_s = 1e9\n',
        'f.toml:4: patient.p-1.limits.spo2_low.spo2.max_age_s: max_age_s lies within 60 to 14400',
    ),
    "a delay that nobody lives to see": (
        "[limits.spo2_low.spo2]\ntiming.delay_s = 1e12\n",
        "f.toml:4: limits.spo2_low.spo2.timing.delay_s: delay_s lies within 0 to 86400",
    ),
    "memory without a bound": (
        "[engine]\nmax_waiting = 100000000\n",
        "f.toml:4: engine.max_waiting: max_waiting lies within 16 to 4096",
    ),
    "the synthetic patient": (
        '[patient."vigil-synthetic".limits.spo2_low.spo2]\nthreshold = 89\n',
        "f.toml:3: patient.vigil-synthetic: vigil-synthetic is the synthetic patient, which no policy changes",
    ),
    "the synthetic patient in a ward": (
        '[ward.a]\nmembers = ["p1", "vigil-synthetic"]\n',
        "f.toml:4: ward.a.members.1: vigil-synthetic is the synthetic patient, which no policy changes",
    ),
    "a misspelt key": (
        "[limits.spo2_low.spo2]\ntreshold = 80\n",
        "f.toml:4: limits.spo2_low.spo2.treshold: unknown key; did you mean threshold or asleep_threshold?",
    ),
    "a key that is none": (
        "[engine]\nbogus = 1\n",
        "f.toml:4: engine.bogus: unknown key; there are ",
    ),
    "a rule's version": (
        "[limits.spo2_low.spo2]\nversion = 7\n",
        "f.toml:4: limits.spo2_low.spo2.version: version follows from where the rule stands",
    ),
    "a metric that is none": (
        "[limits.spo2_low.sp02]\nthreshold = 80\n",
        "f.toml:3: limits.spo2_low.sp02: no metric of the catalogue; did you mean spo2?",
    ),
    "a text for a number": (
        '[limits.spo2_low.spo2]\nthreshold = "80"\n',
        "f.toml:4: limits.spo2_low.spo2.threshold: input should be a valid number",
    ),
    "a boolean for a number": (
        "[limits.spo2_low.spo2]\nthreshold = true\n",
        "f.toml:4: limits.spo2_low.spo2.threshold: input should be a valid number",
    ),
    "no number": (
        "[limits.spo2_low.spo2]\nthreshold = nan\n",
        "f.toml:4: limits.spo2_low.spo2.threshold: input should be a finite number",
    ),
    "a part for a whole number": (
        "[limits.spo2_low.spo2.timing]\nmin_samples = 2.5\n",
        "f.toml:4: limits.spo2_low.spo2.timing.min_samples: input should be a valid integer",
    ),
    "a word that is none": (
        '[limits.spo2_low.spo2]\nside = "under"\n',
        "f.toml:4: limits.spo2_low.spo2.side: input should be 'above' or 'below'",
    ),
    "beyond what the metric can mean": (
        "[limits.heart_rate_high.heart_rate]\nthreshold = 500\n",
        "f.toml:4: limits.heart_rate_high.heart_rate.threshold: heart_rate lies within 20 to 300 /min",
    ),
    "out of a dataclass's bounds": (
        "[detectors.tired]\nwindow_s = 5\n",
        "f.toml:4: detectors.tired.window_s: window_s is at least 10",
    ),
    "out of bounds further in": (
        "[detectors.tired.timing]\ndelay_s = -1\n",
        "f.toml:4: detectors.tired.timing.delay_s: ",
    ),
    "a detector that is none": (
        "[detectors.tred]\nwindow_s = 5\n",
        "f.toml:3: detectors.tred: unknown key; did you mean tired?",
    ),
    "a new rule without a limit": (
        '[limits.mine.spo2]\nside = "below"\n',
        "f.toml:3: limits.mine.spo2: a rule that is no default needs threshold, clear, priority too",
    ),
    "two rules alike": (
        f"[limits.mine.glucose]\n{ALIKE}[limits.yours.glucose]\n{ALIKE}",
        "f.toml:8: limits.yours.glucose: two rules alike: mine watches glucose in the same way",
    ),
    "one name for two kinds of rule": (
        "[signals.spo2_low.spo2]\ntiming.delay_s = 5\n",
        "f.toml:4: signals.spo2_low.spo2.timing.delay_s: limits has a rule of this name on spo2 already",
    ),
    "a patient in two wards": (
        '[ward.a]\nmembers = ["p1"]\n[ward.b]\nmembers = [\n  "p2",\n  "p1",\n]\n',
        "f.toml:8: ward.b.members.1: this patient is a member already, in line 4: a patient is in one ward",
    ),
    "a ward without members": (
        "[ward.a.engine]\nlateness_s = 3\n",
        "f.toml:3: ward.a: members is missing",
    ),
    "a ward's value, where it stands": (
        '[ward.a]\nmembers = ["p1"]\n[ward.a.limits.spo2_low.spo2]\nthreshold = 95\n',
        "f.toml:6: ward.a.limits.spo2_low.spo2.threshold: rule spo2_low: the clearing limit lies beyond the limit",
    ),
    "a patient's value, where it stands": (
        '[patient."p.1".staffed]\nzone = "Mars/Base"\n',
        'f.toml:4: patient."p.1".staffed.zone: zone is no zone of the IANA database',
    ),
    "an engine out of bounds": (
        "[engine]\nsettle_every_s = 0\n",
        "f.toml:4: engine.settle_every_s: settle_every_s lies within 1 to 300",
    ),
    "a day twice": ('[staffed]\ndays = ["mon", "mon"]\n', "f.toml:4: staffed.days: days names a day twice"),
    "a name for a contact": (
        '[staffed]\ncontact = "Dr. A. B."\n',
        "f.toml:4: staffed.contact: contact is an opaque id",
    ),
    "no TOML": ("[limits\n", "f.toml:3: no TOML: "),
    "a table twice": ("[engine]\n\n[engine]\n", "f.toml:5: no TOML: Cannot declare"),
    "an unfinished end": ('x = "', "f.toml:3: no TOML: "),
    "tables too deep": (f"x = {'[' * 20}{']' * 20}\n", "f.toml:3: x.0.0.0.0.0.0.0: tables lie at most 8 deep"),
    "tables beyond reading": (f"x = {'[' * 3000}\n", "f.toml:1: no TOML that can be read"),
    "a long line": (f"x = '{'x' * MAX_LINE}'\n", f"f.toml:3: the line is longer than {MAX_LINE} characters"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG)
def test_one_error_has_its_line_and_field(text: str, says: str) -> None:
    (line,) = told(HEAD + text)
    assert line.startswith(says)


def test_all_errors_are_told_at_once() -> None:
    lines = told("""version = "x"
[limits.spo2_low.spo2]
threshold = 500
treshold = 1
[limits.mine.spo2]
side = "below"
[detectors.tired]
window_s = 1
[ward.a]
members = ["p1"]
engine.settle_every_s = 0
[patient.p1.limits.spo2_low.spo2]
clear = 20
""")
    assert [line.partition(": ")[0] for line in lines] == [f"f.toml:{n}" for n in (1, 1, 3, 4, 5, 8, 11, 13)]


def test_a_file_that_is_no_text_or_too_large() -> None:
    assert told(b'version = 1\nlabel = "\xff"\n') == ["f.toml:2: the file is no UTF-8 text"]
    assert told(b"#" * (MAX_BYTES + 1)) == ["f.toml:1: the file is larger than 1024 KiB"]
    huge = "9" * 30
    assert told(f"{HEAD}[engine]\nlateness_s = {huge}\nmax_waiting = {huge}\n") == [
        "f.toml:4: engine.lateness_s: input should be less than or equal to 1000000000000",
        "f.toml:5: engine.max_waiting: input should be less than or equal to 2147483647",
    ]


def test_no_error_quotes_a_value() -> None:
    secret = "Anna-Muster-1970"
    for text, _ in WRONG.values():
        assert secret not in "".join(told(HEAD + text))
    shown = told(
        f'{HEAD}[limits.spo2_low.spo2]\nside = "{secret}"\nthreshold = "{secret}"\n[staffed]\nzone = "{secret}"\n'
    )
    assert len(shown) == 3
    assert secret not in "".join(shown)


def test_a_log_names_neither_people_nor_what_was_made_up() -> None:
    unknown = Fault(7, ("patient", "p-1", "limits", "spo2_low", "spo2", "Anna"), "unknown_key", "")
    assert unknown.discreet == "patient.*.limits.spo2_low.spo2"
    assert Fault(7, ("ward", "north", "engine", "lateness_s"), "value", "").discreet == "ward.*.engine.lateness_s"
    assert Fault(1, (), "syntax", "").discreet == "(file)"


def test_a_byte_order_mark_is_no_error() -> None:
    assert policies_of(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode()).label == policies_of(HEAD).label


def test_no_more_of_a_file_is_read_than_a_policy_may_have(tmp_path: Path) -> None:
    with (tmp_path / "huge.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FileRefused, match="larger than 1024 KiB"):
        policies_of(read_bounded(tmp_path / "huge.toml"))
