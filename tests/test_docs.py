"""What the pages say is so: links, commands, settings, log lines; and no page or file names a registry's host."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from tests.conftest import REPO
from tools.settings_table import PAGE, refreshed
from vigil.cli import app

PAGES = sorted([*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md")], key=lambda page: page.relative_to(REPO).as_posix())
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_COMMAND = re.compile(r"`(?:\.venv/bin/)?vigil ([a-z][^`]*)`")
_PATH = re.compile(
    r"`((?:vitals|devices|ingest|timeseries|alerts|stream|console|vigil|tests|tools|docs)/[\w./-]*)(?::[^`]*)?`"
)
_EVENT = re.compile(r"\blog\.(?:debug|info|warning|error|exception)\(\s*\"(?P<event>[^\"]+)\"")
# Spelled apart, so that this file does not name them either.
_HOSTS = [
    ".".join(words)
    for words in (
        ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("maven", "apache", "org/maven2"),
        ("repo1", "maven", "org"), ("crates", "io"), ("proxy", "golang", "org"), ("deb", "debian", "org"),
        ("docker", "io"), ("ghcr", "io"), ("quay", "io"),
    )
]  # fmt: skip


def _name(page: Path) -> str:
    return page.relative_to(REPO).as_posix()


def _slugs(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{_name(page)} links to {target}"
        assert not anchor or anchor in _slugs(found), f"{_name(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    for path in _PATH.findall(page.read_text()):
        if "NNNN" not in path:
            assert (REPO / path).exists(), f"{_name(page)} names {path}"


# What the architecture page names as missing.
_NOT_YET = {"vigil doctor", "vigil replay"}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_that_a_page_names_exist(page: Path) -> None:
    for words in _commands(page):
        command = typer.main.get_command(app)
        told = iter(words)
        while hasattr(command, "commands"):
            word = next(told, "")
            if word == "..." or f"vigil {word}" in _NOT_YET:
                break
            assert word in command.commands, f"{_name(page)} names vigil {' '.join(words)}"
            command = command.commands[word]
        else:
            flags = {flag for parameter in command.params for flag in parameter.opts}
            assert {word for word in told if word.startswith("--")} <= flags, f"vigil {' '.join(words)}"


def _commands(page: Path) -> Iterator[list[str]]:
    text = page.read_text()
    for found in _COMMAND.findall(text):
        yield found.split()
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            words = line.partition("#")[0].split()
            starts = [at for at, word in enumerate(words) if word in {".venv/bin/vigil", "vigil", "cli"}]
            if starts:
                yield words[starts[0] + 1 :]


def test_make_targets_that_the_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, _name(page)


def test_the_readme_shows_every_command() -> None:
    def leaves(command: object, path: tuple[str, ...]) -> Iterator[str]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield " ".join(path)
            return
        for name, one in inner.items():
            yield from leaves(one, (*path, name))

    shown = (REPO / "README.md").read_text()
    missing = [one for one in leaves(typer.main.get_command(app), ("vigil",)) if f"| `{one}` |" not in shown]
    assert not missing


def test_the_table_of_settings_is_current() -> None:
    page = PAGE.read_text()
    assert page == refreshed(page), "run: .venv/bin/python tools/settings_table.py --write"


def test_every_event_in_the_logs_is_explained() -> None:
    page = (REPO / "docs" / "operations.md").read_text()
    rooms = ("ingest", "timeseries", "alerts", "stream", "console", "vigil")
    for module in sorted(path for room in rooms for path in (REPO / room).rglob("*.py")):
        for event in _EVENT.findall(module.read_text().replace("_log.", "log.")):
            said = event.partition("%")[0].strip()
            assert f"`{said}" in page, f"docs/operations.md does not explain {event!r} of {_name(module)}"


def test_every_topic_and_table_is_in_the_architecture() -> None:
    from ingest.topics import TOPICS

    page = (REPO / "docs" / "architecture.md").read_text()
    assert all(f"`{topic.name}`" in page for topic in TOPICS)
    made = set()
    for migration in (REPO / "timeseries" / "sql" / "migrations").glob("*.sql"):
        made |= set(re.findall(r"^CREATE (?:TABLE|MATERIALIZED VIEW|VIEW) (\w+)", migration.read_text(), re.MULTILINE))
    assert not sorted(table for table in made if f"`{table}`" not in page)


def test_no_file_names_a_registry() -> None:
    for path in _files():
        text = path.read_text(encoding="utf-8", errors="ignore")
        named = [host for host in _HOSTS if host in text]
        assert not named, f"{_name(path)} names {named}"


def _files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPO, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := REPO / name).is_file()]
