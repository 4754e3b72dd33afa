"""Takes the console's screenshots: `python -m tests.browser.shoot FOLDER`.

Six simulated people are written by SQL into an embedded PostgreSQL; Chromium looks at the real console over it.
docs/images/console.png is board-light.png through `pngquant --quality 80-100`, with the Inter font (fonts-inter).
"""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser

from console.app import create_app
from tests.browser.people import six_people
from tests.browser.serving import chromium, serving
from tests.console.world import FakeReader, World, put
from timeseries.console_reader import ConsoleReader
from timeseries.migrate import migrate
from vigil.embedded.postgres import EmbeddedPostgres

SHOTS = (
    ("board-light", "/", 1400, 1000, "light", True),
    ("board-dark", "/", 1400, 1000, "dark", True),
    ("board-phone", "/", 390, 844, "light", True),
    ("board-phone-dark", "/patients/p-2718", 390, 844, "dark", True),
    ("patient-light", "/patients/p-1043", 1400, 1000, "light", True),
    ("patient-dark-6h", "/patients/p-1043?range=6h", 1400, 1000, "dark", True),
)


def shoot(
    browser: Browser, url: str, folder: Path, name: str, width: int, height: int, scheme: str, full: bool
) -> None:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(url)
    page.wait_for_selector(".live.is-live")
    page.screenshot(path=folder / f"{name}.png", full_page=full)
    page.close()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vigil-shoot-") as data, EmbeddedPostgres(Path(data) / "data") as server:
        migrate(server.url)
        put(server.url, six_people(datetime.now(UTC), hours=6.5))
        reader = ConsoleReader(server.url)
        with serving(create_app(reader, reader)) as address, chromium() as browser:
            for name, path, width, height, scheme, full in SHOTS:
                shoot(browser, address + path, folder, name, width, height, scheme, full)
    with serving(create_app(FakeReader(World()))) as address, chromium() as browser:
        shoot(browser, address, folder, "empty-light", 1400, 800, "light", False)
        shoot(browser, address, folder, "empty-dark", 390, 844, "dark", False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
