"""Edge: runs every check at once, each for so long at most; one that breaks is a finding like any other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from vigil.checks import broker, database, lag, policy, rules, services
from vigil.checks.finding import Check, Finding, Verdict
from vigil.settings import MissingSetting, Settings
from vitals.errors import VigilError

CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "settings": rules.check,
        "policies": policy.check,
        "broker": broker.check,
        "database": database.check,
        "recorder": lag.check,
        "services": services.check,
    }
)
"""Every check, in the order in which its findings are shown."""
_WITHIN_S: Final = 20.0


async def examine(config: Settings, checks: Mapping[str, Check] = CHECKS) -> list[Finding]:
    """Return what all checks found, in their order. Raises nothing that a check raises."""
    with _quiet():
        found = await asyncio.gather(*(_one(name, check, config) for name, check in checks.items()))
    return _by_area(_without_echoes([finding for part in found for finding in part]))


async def _one(name: str, check: Check, config: Settings) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(_WITHIN_S):
            return await check(config)
    except MissingSetting as error:
        return [Finding(name, "address", Verdict.FAIL, f"{error.name} is not set", str(error).splitlines()[0])]
    except VigilError as error:
        return [Finding(name, "answers", Verdict.FAIL, str(error), "is it running, and is its address right?")]
    except TimeoutError:
        return [Finding(name, "answers", Verdict.FAIL, f"no answer within {_WITHIN_S:.0f} s", "is it overloaded?")]
    except Exception as error:  # noqa: BLE001  a doctor who dies of one patient helps nobody
        return [Finding(name, "check", Verdict.FAIL, f"broke: {type(error).__name__}", "tell the makers of Vigil")]


def _without_echoes(findings: Sequence[Finding]) -> list[Finding]:
    """Leave out what the lag says again of a broker or database that its own check found away."""
    told = {finding.says for finding in findings if finding.area != "recorder" and finding.verdict is Verdict.FAIL}
    return [one for one in findings if one.area != "recorder" or one.says not in told]


def _by_area(findings: Sequence[Finding]) -> list[Finding]:
    """Put what is about one area together, areas in the order in which they first come."""
    areas = list(dict.fromkeys(one.area for one in findings))
    return sorted(findings, key=lambda one: areas.index(one.area))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' own complaints about an absent broker out of the report."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
