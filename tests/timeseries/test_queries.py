"""The .sql loader, and the query files themselves."""

from importlib import resources

import pytest

from timeseries.queries import load, parse

FILES = sorted(
    entry.name.removesuffix(".sql") for entry in resources.files("timeseries").joinpath("sql", "queries").iterdir()
)


def test_queries_are_found_by_name_with_their_comments() -> None:
    text = "-- a file's own words\n-- name: one\n-- What it does.\nSELECT 1;\n\n-- name: two\nSELECT 2;\n"
    assert parse(text) == {"one": "-- What it does.\nSELECT 1;", "two": "SELECT 2;"}


@pytest.mark.parametrize("text", ["-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;", "-- name: one\n-- name: two\nX"])
def test_a_name_given_twice_or_without_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        parse(text)


@pytest.mark.parametrize("file", FILES)
def test_every_file_loads(file: str) -> None:
    assert load(file)
