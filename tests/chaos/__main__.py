"""`make chaos`: 3,000,000 samples of 500 patients while recorder, broker and database are killed; JSON at the end."""

import argparse
import json
import sys

from tests.chaos.run import Plan, run
from tests.services.kafka import ensure_jars
from vigil import logs


def main() -> None:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    for name, kind, default in (
        ("samples", int, 3_050_000),
        ("patients", int, 500),
        ("kills", int, 12),
        ("seed", int, 1),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--send-s", type=float, default=240.0, help="spread the sending over so many seconds")
    given = parser.parse_args()
    logs.configure(level="warning", service="chaos")
    ensure_jars()
    plan = Plan(given.samples, given.patients, given.kills, given.send_s, seed=given.seed)
    found = run(plan, lambda what: print(what, file=sys.stderr, flush=True))
    print(json.dumps(found, indent=2))
    sys.exit(0 if found["ok"] else 1)


main()
