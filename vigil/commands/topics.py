"""`vigil topics`: the Kafka topics."""

from __future__ import annotations

import asyncio

import typer

from vigil.settings import settings

app = typer.Typer(no_args_is_help=True, help="The Kafka topics.")


@app.command()
def create() -> None:
    """Create the topics that are missing, with VIGIL_PARTITIONS and VIGIL_REPLICATION. Safe to repeat."""
    from ingest.admin import create_topics

    wanted = settings()
    made = asyncio.run(create_topics(wanted.broker(), partitions=wanted.partitions, replication=wanted.replication))
    typer.echo(f"created {', '.join(made)}" if made else "nothing to do: every topic is there")
