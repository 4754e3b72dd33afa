"""Ports for services that must come back on the same address."""

import random
import socket

from vitals.errors import VigilError

HOST = "127.0.0.1"

# Below the ranges from which systems draw the ports of outgoing connections (Linux 32768, others 49152): while a
# service is down between kill and start, no client of another program can have taken its port by accident.
_CANDIDATES = range(20_000, 32_000)


class NoFreePort(VigilError):
    """No free TCP port was found on this machine."""


def free_port(attempts: int = 100) -> int:
    """A port of 127.0.0.1 on which nobody listens now; drawn at random, so that parallel test runs rarely meet."""
    draw = random.SystemRandom()
    for _ in range(attempts):
        port = draw.choice(_CANDIDATES)
        if _is_free(port):
            return port
    raise NoFreePort(f"no free port in {attempts} draws between {_CANDIDATES.start} and {_CANDIDATES.stop} on {HOST}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def preferred_port(port: int) -> int:
    """`port` if nobody listens there, else any free one."""
    return port if _is_free(port) else free_port()
