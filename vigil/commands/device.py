"""`vigil device`: which devices there are, what they may tell, who wears them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vigil.settings import settings
from vitals.errors import VigilError
from vitals.gate import DeviceState

if TYPE_CHECKING:
    from timeseries.registry import Registry

app = typer.Typer(no_args_is_help=True, help="The device registry: what a device is, may tell, and who wears it.")


class RegistryUnavailable(VigilError):
    """The database does not answer, or lacks the registry's tables."""


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter("a day or a time, for example 2026-03-01 or 2026-03-01T12:30+01:00") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise typer.BadParameter('a JSON object, for example {"heart_rate": {"cadence_s": 1}}')
    return found


Device = Annotated[str, typer.Argument(metavar="DEVICE", help="Its opaque id.")]
Who = Annotated[str, typer.Option("--who", metavar="ID", help="Who does this: an opaque id, never a name.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="The number of the matter, never a name.")]
Maker = Annotated[str | None, typer.Option("--manufacturer", help="Its maker.")]
Model = Annotated[str | None, typer.Option(help="Its model.")]
Firmware = Annotated[str | None, typer.Option(help="The firmware that it runs.")]
Permit = Annotated[str | None, typer.Option(metavar="CODES", help="Metrics it may tell, by commas; `all` for all.")]
Connection = Annotated[Any, typer.Option(parser=_object, metavar="JSON", help="How to reach it; no secret.")]
Streams = Annotated[Any, typer.Option(parser=_object, metavar="JSON", help="By metric: cadence, expected delivery.")]
Accuracy = Annotated[Any, typer.Option(parser=_object, metavar="JSON", help="By metric, as its maker states it.")]


@contextmanager
def _registry(who: str) -> Iterator[Registry]:
    import psycopg

    from timeseries.registry import Registry

    try:
        with psycopg.connect(settings().database(), autocommit=True, options="-c timezone=UTC") as connection:
            yield Registry(connection, who)
    except psycopg.errors.UndefinedTable:
        raise RegistryUnavailable("the database has no registry yet: run vigil db migrate") from None
    except psycopg.OperationalError as error:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise RegistryUnavailable(f"the database does not answer{state}; nothing was changed") from None


def _described(permit: str | None, **told: Any) -> Any:
    from timeseries.registry import Description

    codes = None if permit in {None, "all"} else tuple(code.strip() for code in str(permit).split(",") if code.strip())
    told = {name: value for name, value in told.items() if value is not None}
    return Description(permitted=codes, permit_all=permit == "all", **told)


@app.command()
def register(
    device: Device,
    device_type: Annotated[str, typer.Option("--type", help="A word: chest_strap, watch, oximeter, cgm, phone.")],
    who: Who,
    manufacturer: Maker = None,
    model: Model = None,
    firmware: Firmware = None,
    medical: Annotated[bool, typer.Option("--medical/--wellness", help="What its maker says it is for.")] = False,
    permit: Permit = None,
    connection: Connection = None,
    streams: Streams = None,
    accuracy: Accuracy = None,
) -> None:
    """Register a device. With VIGIL_STRICT_DEVICES nothing is stored of one that is not registered."""
    description = _described(
        permit, device_type=device_type, manufacturer=manufacturer, model=model, firmware=firmware,
        intended_use="medical" if medical else "wellness", connection=connection, streams=streams, accuracy=accuracy,
    )  # fmt: skip
    with _registry(who) as registry:
        registry.register(device, description)
    typer.echo(f"{device} is registered: bind it to its wearer with `vigil device bind {device} --patient ID`")


@app.command()
def change(
    device: Device,
    who: Who,
    device_type: Annotated[str | None, typer.Option("--type", help="What it is.")] = None,
    manufacturer: Maker = None,
    model: Model = None,
    firmware: Firmware = None,
    medical: Annotated[bool | None, typer.Option("--medical/--wellness", help="What its maker says it is for.")] = None,
    permit: Permit = None,
    connection: Connection = None,
    streams: Streams = None,
    accuracy: Accuracy = None,
) -> None:
    """Change what is known of a device, or what it may tell; what is not named stays."""
    description = _described(
        permit, device_type=device_type, manufacturer=manufacturer, model=model, firmware=firmware,
        intended_use=None if medical is None else "medical" if medical else "wellness", connection=connection,
        streams=streams, accuracy=accuracy,
    )  # fmt: skip
    with _registry(who) as registry:
        registry.change(device, description)
    typer.echo(f"{device} is changed; recorders know within seconds")


@app.command()
def bind(
    device: Device,
    patient: Annotated[str, typer.Option("--patient", metavar="ID", help="Who wears it (opaque id).")],
    who: Who,
    start: Annotated[Any, typer.Option("--from", parser=_time, metavar="TIME", help="From when on; now.")] = None,
    end: Annotated[Any, typer.Option("--to", parser=_time, metavar="TIME", help="Until when; no end.")] = None,
) -> None:
    """Note who wears a device. From then on its samples about anybody else, or from other times, are quarantined."""
    with _registry(who) as registry:
        registry.bind(device, patient, start or datetime.now(UTC), end)
    typer.echo(f"{device} is bound to {patient}")


@app.command()
def release(
    device: Device,
    who: Who,
    at: Annotated[Any, typer.Option("--at", parser=_time, metavar="TIME", help="When it was taken off; now.")] = None,
) -> None:
    """End the binding that lasts; another wearer can be bound from then on."""
    with _registry(who) as registry:
        registry.release(device, at)
    typer.echo(f"nobody is bound to {device} from then on")


@app.command()
def suspend(device: Device, who: Who, why: Why) -> None:
    """Quarantine what a device tells, within seconds; after `resume`, `vigil quarantine replay` brings it back."""
    _set_state(device, DeviceState.SUSPENDED, who, why)


@app.command()
def resume(device: Device, who: Who, why: Why) -> None:
    """Let a suspended device tell again."""
    _set_state(device, DeviceState.ACTIVE, who, why)


@app.command()
def retire(device: Device, who: Who, why: Why) -> None:
    """Take a device out of service for good; what it told stays."""
    _set_state(device, DeviceState.RETIRED, who, why)


def _set_state(device: str, state: DeviceState, who: str, why: str) -> None:
    with _registry(who) as registry:
        registry.set_state(device, state, why)
    typer.echo(f"{device} is {state.value}; recorders know within seconds")


@app.command("list")
def list_(
    state: Annotated[DeviceState | None, typer.Option(help="Only those in this state.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Show the registered devices: state, wearer, when last heard, battery and clock."""
    from vigil import device_screen as screen

    with _registry("operator") as registry:
        found = registry.devices(state=None if state is None else state.value)
    screen.as_lines(found) if as_json else screen.show_devices(found)


@app.command()
def show(device: Device) -> None:
    """Show all that is known of one device: description, wearers, and what was ever done to it."""
    from timeseries.registry import RegistryRefused
    from vigil import device_screen as screen

    with _registry("operator") as registry:
        found = registry.devices(device)
        if not found:
            raise RegistryRefused(f"{device} is not registered: `vigil device register` does that")
        screen.show_device(found[0], *registry.history(device))
