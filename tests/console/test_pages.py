"""What the pages say, over a world in memory and over PostgreSQL."""

from datetime import timedelta
from typing import Any

from alerts.event import Kind, Priority, State
from tests.console.conftest import NOW, Visit, visiting
from tests.console.looking import piece, words
from tests.console.world import FakeReader, Sample, World, alert
from timeseries.console_model import Series
from vitals.quality import Context


def ago(**length: float) -> timedelta:
    return timedelta(**length)


async def test_an_empty_console_says_what_to_do_next(visit: Visit) -> None:
    async with visit(World()) as client:
        page = words((await client.get("/")).text)
    assert "Nobody is being measured yet" in page
    assert "make demo" in page
    assert "not a medical device" in page
    assert "not an alarm or emergency system" in page


async def test_open_alerts_stand_first_the_urgent_and_unseen_before_the_others(visit: Visit) -> None:
    world = World(patients=["p-low", "p-high", "p-seen", "p-calm", "p-medium"])
    at = NOW - ago(minutes=4)
    world.alerts = [
        alert("p-low", at, priority=Priority.LOW, sentence="The low one."),
        alert("p-seen", at, priority=Priority.HIGH, sentence="The seen one."),
        alert("p-medium", at, priority=Priority.MEDIUM, sentence="The medium one."),
        alert("p-high", at, priority=Priority.HIGH, sentence="The high one."),
        alert("p-calm", at, state=State.CLEARED, changed_at=NOW, sentence="The cleared one."),
    ]
    world.acknowledged[world.alerts[1].alert_id] = ("n-417", NOW - ago(minutes=1))
    async with visit(world) as client:
        html = (await client.get("/")).text
    page = words(html)
    places = [page.index(f"The {which} one.") for which in ("high", "medium", "low", "seen")]
    assert places == sorted(places)
    assert "The cleared one." not in page
    assert "Acknowledged by n-417 , 03:11:44 UTC" in page
    cards = [html.index(f'data-key="{who}"') for who in ("p-high", "p-medium", "p-low", "p-seen", "p-calm")]
    assert cards == sorted(cards)
    assert "(3) Vigil" in page


async def test_an_alert_tells_priority_kind_times_and_evidence(visit: Visit) -> None:
    at = NOW - ago(minutes=2)
    readings = [(at + ago(seconds=5 * k), 121.0 + k) for k in range(10)]
    event = alert(
        "p-1", at, readings=readings, priority=Priority.HIGH, changed_at=NOW - ago(seconds=12), retrospective=True
    )
    async with visit(World(patients=["p-1"], alerts=[event])) as client:
        html = piece((await client.get("/")).text, event.alert_id)
    said = words(html)
    for expected in ("High", "Physiological", "Retrospective", "p-1", event.sentence, "03:12:32 UTC", "12 s ago",
                     "limit 120 /min"):  # fmt: skip
        assert expected in said
    assert "the last 10 values, from 121 to 130 /min, limit 120 /min" in html
    assert 'class="limit"' in html


async def test_an_alert_says_why_so_that_a_person_can_judge_it(visit: Visit) -> None:
    at = NOW - ago(minutes=2)
    readings = [(at + ago(seconds=5 * k), 121.0 + k) for k in range(10)]
    event = alert("p-1", at, readings=readings, changed_at=NOW - ago(seconds=12), retrospective=True)
    evidence = event.evidence.model_copy(
        update={"quality": 0.75, "figures": {"longest_s": 42.0, "events_3": 7.0, "last_spo2_at": "03:09"}}
    )
    event = event.model_copy(update={"evidence": evidence, "policy": "ward 4 v3", "rule_version": 2})
    async with visit(World(patients=["p-1"], alerts=[event])) as client:
        said = words(piece((await client.get("/")).text, event.alert_id))
    for expected in (
        "Rule heart_rate_high, version 2", "Limits not individualised", "Policy ward 4 v3", "Device strap-1",
        "Window 03:10:44 UTC to 03:12:32 UTC (2 min)", "Samples 10", "Values 121 to 130, last 130 /min (the newest 10)",
        "Limit 120 /min", "Lowest quality 0.75 of 1", "Longest 42 s", "Events 3 7", "Last SpO2 at 03:09",
        "it is not happening now",
    ):  # fmt: skip
        assert expected in said


async def test_a_cleared_alert_still_says_what_it_was_raised_by(visit: Visit) -> None:
    at = NOW - ago(minutes=20)
    raised = alert("p-1", at, readings=[(at, 131.0)])
    over = alert(
        "p-1", at, state=State.CLEARED, changed_at=NOW - ago(minutes=3), readings=[(NOW - ago(minutes=3), 96.0)],
        sentence="Heart rate is no longer above 120 /min; last value 96 /min.",
    )  # fmt: skip
    world = World(patients=["p-1"], alerts=[over], raised={over.alert_id: raised})
    async with visit(world) as client:
        page = words((await client.get("/patients/p-1")).text)
    history = page[page.index("Priority Raised What State") :]
    assert history.index(raised.sentence) < history.index(over.sentence) < history.index("Values 131 /min")
    assert "Cleared 03:09:44 UTC" in history


