"""Put Apache Kafka's jars into .cache/kafka/libs: `fetch.py`; after a change of pom.xml: `fetch.py record`.

Maven resolves the coordinates of pom.xml wherever its own settings point. Each jar must be one of jars.sha256, and
every jar named there must be present. Exit code 0: the jars are there. 3: Maven, or its repository, is not to be had
here. 4: the jars are not those of jars.sha256.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

UNAVAILABLE, WRONG = 3, 4

_HERE = Path(__file__).resolve().parent
_POM = _HERE / "pom.xml"
_SUMS = _HERE / "jars.sha256"
_CACHE = _HERE.parents[1] / ".cache" / "kafka"
LIBS = _CACHE / "libs"
_TIMEOUT_S = 600


class FetchError(Exception):
    """The jars cannot be had, or are not the right ones; `code` is the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of every jar of a folder, by name."""
    return {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in sorted(folder.glob("*.jar"))}


def recorded() -> dict[str, str]:
    """What jars.sha256 says: name to SHA-256."""
    lines = (line.split() for line in _SUMS.read_text(encoding="ascii").splitlines())
    return {name: digest for digest, name in lines}


def differences(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """What is missing, changed or unknown, a line each."""
    names = sorted(found.keys() | wanted.keys())
    return [
        f"{name}: {'missing' if name not in found else 'unknown' if name not in wanted else 'changed'}"
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def download(into: Path) -> None:
    """Have Maven copy the jars into an empty folder."""
    maven = shutil.which("mvn")
    if maven is None:
        raise FetchError(UNAVAILABLE, "Apache Kafka needs Maven: no `mvn` on the PATH")
    shutil.rmtree(into, ignore_errors=True)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={into}"]
    try:
        done = subprocess.run(
            [maven, "-q", "-B", "-f", str(_POM), *goal],
            capture_output=True, text=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise FetchError(UNAVAILABLE, f"Maven did not finish within {_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise FetchError(UNAVAILABLE, f"Maven cannot get Apache Kafka here: {_first_error(done.stdout)}")


def _first_error(output: str) -> str:
    """The line that says what went wrong; the rest is advice on Maven's own options."""
    lines = output.strip().splitlines()
    return next((line for line in lines if "[ERROR]" in line), lines[-1] if lines else "no output")


def fetch() -> None:
    """Make sure the right jars are in place; quick where they are."""
    wanted = recorded()
    if sums(LIBS) == wanted:
        return
    arriving = LIBS.with_name("libs.new")
    download(arriving)
    if wrong := differences(sums(arriving), wanted):
        raise FetchError(WRONG, "the jars are not those of tools/kafka/jars.sha256:\n" + "\n".join(wrong))
    shutil.rmtree(LIBS, ignore_errors=True)
    arriving.rename(LIBS)


def record() -> None:
    """Write jars.sha256 anew from what Maven gives now."""
    arriving = LIBS.with_name("libs.new")
    download(arriving)
    lines = [f"{digest}  {name}\n" for name, digest in sums(arriving).items()]
    _SUMS.write_text("".join(lines), encoding="ascii")


def main(arguments: list[str]) -> int:
    """Run the command; one at a time on this machine."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if arguments == ["record"]:
                record()
            fetch()
        except FetchError as error:
            print(error, file=sys.stderr)
            return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
