"""Edge: who is watched by what, as the settings say: the watch's source of profiles, consents and policy."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from vigil.settings import Settings
from vitals.errors import VigilError

if TYPE_CHECKING:
    from stream.watch.people import PeopleSource

DEMO_DELAY_S: Final = 3.0


class NoPolicy(VigilError):
    """VIGIL_POLICY_FILE names a file that cannot be read: better no start than limits that nobody meant."""


async def crowd_source(config: Settings, stack: AsyncExitStack) -> PeopleSource:
    """Return the source; `stack` closes what it reads from. Without a database it is the policy alone.

    Raises `NoPolicy` or `FileRefused` where VIGIL_POLICY_FILE is set and no policy.
    """
    from stream.policy_file.policies import Hurry
    from stream.watch.people import PeopleSource
    from timeseries.gate import GateReader
    from timeseries.people_reader import PeopleReader

    check_policy_file(config)
    hurry = Hurry(DEMO_DELAY_S, 2 * DEMO_DELAY_S) if config.policy == "demo" else None
    if config.database_url is None:
        return PeopleSource(policy_file=config.policy_file, hurry=hurry)
    url = config.database()
    people = await stack.enter_async_context(PeopleReader(url))
    gate = await stack.enter_async_context(
        GateReader(url, strict=config.strict_devices, require_consent=config.require_consent)
    )
    return PeopleSource(
        people.current, gate.current, policy_file=config.policy_file, copy=config.policy_copy, hurry=hurry
    )


def check_policy_file(config: Settings) -> None:
    """Raise `NoPolicy` or `FileRefused` where VIGIL_POLICY_FILE is set and cannot be gone by."""
    from stream.policy_file.policies import policies_of
    from stream.policy_file.reading import read_bounded

    if config.policy_file is None:
        return
    try:
        body = read_bounded(config.policy_file)
    except OSError as error:
        raise NoPolicy(f"VIGIL_POLICY_FILE cannot be read ({type(error).__name__}): {config.policy_file}") from None
    policies_of(body, str(config.policy_file))
