"""The real console over PostgreSQL in a real browser: what happens reaches the page, and a person can answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import pytest
from playwright.sync_api import expect

from alerts.event import Priority
from console.app import create_app
from tests.browser.conftest import Open
from tests.browser.people import six_people
from tests.browser.serving import serving
from tests.console.world import World, alert, put, put_alert
from timeseries.console_reader import ConsoleReader

pytestmark = pytest.mark.browser


@dataclass
class Site:
    address: str
    database: str
    world: World

    def raise_alert(self, patient: str, sentence: str) -> str:
        event = alert(patient, datetime.now(UTC), priority=Priority.HIGH, rule="new_rule", sentence=sentence)
        with psycopg.connect(self.database) as connection:
            put_alert(connection, event)
        return event.alert_id


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    world = six_people(datetime.now(UTC))
    put(database, world)
    reader = ConsoleReader(database)
    with serving(create_app(reader, reader, refresh_s=0.2)) as address:
        yield Site(address, database, world)


def test_patients_and_alerts_are_there(site: Site, look: Open) -> None:
    page = look(site.address)
    expect(page.locator(".card")).to_have_count(6)
    expect(page.locator(".alert")).to_have_count(4)
    expect(page.locator(".alert").first).to_contain_text("Heart rate above 130 /min")
    expect(page.locator(".card").first.locator("h3")).to_have_text("p-1043")
    expect(page.locator("#live-word")).to_have_text("Live")
    page.get_by_role("link", name="p-1043").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("p-1043")
    expect(page.locator(".chart")).to_have_count(5)
    page.get_by_role("link", name="24 hours").click()
    expect(page.locator(".ranges [aria-current]")).to_have_text("24 hours")


def test_a_new_alert_appears_without_a_reload_and_is_announced(site: Site, look: Open) -> None:
    page = look(site.address)
    expect(page.locator("#live-word")).to_have_text("Live")
    page.evaluate("window.sameDocument = true")
    page.locator(".alert input:visible").first.fill("n-4")
    expect(page.locator("#announce")).to_have_text("")
    raised = site.raise_alert("p-6642", "Something new was seen.")
    expect(page.locator(f"#alert-{raised}")).to_be_visible(timeout=10_000)
    expect(page.locator("#announce")).to_contain_text("New alert. High priority, p-6642: Something new was seen.")
    expect(page).to_have_title("(4) Vigil")
    assert page.evaluate("window.sameDocument") is True
    assert "n-4" in page.locator(".alert input:visible").evaluate_all("fields => fields.map(f => f.value)")


def test_what_somebody_opened_stays_open(site: Site, look: Open) -> None:
    page = look(site.address)
    expect(page.locator("#live-word")).to_have_text("Live")
    first = page.locator(".alert").first
    opened = first.locator("details").get_attribute("id")
    before = first.element_handle()
    first.locator("summary").click()
    expect(page.locator(f"#{opened}")).to_contain_text("heart_rate_very_high, version 1")
    raised = site.raise_alert("p-6642", "Something new was seen.")
    expect(page.locator(f"#alert-{raised}")).to_be_visible(timeout=10_000)
    assert before is not None
    assert not before.evaluate("one => one.isConnected")  # its age counts on: it was replaced
    expect(page.locator(f"#{opened}")).to_have_attribute("open", "")


def test_an_alert_on_an_open_patient_page_appears_too(site: Site, look: Open) -> None:
    page = look(f"{site.address}/patients/p-6642")
    expect(page.locator("#live-word")).to_have_text("Live")
    expect(page.get_by_text("no rule holds for this patient now")).to_be_visible()
    raised = site.raise_alert("p-6642", "Something new was seen.")
    expect(page.locator(f"#alert-{raised}")).to_be_visible(timeout=10_000)
    expect(page.get_by_text("no rule holds for this patient now")).to_have_count(0)


def test_acknowledging_with_the_keyboard(site: Site, look: Open) -> None:
    page = look(site.address)
    first = page.locator(".alert").first
    field = first.get_by_label("Your staff id")
    field.focus()
    page.keyboard.type("n-417")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".banner.notice")).to_have_text("Acknowledged.")
    expect(page.locator(".alert.s-acknowledged").first).to_contain_text("Acknowledged by n-417")
    expect(page.get_by_role("button", name="Acknowledge as n-417").first).to_be_visible()


def test_two_people_see_each_other_act(site: Site, look: Open) -> None:
    one, other = look(site.address), look(site.address)
    expect(other.locator("#live-word")).to_have_text("Live")
    alert_id = one.locator(".alert").first.get_attribute("id")
    one.locator(".alert").first.get_by_label("Your staff id").fill("n-417")
    one.locator(".alert").first.get_by_role("button").click()
    expect(other.locator(f"#{alert_id}")).to_contain_text("Acknowledged by n-417", timeout=10_000)


def test_it_works_without_scripts(site: Site, look: Open) -> None:
    page = look(site.address, java_script_enabled=False)
    expect(page.locator(".card")).to_have_count(6)
    expect(page.get_by_text("Reloads every minute")).to_be_visible()
    page.locator(".alert").first.get_by_label("Your staff id").fill("n-417")
    page.locator(".alert").first.get_by_role("button").click()
    expect(page.locator(".alert.s-acknowledged").first).to_contain_text("n-417")
