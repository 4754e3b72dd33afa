"""A page as a person sees it: the words without the markup, and the markup without the words."""

import re
from html.parser import HTMLParser


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values.extend((tag, name, value or "") for name, value in attrs)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _read(html: str) -> _Page:
    page = _Page()
    page.feed(html)
    page.close()
    return page


def words(html: str) -> str:
    return re.sub(r"\s+", " ", " ".join(_read(html).words))


def structure(html: str) -> list[tuple[str, tuple[str, ...]]]:
    return _read(html).tags


def attributes(html: str) -> list[tuple[str, str, str]]:
    return _read(html).values


def piece(html: str, key: str) -> str:
    """The article with this data-key."""
    start = html.index(f'data-key="{key}"')
    begin = html.rindex("<article", 0, start)
    return html[begin : html.index("</article>", start)]


def form_token(html: str) -> str:
    match = re.search(r'name="form_token" value="([0-9a-f]{64})"', html)
    assert match is not None
    return match[1]
