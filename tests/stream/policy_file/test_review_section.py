"""`[review]`: when a change of behaviour counts, for everybody, a ward, a patient; errors by line and field."""

import pytest

from stream.detectors.behaviour_review import ReviewPolicy
from stream.policy_file.faults import FileRefused
from stream.policy_file.policies import built_in, policies_of

TEXT = """version = 2
label = "ours"

[review]
decision_sd = 9.0

[ward.rehab]
members = ["p-1", "p-2"]
review.slack_sd = 0.5

[patient.p-2.review]
reference_days = 42
"""


def test_without_a_file_the_program_says_when() -> None:
    assert built_in().review_of("p-1") == ReviewPolicy()


def test_the_nearer_wins_field_by_field() -> None:
    held = policies_of(TEXT)
    told = {one: held.review_of(one).change for one in ("p-9", "p-1", "p-2")}
    stated = {one: (own.decision_sd, own.slack_sd, own.reference_days) for one, own in told.items()}
    assert stated == {"p-9": (9.0, 1.0, 28), "p-1": (9.0, 0.5, 28), "p-2": (9.0, 0.5, 42)}
    sources = {one.path: one.source for one in held.effective("p-2") if one.path[0] == "review"}
    assert (sources["review", "decision_sd"], sources["review", "clear_days"]) == ("deployment", "default")
    assert (sources["review", "slack_sd"], sources["review", "reference_days"]) == ("ward rehab", "patient p-2")


@pytest.mark.parametrize(
    ("before", "after", "line", "says"),
    [
        ("decision_sd = 9.0", "decision_sd = 2.0", 5, "review.decision_sd: decision_sd is at least clip_sd"),
        ("decision_sd = 9.0", "decision_sd = 'nine'", 5, "review.decision_sd: "),
        ("decision_sd = 9.0", "decisions = 9.0", 5, "review.decisions: unknown key; did you mean decision_sd?"),
        ("reference_days = 42", "reference_days = 7", 12, "reference_days is at least 14"),
        ("slack_sd = 0.5", "slack_sd = 3.5", 9, "clip_sd is above slack_sd"),
        ("slack_sd = 0.5", "enabled = false", 9, "unknown key"),
    ],
)
def test_what_makes_no_sense_has_its_line_and_field(before: str, after: str, line: int, says: str) -> None:
    with pytest.raises(FileRefused) as refused:
        policies_of(TEXT.replace(before, after), "ours.toml")
    told = str(refused.value)
    assert f"ours.toml:{line}: " in told, told
    assert says in told
