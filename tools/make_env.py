"""Writes .env, the secrets of `docker-compose.yml`, readable by its owner only. It never touches one that is there.

Run it with any Python 3: `python3 tools/make_env.py`. The console's token is shown once; the file holds its hash.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import secrets
import sys
import uuid
from pathlib import Path

_LOGINS = ("RECORDER", "DISPATCH", "CONSOLE", "QUARANTINE", "GATEWAY", "WATCH", "HEARTBEAT")
ENV = Path(__file__).resolve().parent.parent / ".env"


def values(token: str) -> dict[str, str]:
    """Return fresh secrets. All are URL-safe and free of what a shell or compose would interpret."""
    return {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(32),
        **{f"VIGIL_LOGIN_{who}": secrets.token_urlsafe(32) for who in _LOGINS},
        "KAFKA_CLUSTER_ID": base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
        "VIGIL_HASH_KEY": secrets.token_hex(32),
        "VIGIL_CONSOLE_TOKEN_HASH": hashlib.sha256(token.encode()).hexdigest(),
        "VIGIL_WEBHOOK_SECRET": secrets.token_hex(32),
    }


def text(env: dict[str, str]) -> str:
    """Return the file's text; what is optional stands in it as a comment."""
    return "\n".join(
        [
            "# Secrets of this deployment, made by tools/make_env.py. .env.example says what each is for.",
            "# Keep VIGIL_HASH_KEY as long as the data: with another one every device becomes a new device.",
            *(f"{name}={value}" for name, value in env.items()),
            "# VIGIL_WEBHOOK_URL=",
            "",
        ]
    )


def write(path: Path, content: str) -> None:
    """Write a new file of mode 0600. Raises FileExistsError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(content)


def main() -> int:
    """Write the file and show the token."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, default=ENV, help="by default beside the compose file")
    path: Path = parser.parse_args().path
    token = secrets.token_urlsafe(24)
    try:
        write(path, text(values(token)))
    except FileExistsError:
        print(f"{path} is there already and stays as it is: its secrets belong to data that exist", file=sys.stderr)
        return 1
    print(f"wrote {path}")
    print(f"the console's token, shown this once: {token}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
