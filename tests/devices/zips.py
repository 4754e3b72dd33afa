"""Archives for the tests."""

import io
import json
import zipfile
from collections.abc import Mapping


def zipped(members: Mapping[str, object], *, stored: bool = False) -> bytes:
    """A zip; what is neither bytes nor text is written as JSON."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes | str) else json.dumps(content))
    return file.getvalue()
