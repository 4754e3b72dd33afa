"""When guessing stops. Pure; time is a parameter, memory is bounded.

A secret has 256 random bits, so that guessing one is hopeless anyway; locks keep the noise and the work down. Hence
they fall on what is no good only: a credential that fits is let in from any address, however many others fail behind
it, and however hard the brake is on, or a ward's phones whose tokens ended on one day would lock out everybody beside
them. The same wrong credential again (such a phone) is no guess and counts once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

from ingest.gateway.policy import LockoutPolicy

_SEEN = 128


@dataclass(slots=True)
class _Address:
    since_s: float
    failures: int = 0
    locks: int = 0
    until_s: float = float("-inf")
    tried: OrderedDict[bytes, None] = field(default_factory=OrderedDict)


class Lockout:
    """Counts what fails, by address and altogether."""

    def __init__(self, policy: LockoutPolicy) -> None:
        self._policy = policy
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._all = 0
        self._all_since_s = float("-inf")

    def __len__(self) -> int:
        return len(self._addresses)

    def failed(self, address: str, credential: bytes, now_s: float) -> float:
        """Note a credential (some hash of it) that is no good; return the seconds it is locked out for, 0 if not.

        What comes during a lock is not looked at, so it makes the lock no longer.
        """
        one = self._one(group(address), now_s)
        wait_s = self._wait_s(one, now_s)
        if wait_s > 0 or credential in one.tried:
            return wait_s
        one.tried[credential] = None
        if len(one.tried) > _SEEN:
            one.tried.popitem(last=False)
        self._count(one, now_s)
        return self._wait_s(one, now_s)

    def _count(self, one: _Address, now_s: float) -> None:
        policy = self._policy
        self._all += 1
        one.failures += 1
        if one.locks or one.failures >= policy.free_failures:
            one.until_s = now_s + min(policy.longest_s, policy.first_s * 2.0 ** min(one.locks, 40))
            one.locks += 1

    def _one(self, key: str, now_s: float) -> _Address:
        policy = self._policy
        if not 0 <= now_s - self._all_since_s <= policy.window_s:
            self._all, self._all_since_s = 0, now_s
        one = self._addresses.get(key)
        if one is None or now_s - one.until_s > policy.longest_s < now_s - one.since_s:
            one = self._addresses[key] = _Address(now_s)
        elif now_s - one.since_s > policy.window_s:
            one.since_s, one.failures = now_s, 0
        self._addresses.move_to_end(key)
        if len(self._addresses) > policy.addresses:
            self._addresses.popitem(last=False)
        return one

    def _wait_s(self, one: _Address | None, now_s: float) -> float:
        locked_s = one.until_s - now_s if one is not None else 0.0
        braked = self._all >= self._policy.all_failures
        brake_s = self._all_since_s + self._policy.window_s - now_s if braked else 0.0
        return max(0.0, locked_s, brake_s)


def group(address: str) -> str:
    """Return whom an address counts for: an IPv4 address itself, of IPv6 the /64 that one subscriber has."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if not isinstance(ip, IPv6Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(IPv6Address(int(ip) >> 64 << 64))
