"""`python -m benchmarks [name ...]`: one JSON object a benchmark, a line each; progress goes to standard error."""

import argparse
import json

from benchmarks import apple, gateway, latency, recorder, simulator, sizing, storage, watch, waveforms, wire

BENCHMARKS = {
    "apple": apple.run,
    "gateway": gateway.run,
    "latency": latency.run,
    "recorder": recorder.run,
    "simulator": simulator.run,
    "sizing": sizing.run,
    "storage": storage.run,
    "watch": watch.run,
    "wire": wire.run,
    "waveforms": waveforms.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all by default")
    for name in parser.parse_args().names or BENCHMARKS:
        for result in BENCHMARKS[name]():
            print(json.dumps(result), flush=True)


main()
