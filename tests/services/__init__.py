"""The real services that tests run against, beyond the embedded ones: Apache Kafka and TimescaleDB."""

from vitals.errors import VigilError


class Unavailable(VigilError):
    """This machine lacks what the service is made of (a program, or the registry that has it)."""