async def test_a_cleared_alert_of_which_only_the_end_was_kept_says_that(visit: Visit) -> None:
    over = alert("p-1", NOW - ago(minutes=9), state=State.CLEARED, changed_at=NOW, sentence="It is over.")
    async with visit(World(patients=["p-1"], alerts=[over])) as client:
        page = words((await client.get("/patients/p-1")).text)
    assert page.count("It is over.") == 2  # in the table, and as the name of what opens


async def test_somebody_who_only_tells_beats_is_not_said_to_tell_nothing(visit: Visit) -> None:
    world = World(samples=[Sample("p-1", "rr_interval", NOW - ago(seconds=4), 800)])
    async with visit(world) as client:
        for path in ("/", "/patients/p-1"):
            page = words((await client.get(path)).text)
            assert "No vital sign has arrived" not in page
            assert "Nothing that is measured has a tile here" in page


async def test_a_technical_alert_reads_as_one(visit: Visit) -> None:
    event = alert("p-1", NOW - ago(minutes=2), kind=Kind.TECHNICAL, threshold=None, sentence="Sensor: not measured.")
    async with visit(World(alerts=[event])) as client:
        html = piece((await client.get("/")).text, event.alert_id)
    assert "Technical" in words(html)
    assert "about the measuring, not about the person" in words(html)
    assert "<figure" not in html


async def test_tiles_show_value_unit_age_and_doubt(visit: Visit) -> None:
    world = World(
        samples=[
            Sample("p-1", "heart_rate", NOW - ago(seconds=12), 84),
            Sample("p-1", "spo2", NOW - ago(seconds=3), 93, quality=0.3),
            Sample("p-1", "bp_systolic", NOW - ago(minutes=4), 128),
            Sample("p-1", "bp_diastolic", NOW - ago(minutes=4), 82),
            Sample("p-1", "body_temperature", NOW - ago(hours=3), 37.2),
        ]
    )
    async with visit(world) as client:
        card = words(piece((await client.get("/")).text, "p-1"))
    assert "Heart rate 84 /min 12 s ago" in card
    assert "Oxygen saturation 93 % low quality" in card
    assert "Blood pressure 128/82 mmHg" in card
    assert "Last measured 00:12:44 UTC" in card


async def test_what_was_not_measured_is_never_a_number(visit: Visit) -> None:
    off = int(Context.NO_CONTACT)
    world = World(samples=[Sample("p-1", "heart_rate", NOW - ago(seconds=2), 42, quality=0.0, context=off)])
    async with visit(world) as client:
        board, patient = (await client.get("/")).text, (await client.get("/patients/p-1")).text
    for html in (piece(board, "p-1"), patient):
        said = words(html)
        assert "no contact with the skin" in said
        assert "no value" in said
        assert " 42 " not in said
        assert " 0 /min" not in said


async def test_old_values_are_grey_and_say_since_when(visit: Visit) -> None:
    world = World(samples=[Sample("p-1", "heart_rate", NOW - ago(minutes=20), 84)])
    async with visit(world) as client:
        html = piece((await client.get("/")).text, "p-1")
    assert "tile hero is-stale" in html
    assert "No data since 02:52:44 UTC" in words(html)
    assert 'class="silence"' in html


async def test_a_fresh_trustworthy_device_is_shown_before_a_newer_doubtful_one(visit: Visit) -> None:
    world = World(
        samples=[
            Sample("p-1", "heart_rate", NOW - ago(seconds=9), 71, device="strap-a"),
            Sample("p-1", "heart_rate", NOW - ago(seconds=1), 190, quality=0.1, device="watch-b"),
        ]
    )
    async with visit(world) as client:
        assert "Heart rate 71 /min" in words(piece((await client.get("/")).text, "p-1"))


async def test_patients_come_in_pages(visit: Visit) -> None:
    world = World(patients=[f"p-{k:03}" for k in range(75)])
    async with visit(world) as client:
        first, second = (await client.get("/")).text, (await client.get("/?page=2")).text
        beyond, nonsense = await client.get("/?page=9"), await client.get("/?page=<b>")
    assert first.count("<article") == 60
    assert second.count("<article") == 15
    assert "Page 2 of 2" in words(second)
    assert "This page is empty" in words(beyond.text)
    assert nonsense.status_code == 422
    assert "<b>" not in nonsense.text.partition("<main")[2].partition("</main>")[0]


