"""Nothing that comes from data ends up unescaped: whatever the text, the page's markup is the same."""

from dataclasses import replace
from datetime import UTC, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.access import Session
from console.board_view import board_view
from console.chart_view import RANGES
from console.moment import Now
from console.patient_view import patient_view
from console.render import templates
from tests.console.conftest import NOW
from tests.console.looking import structure, words
from tests.console.world import FakeReader, Sample, World, alert, stored
from timeseries.console_model import Overview, PatientRecord, StoredAlert, Totals

HOSTILE = st.one_of(
    st.text(min_size=1, max_size=60),
    st.sampled_from(
        ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'-alert(1)-'", "</title><svg/onload=x>",
         "{{ 7 * 7 }}", "{% raw %}", "&lt;b&gt;", "]]>", "--><!--", "javascript:alert(1)", "\x00<b>", "\u2028<b>"]
    ),
)  # fmt: skip
SEEN = Now(NOW, UTC)
SHARED = {
    "session": Session("sid", "", 0),
    "form_token": "0" * 64,
    "signed_in": False,
    "can_acknowledge": True,
    "path": "/",
    "notice": "",
}


def hostile_alert(text: str, *, seen: bool) -> StoredAlert:
    base = stored(alert("p-1", NOW, readings=[(NOW, 130.0), (NOW + timedelta(seconds=5), 131.0)]), "n-1", NOW)
    evidence = dict(base.evidence) | {"unit": text[:20]}
    return replace(
        base,
        alert_id=f"{seen}{text}",
        patient_id=text,
        rule=text,
        sentence=text,
        evidence=evidence,
        acknowledged_by=text if seen else None,
        acknowledged_at=NOW if seen else None,
    )


def _both(text: str) -> tuple[StoredAlert, ...]:
    return hostile_alert(text, seen=True), hostile_alert(text, seen=False)


def board_page(text: str) -> str:
    overview = Overview(Totals(1, 0, {"medium": 1}, {}), _both(text), (text,), ())
    view = board_view(overview, (), SEEN, 1, 60)
    return templates().get_template("board.html").render(board=view, now=SEEN.moment(NOW), **SHARED)


def patient_page(text: str) -> str:
    sample = Sample("p-1", "heart_rate", NOW - timedelta(minutes=1), 70, device="strap")
    values = FakeReader(World(samples=[sample]))._latest(["p-1"])
    latest = tuple(replace(value, patient_id=text, device_id=text, source_app=text) for value in values)
    view = patient_view(PatientRecord(text, latest, _both(text)), (), RANGES["1h"], SEEN)
    return templates().get_template("patient.html").render(
        patient=view, shown=RANGES["1h"], ranges=RANGES.values(), now=SEEN.moment(NOW), **SHARED
    )  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(text=HOSTILE)
def test_no_text_changes_the_markup(text: str) -> None:
    for page in (board_page, patient_page):
        assert structure(page(text)) == structure(page("harmless"))


def test_the_text_is_still_there_to_read() -> None:
    assert "<script>alert(1)</script>" in words(board_page("<script>alert(1)</script>"))
    assert "{{ 7 * 7 }}" in words(board_page("{{ 7 * 7 }}"))
