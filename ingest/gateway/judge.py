"""What becomes of each sample of a request, and the records that go out. Pure.

The body never says whose samples these are: the credential does, or, for a ward's bridge, who wore the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.gateway.parsed import BodyRefused, Delivery, Judged, Outcome, Parsed, Retry, Status
from ingest.gateway.repeats import Positions, repeats
from ingest.gateway.verdicts import Refusal, all_rejected, rejected, settled
from ingest.record import encode, split
from ingest.topics import DELETIONS, SAMPLES, SAMPLES_BACKFILL
from vitals.access import Principal
from vitals.batch import BatchHeader, SampleColumns
from vitals.gate import DeviceRule, Gate, worn_by
from vitals.ids import DeviceId, PatientId, is_opaque
from vitals.quality import Reason
from vitals.validity import EARLIEST_US, FUTURE_TOLERANCE_US, LATEST_US, REASONS, reasons

LIVE_US: Final = 15 * 60 * 1_000_000
"""What started longer ago takes the backfill lane."""
GATEWAY: Final = "gateway"
"""The source application of a request that names none."""

VERDICTS: Final = (*REASONS, Reason.CONFLICT, None)
"""What the codes here stand for: `REASONS`, then a conflict and a duplicate within the request."""
_ACCEPTED: Final = 0
_CONFLICT: Final = len(REASONS)
_DUPLICATE: Final = len(REASONS) + 1
_FUTURE: Final = REASONS.index(Reason.FUTURE)
_NO_CONSENT: Final = REASONS.index(Reason.NO_CONSENT)
_NO_DELETIONS: Final = frozenset({Reason.UNKNOWN_DEVICE, Reason.DEVICE_SUSPENDED})

Codes = NDArray[np.uint8]
"""For each sample an index into `VERDICTS`."""


@dataclass(frozen=True, slots=True)
class _Share:
    """The samples of one person: where they stand, and the header of their records. `of_nobody`: nobody wore it."""

    header: BatchHeader
    at: Positions
    of_nobody: bool = False


def judge(
    parsed: Parsed,
    principal: Principal,
    gate: Gate,
    *,
    adapter: str,
    received_us: int,
    request_id: str,
    traceparent: str | None,
) -> Judged:
    """Return the verdict on each sample and the records to deliver.

    Raises `BodyRefused`: 422 `device_missing` where no device is named and the principal has not exactly one; 403
    `other_device` for one that is not the principal's, `not_for_this_token` for deletions of a principal without a
    patient, `device_not_admitted` for those that come through a device unknown or suspended.
    """
    header = BatchHeader(
        principal.patient_id or PatientId("nobody"),
        _device(parsed, principal, gate),
        parsed.source_app or GATEWAY,
        adapter,
        traceparent,
        request_id,
    )
    deletions = _deletions(parsed, principal, gate, header, received_us)
    shares = _shares(parsed.columns.start_us, principal, gate, header)
    codes = _verdicts(gate, shares, parsed.columns)
    return Judged(
        (*_deliveries(shares, parsed.columns, codes, received_us), *deletions),
        int(np.count_nonzero(codes == _ACCEPTED)),
        _outcomes(parsed, codes, gate.devices.get(header.device_id)),
        len(parsed.deletions),
        _not_consented(parsed.columns, codes),
    )


def _device(parsed: Parsed, principal: Principal, gate: Gate) -> DeviceId:
    if parsed.device is None:
        if principal.only_device is None:
            raise BodyRefused(422, Refusal.DEVICE_MISSING, "name the device: the credential is not for one alone")
        return principal.only_device
    device = DeviceId(parsed.device)
    if not is_opaque(device):
        raise BodyRefused(422, Refusal.BAD_FIELD, "device is an opaque id, no name", "/device")
    if not principal.may_name(device) or _is_anothers(gate.devices.get(device), principal):
        raise BodyRefused(403, Refusal.OTHER_DEVICE, "the credential is not for this device")
    return device


def _is_anothers(rule: DeviceRule | None, principal: Principal) -> bool:
    """Tell whether only others ever wore it, where the credential lists no devices."""
    if principal.devices is not None or rule is None or not rule.bindings:
        return False
    return all(one.patient_id != principal.patient_id for one in rule.bindings)


def _shares(start_us: NDArray[np.int64], principal: Principal, gate: Gate, header: BatchHeader) -> list[_Share]:
    """Return whose samples these are: the credential's patient's, else of who wore the device when it measured."""
    if principal.patient_id is not None:
        return [_Share(header, np.arange(len(start_us)))]
    rule = gate.devices.get(header.device_id) or DeviceRule()
    left = np.ones(len(start_us), np.bool_)
    shares = []
    for patient in dict.fromkeys(one.patient_id for one in rule.bindings):
        worn = left & worn_by(rule.bindings, patient, start_us)
        left &= ~worn
        shares.append(_Share(replace(header, patient_id=PatientId(patient)), np.flatnonzero(worn)))
    return [*shares, _Share(header, np.flatnonzero(left), of_nobody=True)]


def _verdicts(gate: Gate, shares: Sequence[_Share], columns: SampleColumns) -> Codes:
    codes = _reasons(columns)
    for share in shares:
        if len(share.at) and (share.of_nobody or not gate.is_open):
            codes[share.at] = _asked(gate, share, columns, codes[share.at])
    copies, conflicts = repeats(columns, np.flatnonzero(codes == _ACCEPTED))
    codes[copies], codes[conflicts] = _DUPLICATE, _CONFLICT
    return codes


def _asked(gate: Gate, share: _Share, columns: SampleColumns, codes: Codes) -> Codes:
    """Return `codes` of a share with what the gate says; a missing consent comes before all other reasons."""
    if share.of_nobody:
        why = gate.whole(share.header) or Reason.OTHER_WEARER
        return np.where(codes == _ACCEPTED, REASONS.index(why), codes).astype(np.uint8)
    for reason, which in gate.judge(share.header, columns.start_us[share.at], columns.metric[share.at]):
        open_to_it = which if reason is Reason.NO_CONSENT else which & (codes == _ACCEPTED)
        codes[open_to_it] = REASONS.index(reason)
    return codes


def _deliveries(shares: Sequence[_Share], columns: SampleColumns, codes: Codes, received_us: int) -> list[Delivery]:
    live = columns.start_us >= received_us - LIVE_US
    accepted = codes == _ACCEPTED
    found = []
    for topic, lane in ((SAMPLES, live), (SAMPLES_BACKFILL, ~live)):
        fit = accepted & lane
        for share in shares:
            at = share.at[fit[share.at]]
            mine = columns if len(at) == len(columns) else columns.take(at)
            found += [Delivery(encode(share.header, part), topic, SAMPLES_BACKFILL) for part in split(mine)]
    return found


def _deletions(
    parsed: Parsed, principal: Principal, gate: Gate, header: BatchHeader, received_us: int
) -> list[Delivery]:
    """Return the records of the sample ids to delete: a deletion needs no consent, and no binding at any time."""
    from ingest.deletion_record import MAX_IDS, encode_deletions

    if not len(parsed.deletions):
        return []
    if principal.patient_id is None:
        raise BodyRefused(403, Refusal.NOT_FOR_THIS_TOKEN, "only a credential of one patient may delete samples")
    if gate.whole(header) in _NO_DELETIONS:
        raise BodyRefused(403, Refusal.DEVICE_NOT_ADMITTED, "the device may not delete: it is unknown or suspended")
    trusted = EARLIEST_US <= parsed.written_us <= received_us + FUTURE_TOLERANCE_US
    told_us = parsed.written_us if trusted else received_us
    ids = np.unique(parsed.deletions, axis=0)
    parts = [ids[at : at + MAX_IDS] for at in range(0, len(ids), MAX_IDS)]
    return [
        Delivery(encode_deletions(header, part, told_us=told_us, received_us=received_us), DELETIONS, DELETIONS)
        for part in parts
    ]


def _reasons(columns: SampleColumns) -> Codes:
    """Return what `reasons` says, and that nothing is written in the future either.

    Such a sample could be neither corrected nor deleted before then. It is not taken as written when it came: each
    time that it is sent it would be a new version, and take the place of a correction.
    """
    codes = reasons(columns)
    codes[(codes == _ACCEPTED) & (columns.written_us - FUTURE_TOLERANCE_US > columns.received_us)] = _FUTURE
    return codes


def _outcomes(parsed: Parsed, codes: Codes, rule: DeviceRule | None) -> tuple[Outcome, ...]:
    """Return the faults and what is not accepted, in the order of the request."""
    outcomes = list(parsed.faults)
    for at in np.flatnonzero(np.bincount(codes, minlength=1)).tolist():
        reason, where = VERDICTS[at], np.flatnonzero(codes == at)
        index = parsed.index[where].tolist()
        if at == _DUPLICATE:
            outcomes += [Outcome(one, Status.DUPLICATE) for one in index]
        elif reason in {Reason.TOO_OLD, Reason.FUTURE}:
            outcomes += map(rejected, index, [reason] * len(index), _misdated(reason, parsed.columns, where))
        elif reason is Reason.OTHER_WEARER:
            past = settled(rule, parsed.columns.start_us[where]).tolist()
            found = zip(all_rejected(index, reason), past, strict=True)
            outcomes += [replace(one, retry=Retry.NEVER) if never else one for one, never in found]
        elif reason is not None:
            outcomes += all_rejected(index, reason)
    return tuple(sorted(outcomes, key=lambda one: one.index))


def _misdated(reason: Reason, columns: SampleColumns, at: Positions) -> list[str]:
    """Return which of its times makes each sample too old, or one of the future."""
    start_us = columns.start_us[at]
    if reason is Reason.TOO_OLD:
        fine = start_us >= EARLIEST_US
    else:
        fine = start_us <= np.minimum(columns.received_us[at] + FUTURE_TOLERANCE_US, LATEST_US)
    return ["written" if one else "start" for one in fine.tolist()]


def _not_consented(columns: SampleColumns, codes: Codes) -> dict[int, int]:
    numbers, counts = np.unique(columns.metric[codes == _NO_CONSENT], return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))
