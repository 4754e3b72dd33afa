"""Chromium in front of the console. Every page is watched: no script error, no request that leaves the console."""

import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.serving import chromium, chromium_path

Open = Callable[..., Page]


@pytest.fixture(scope="package")  # playwright keeps an event loop running: no test of another room may meet it
def browser() -> Iterator[Browser]:
    if chromium_path() is None:
        says = "no Chromium: apt-get install chromium, or put one on the PATH as `chromium`"
        if os.environ.get("CI"):
            pytest.fail(says, pytrace=False)
        pytest.skip(says)
    with chromium() as running:
        yield running


@pytest.fixture
def look(browser: Browser) -> Iterator[Open]:
    """`look(address, ...)` opens a page in a new context; at the end nothing may have gone wrong on any of them."""
    complaints: list[str] = []
    contexts = []
    expected: set[str] = set()

    def opened(address: str, *, tolerate: str = "", **settings: Any) -> Page:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        origin = urlsplit(address).netloc
        if tolerate:
            expected.add(tolerate)
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda sent: complaints.append(sent.url) if urlsplit(sent.url).netloc != origin else None)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [one for one in complaints if not any(word in one for word in expected)] == []
