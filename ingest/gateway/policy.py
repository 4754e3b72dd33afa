"""How much the gateway takes, and for how long it waits: every limit in one frozen place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ingest.gateway.parse_arrow import MAX_ARROW_SAMPLES
from ingest.gateway.parse_json import MAX_JSON_SAMPLES
from ingest.spool import SpoolPolicy

_KIB, _MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class LockoutPolicy:
    """When guessing stops: after `free_failures` wrong credentials from one address within `window_s`, it is locked.

    The first lock lasts `first_s`, each further failure doubles it up to `longest_s`. `addresses` are remembered at
    most. `all_failures` a window from everywhere together pull the brake. None of it touches a credential that fits.
    """

    free_failures: int = 10
    window_s: float = 60.0
    first_s: float = 2.0
    longest_s: float = 900.0
    addresses: int = 10_000
    all_failures: int = 1_000


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """What one credential may send: a steady rate and a burst, of requests (messages of a stream) and of samples."""

    requests_per_s: float = 20.0
    requests_burst: float = 120.0
    samples_per_s: float = 10_000.0
    samples_burst: float = 200_000.0
    credentials: int = 10_000


@dataclass(frozen=True, slots=True)
class ReplyPolicy:
    """How long and how many answers are kept for a repeated Idempotency-Key."""

    keep_s: float = 86_400.0
    most: int = 100_000
    most_bytes: int = 256 * _MIB
    most_answer_bytes: int = 512 * _KIB


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """`window`: messages of one stream that may wait for their answer; the next is not read before one is done.

    `patience_s`: a bridge that takes nothing for so long is cut off; so long its last answers and its end may take.
    """

    window: int = 8
    idle_s: float = 120.0
    check_every_s: float = 1.0
    patience_s: float = 15.0
    most_bytes: int = 1 * _MIB
    streams: int = 500
    streams_of_one: int = 16  # of one credential


@dataclass(frozen=True, slots=True)
class GatewayPolicy:
    """All limits. Bytes of bodies are counted after decompression; `_s` are seconds."""

    json_bytes: int = 8 * _MIB
    arrow_bytes: int = 16 * _MIB
    json_samples: ClassVar[int] = MAX_JSON_SAMPLES  # the readers' own
    arrow_samples: ClassVar[int] = MAX_ARROW_SAMPLES
    batch: int = 500  # what clients are told to send at a time
    document_bytes: int = 32 * _MIB  # a FHIR bundle, a page of Health Auto Export
    upload_bytes: int = 4 << 30  # a HealthKit export, streamed onto the disk
    upload_s: float = 3_600.0

    ratio: int = 100  # of decompressed to compressed bytes, beyond the first MiB
    body_s: float = 60.0  # for a whole body
    body_grace_s: float = 10.0  # after which the least rate counts
    body_bytes_per_s: int = 2 * _KIB
    held_bytes: int = 256 * _MIB  # of bodies in memory at once, all requests together

    head_s: float = 10.0  # from the first byte of a request, or from connecting, to the end of its head
    head_bytes: int = 32 * _KIB
    url_bytes: int = 4 * _KIB
    keep_alive_s: float = 30.0
    linger_s: float = 3.0  # a body that was refused unread is thrown away this long, so that the answer is read
    linger_bytes: int = 4 * _MIB
    connections: int = 1_000
    requests: int = 200  # under way at once
    requests_of_one: int = 16  # of one credential
    busy_retry_s: int = 2
    stop_s: int = 20  # requests under way and streams may take this long after a stop

    stale_s: float = 3_600.0  # how long the last credentials and the last registry serve while the database is away
    # Bodies beyond are read in a thread, so that the loop keeps answering others: from some 5 ms of work on.
    thread_bytes: int = 256 * _KIB
    arrow_thread_bytes: int = 1 * _MIB
    log_per_s: float = 10.0  # refusals in the log; the others are counted
    log_burst: float = 50.0

    lockout: LockoutPolicy = field(default_factory=LockoutPolicy)
    rate: RatePolicy = field(default_factory=RatePolicy)
    replies: ReplyPolicy = field(default_factory=ReplyPolicy)
    stream: StreamPolicy = field(default_factory=StreamPolicy)
    spool: SpoolPolicy = field(default_factory=SpoolPolicy)  # the bounds of the spool behind, for /readyz and hints
