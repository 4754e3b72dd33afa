"""`vigil ble`: wearables over Bluetooth Low Energy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Wearables over Bluetooth Low Energy (Linux, BlueZ).")

Adapter = Annotated[str | None, typer.Option(help="Which Bluetooth adapter, for example hci1; else the first.")]


@app.command()
def scan(
    seconds: Annotated[float, typer.Option(min=0.5, max=300, help="How long to listen.")] = 10.0,
    name: Annotated[str | None, typer.Option(help="Only devices whose name has this in it.")] = None,
    service: Annotated[str | None, typer.Option(help="Only devices with this service, for example 180D.")] = None,
    adapter: Adapter = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, without names.")] = False,
) -> None:
    """Show which devices are near: address, name, signal, services.

    A name may say whose it is: it is shown here and goes nowhere else.
    """
    import asyncio

    from ingest.ble.bridge import hush
    from ingest.ble.finder import Filter
    from ingest.ble.finder import scan as listen
    from vigil import ble

    hush()
    found = asyncio.run(listen(seconds, Filter(name=name, service=service), adapter=adapter))
    if as_json:
        typer.echo(json.dumps([ble.as_json(one) for one in found], indent=2))
    else:
        ble.show(found)


@app.command()
def bridge(
    device: Annotated[
        list[str], typer.Option(metavar="ADDRESS=DEVICE_ID", help="A device and the id its samples carry; repeatable.")
    ],
    patient: Annotated[str | None, typer.Option(help="The wearer's opaque id; not with --gateway.")] = None,
    gateway: Annotated[
        str | None, typer.Option(metavar="URL", help="Send through this gateway, which knows who wears what.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="The bridge's token, alone in a file; else VIGIL_GATEWAY_TOKEN.")
    ] = None,
    spool: Annotated[Path, typer.Option(help="Where samples wait while the broker or gateway is away.")] = Path(
        ".vigil/spool"
    ),
    silence: Annotated[
        float, typer.Option(min=2, max=3_600, help="Seconds without a word after which a link is built anew.")
    ] = 30.0,
    zone: Annotated[
        str | None, typer.Option(metavar="IANA", help="The zone the devices' clocks are set to, for stored records.")
    ] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(help="Start this stream of a Polar sensor: ecg, acceleration, ppg, beat_intervals; repeatable."),
    ] = None,
    adapter: Adapter = None,
    demo: Annotated[bool, typer.Option("--demo", help="Send it into the demo that runs on this machine.")] = False,
) -> None:
    """Bring devices' samples into the stream until told to stop (Ctrl-C or SIGTERM).

    Devices that drop are connected again; while the broker or gateway is away, samples wait on disk and are sent later.
    """
    from vigil import ble
    from vigil.settings import settings

    worn, polar = ble.wearables(device, zone), ble.streams(stream or [])
    if demo:
        from vigil.demo import use_running_demo

        use_running_demo()
    through = None if gateway is None else ble.gateway(gateway, token_file, settings())
    ble.run(worn, patient, spool, silence_s=silence, polar=polar, adapter=adapter, through=through)
