"""Edge: are policies and settings such that alerts reach somebody, and nothing stands open?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from vigil.checks.finding import Finding, Verdict, judged
from vigil.settings import Settings

_WEAK: Final = 0o077


async def check(config: Settings) -> Sequence[Finding]:
    """Look at the settings."""
    from alerts.routing import default_policy
    from stream.detectors.policy import ADULT

    routes = default_policy(webhook=config.webhook_url is not None).routes
    return [
        judged(
            "policies", "alerts", f"{config.policy}: {len(ADULT.rules)} rules, not individualised",
            fine=config.policy == "default", do="VIGIL_POLICY=demo has short delays: it is for showing, not for people",
        ),
        judged(
            "policies", "who is told", f"{len(routes)} routes, {sum(route.pages for route in routes)} of them page",
            fine=any(route.pages for route in routes), do="set VIGIL_WEBHOOK_URL: without it nobody is paged",
        ),
        judged(
            "settings", "hash key", "set" if config.hash_key else "not set", fine=config.hash_key is not None,
            do="export VIGIL_HASH_KEY=$(openssl rand -hex 32), once, and keep it",
        ),
        judged(
            "settings", "strict devices", "on" if config.strict_devices else "off: any device is believed",
            fine=config.strict_devices, do="VIGIL_STRICT_DEVICES=true, once your devices are registered",
        ),
        *_archive(config),
    ]  # fmt: skip


def _archive(config: Settings) -> list[Finding]:
    if config.archive_uri is None:
        return [
            Finding(
                "archive", "place", Verdict.WARN, "none is set: samples that are due stay in the database",
                "set VIGIL_ARCHIVE_URI to a folder or s3://bucket/prefix",
            )
        ]  # fmt: skip
    if "://" in config.archive_uri:
        return [Finding("archive", "place", Verdict.OK, "an object store; `vigil archive verify` reads it back")]
    path = os.path.abspath(os.path.expanduser(config.archive_uri))  # noqa: PTH100, PTH111
    may = os.path.isdir(path) and os.access(path, os.R_OK | os.W_OK | os.X_OK)  # noqa: PTH112
    return [
        judged(
            "archive", "place", "a folder that can be written" if may else "its folder is not there or not writable",
            fine=may, bad=Verdict.FAIL, do="mount it, or set VIGIL_ARCHIVE_URI right",
        )
    ]  # fmt: skip
