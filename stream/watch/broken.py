"""How a bug is told in the log: what broke and where, without a word of the data that it broke on."""

from __future__ import annotations

import traceback
from pathlib import PurePath


def what_broke(error: BaseException) -> dict[str, str]:
    """Return the error's type and the place it came from; its message may quote what was measured, or of whom."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return {"error": type(error).__name__, "where": where}
