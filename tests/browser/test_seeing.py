"""What anybody must be able to see and reach: contrast, names, keyboard, a phone, and the truth about being live."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from console.app import create_app
from tests.browser.conftest import Open
from tests.browser.people import six_people
from tests.browser.serving import serving
from tests.console.world import FakeReader, Sample, World

pytestmark = pytest.mark.browser
POOR_CONTRAST = (Path(__file__).parent / "seeing.js").read_text("utf-8").partition("\n")[2]


@pytest.fixture(scope="module")
def world() -> World:
    return six_people(datetime.now(UTC))


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    reader = FakeReader(world)
    with serving(create_app(reader, reader)) as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/patients/p-1043", "/patients/p-2718", "/nobody"])
def test_every_text_has_contrast(address: str, look: Open, path: str, scheme: str) -> None:
    page = look(address + path, color_scheme=scheme, tolerate="404")
    assert page.evaluate(POOR_CONTRAST) == []
    if page.locator("#who").count():
        page.locator("#who summary").click()
        assert page.evaluate(POOR_CONTRAST) == []


def test_controls_and_drawings_have_names(address: str, look: Open) -> None:
    for path in ("/", "/patients/p-1043"):
        page = look(address + path)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('main button, input:not([type=hidden]), a, svg')].filter((e) => {
              if (e.tagName === 'svg' && e.ariaHidden === 'true') return false;
              if (e.tagName === 'svg') return !(e.role === 'img' && e.getAttribute('aria-label'));
              if (e.tagName === 'INPUT') return !e.labels.length;
              return !(e.textContent.trim() || e.getAttribute('aria-label'));
            }).map((e) => e.outerHTML.slice(0, 120))"""
        )
        assert nameless == []
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.evaluate("[...document.querySelectorAll('main')].length") == 1


def test_the_keyboard_reaches_everything_and_is_seen(address: str, look: Open) -> None:
    page = look(address)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.locator("#who summary").press("Enter")
    expect(page.locator("#operator")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#operator")).to_be_hidden()
    expect(page.locator("#who summary")).to_be_focused()


@pytest.mark.parametrize("path", ["/", "/patients/p-2718", "/nobody"])
@pytest.mark.parametrize("width", [320, 390, 800])
def test_nothing_runs_out_of_a_small_screen(address: str, look: Open, path: str, width: int) -> None:
    page = look(address + path, viewport={"width": width, "height": 800}, tolerate="404")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_moves_for_who_asked_for_that(address: str, look: Open) -> None:
    page = look(address, reduced_motion="reduce")
    expect(page.locator(".alert").first).to_be_visible()
    # In one go: an update of the page puts other elements in the place of these.
    animation = """() => {
        const alert = document.querySelector(".alert");
        alert.classList.add("is-new");
        return getComputedStyle(alert).animationName;
    }"""
    assert page.evaluate(animation) == "none"


def test_a_page_that_is_no_longer_live_says_so_and_recovers(look: Open) -> None:
    world = World(samples=[Sample("p-1", "heart_rate", datetime.now(UTC), 70)])
    with serving(create_app(FakeReader(world), refresh_s=0.1)) as address:
        page = look(address, tolerate="503")
        expect(page.locator("#live-word")).to_have_text("Live")
        world.down = True
        expect(page.locator("#lost")).to_contain_text("Not live: the database does not answer", timeout=10_000)
        expect(page.locator("#lost")).to_contain_text("What you see is from")
        expect(page.locator(".card")).to_have_count(1)
        world.down = False
        expect(page.locator("#lost")).to_be_hidden(timeout=10_000)
        expect(page.locator("#live-word")).to_have_text("Live")


def test_a_value_turns_old_by_itself(look: Open) -> None:
    measured = datetime.now(UTC) - timedelta(seconds=56)
    with serving(create_app(FakeReader(World(samples=[Sample("p-1", "heart_rate", measured, 70)])))) as address:
        page = look(address, tolerate="Failed to load resource")
        expect(page.locator(".tile.hero .when-current")).to_be_visible()
        page.route("**/*", lambda route: route.abort())  # nothing helps from outside
        expect(page.locator(".tile.hero.is-stale .when-stale")).to_be_visible(timeout=10_000)
        expect(page.locator(".tile.hero")).to_contain_text("No data since")


def test_the_times_below_a_chart_stand_where_they_belong(address: str, look: Open) -> None:
    """On a phone some labels are left out; those that stay must not move."""
    for width in (390, 1_400):
        page = look(f"{address}/patients/p-1043", viewport={"width": width, "height": 900})
        places = page.evaluate(
            """() => {
              const axis = document.querySelector('.chart .x'), box = axis.getBoundingClientRect();
              return [...axis.children].map((l) => { const b = l.getBoundingClientRect();
                return [(b.left - box.left) / box.width, (b.right - box.left) / box.width]; });
            }"""
        )
        assert len(places) == 6
        for number, (left, right) in enumerate(places):
            assert left - 0.01 <= number / 5 <= right + 0.01
