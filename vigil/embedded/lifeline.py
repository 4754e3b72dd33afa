"""A service must not outlive the program that started it, however that program ends.

Linux could do this with PR_SET_PDEATHSIG, but that needs a `preexec_fn` (unsafe where threads run), is bound to the
*thread* that forked (a pool's worker ending would stop the database) and exists on Linux only. So beside each service
waits a tiny shell that holds the reading end of a pipe whose writing end only this program has. When the program is
gone, by SIGKILL too, the pipe ends, and the shell stops the service.

The shell leads a process group of its own and the service joins it. So a Ctrl-C on the terminal reaches neither of
them before us, and the group's id cannot be given to anybody else while we hold the shell.
"""

import contextlib
import os
import signal
import subprocess

# Told the service's pid (so that it need not wait longer than that process lives), then waits for the end of the pipe.
_SCRIPT = """
trap '' INT TERM HUP QUIT
read -r pid
read -r _
kill -s "$1" 0
n=0
while [ -n "$pid" ] && [ $n -lt 100 ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; n=$((n+1)); done
kill -s KILL 0
"""


class Lifeline:
    """The process group of one service, stopped with `stop_signal` when this program dies."""

    def __init__(self, stop_signal: signal.Signals) -> None:
        reading, self._writing = os.pipe()
        name = stop_signal.name.removeprefix("SIG")
        try:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "vigil-lifeline", name],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                process_group=0,
            )
        except BaseException:
            os.close(self._writing)
            raise
        finally:
            os.close(reading)

    @property
    def group(self) -> int:
        """The process group that the service joins."""
        return self._shell.pid

    def guard(self, pid: int) -> None:
        """Tell the shell whom it watches over."""
        os.write(self._writing, f"{pid}\n".encode())

    def cut(self) -> None:
        """Kill whatever is left in the group, the shell included."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left but the dead
            os.killpg(self.group, signal.SIGKILL)
        self._shell.wait()
        os.close(self._writing)
