"""A command as somebody types it: what it said, or why it refused."""

from __future__ import annotations

from dataclasses import dataclass

import typer
from typer.testing import CliRunner, Result

from vitals.errors import VigilError

WIDE = {"COLUMNS": "240", "TERMINAL_WIDTH": "240"}


@dataclass(frozen=True)
class Command:
    """Commands of `app` that begin with `words`."""

    app: typer.Typer
    words: tuple[str, ...] = ()

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(self.app, [*self.words, *arguments], env=WIDE)

    def said(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    def refusal(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert isinstance(done.exception, VigilError), (done.output, done.exception)
        return str(done.exception)