async def test_a_gap_is_seen_as_a_gap(visit: Visit) -> None:
    times = [k for k in range(0, 3_600, 10) if not 1_200 <= k < 2_100]
    world = World(samples=[Sample("p-1", "heart_rate", NOW - ago(seconds=k + 1), 70 + k % 7) for k in times])
    async with visit(world) as client:
        html = (await client.get("/patients/p-1")).text
    assert "1 gap without trustworthy data, the longest 15 min" in words(html)
    assert html.count('class="gap"') == 1
    line = html.partition('class="line trace-0" d="')[2].partition('"')[0]
    assert line.count("M") == 2


async def test_two_devices_are_two_lines(visit: Visit) -> None:
    world = World(
        samples=[
            Sample("p-1", "heart_rate", NOW - ago(seconds=20 * k + 1), 70 + 9 * (device == "watch"), device=device)
            for k in range(150)
            for device in ("strap", "watch")
        ]
    )
    async with visit(world) as client:
        html = (await client.get("/patients/p-1")).text
    assert 'class="line trace-0"' in html
    assert 'class="line trace-1"' in html
    assert "70 to 79 /min" in words(html)


async def test_ranges_and_the_table_of_alerts(visit: Visit) -> None:
    samples = [Sample("p-1", "heart_rate", NOW - ago(minutes=2 * k + 1), 70) for k in range(180)]
    cleared = alert("p-1", NOW - ago(hours=2), state=State.CLEARED, changed_at=NOW - ago(hours=1), sentence="Over.")
    async with visit(World(samples=samples, alerts=[cleared])) as client:
        six, day, wrong = [await client.get(f"/patients/p-1?range={word}") for word in ("6h", "24h", "7y")]
    assert 'aria-current="true">6 hours' in six.text
    assert "Over." in words(six.text)
    assert "Cleared 02:12:44 UTC" in words(six.text)
    assert "gap without trustworthy data" in words(day.text)
    assert wrong.status_code == 404


async def test_a_chart_says_what_its_points_are_and_dates_its_axis(visit: Visit) -> None:
    world = World(samples=[Sample("p-1", "heart_rate", NOW - ago(hours=7 * k + 1), 60 + k % 20) for k in range(600)])
    said = {"1h": "15 seconds, made from single samples", "24h": "5 minutes, made from 1-minute values",
            "7d": "15 minutes, made from 15-minute values", "30d": "1 hour, made from hourly values",
            "1y": "6 hours, made from hourly values"}  # fmt: skip
    axes = {"24h": "22:24", "7d": "24 Jul", "30d": "24 Jun", "1y": "Jul 2025"}
    async with visit(world) as client:
        pages = {word: (await client.get(f"/patients/p-1?range={word}")).text for word in said}
    for word, resolution in said.items():
        assert f"One point is the mean of {resolution}" in words(pages[word])
    for word, label in axes.items():
        assert f"<span>{label}</span>" in pages[word].partition('class="x"')[2].partition("</div>")[0]
        assert f"{said[word]}; bands" in pages[word].partition('role="img"')[2].partition(">")[0], (
            "for who can't see it"
        )


async def test_long_charts_are_not_asked_for_at_every_change() -> None:
    world = World(samples=[Sample("p-1", "heart_rate", NOW - ago(minutes=k + 1), 70) for k in range(90)])
    reader = FakeReader(world)
    asked: list[int] = []
    answer = reader.series

    async def counting(*given: Any) -> tuple[Series, ...]:
        asked.append(given[-1])
        return await answer(*given)

    reader.series = counting  # type: ignore[assignment]
    async with visiting(reader) as client:
        for word in ("30d", "1h", "30d", "1h", "30d"):
            assert (await client.get(f"/patients/p-1?range={word}")).status_code == 200
    assert sorted(asked) == [15, 15, 3_600]


async def test_an_alert_of_somebody_never_measured_has_a_page(visit: Visit) -> None:
    async with visit(World(alerts=[alert("p-new", NOW)])) as client:
        answer = await client.get("/patients/p-new")
    assert answer.status_code == 200
    assert "Nothing measured yet" in words(answer.text)


async def test_not_found_quotes_nothing(visit: Visit) -> None:
    async with visit(World()) as client:
        for path in ("/patients/nobody-here", "/patients/Anna%20Smith", "/nobody-here", "/patients/%3Cscript%3E"):
            answer = await client.get(path)
            assert answer.status_code == 404
            assert "There is no such page here." in words(answer.text)
            for hint in ("nobody-here", "Anna", "<script>"):
                assert hint not in answer.text


async def test_notices_are_ours_only(visit: Visit) -> None:
    async with visit(World()) as client:
        assert "Acknowledged." in words((await client.get("/?notice=done")).text)
        assert "phish" not in (await client.get("/?notice=phish")).text
