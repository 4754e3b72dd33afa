"""A private D-Bus, which `DBUS_SYSTEM_BUS_ADDRESS` makes the system's for a test."""

import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.services import Unavailable
from vigil.embedded.process import Service

_CONFIG: Final = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
  </policy>
</busconfig>
"""


class SystemBus(Service):
    """A dbus-daemon with a socket in a folder of its own, where everybody may do everything."""

    name = "dbus-daemon"
    start_timeout_s = 10.0
    stop_timeout_s = 5.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "dbus.log")
        self._socket, self._config = folder / "bus", folder / "bus.conf"

    @property
    def address(self) -> str:
        return f"unix:path={self._socket}"

    def _prepare(self) -> None:
        self._config.write_text(_CONFIG.format(address=self.address))
        self._socket.unlink(missing_ok=True)

    def _command(self) -> Sequence[str | Path]:
        program = shutil.which("dbus-daemon")
        if program is None:
            raise Unavailable("the Bluetooth tests need dbus-daemon (Debian: dbus-daemon)")
        return [program, "--nofork", "--nopidfile", f"--config-file={self._config}"]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self._socket)) == 0
