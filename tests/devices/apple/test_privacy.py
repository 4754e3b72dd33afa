"""Names, birth dates and places are planted wherever an export can hold them, and looked for wherever it can leak."""

import io
import logging
import pickle
from dataclasses import asdict

import pytest

from devices.adapter import Reading
from devices.apple import ADAPTER, ExportSummary, read_export
from devices.errors import MalformedExport
from ingest.waveform_record import encode_chunk
from tests.devices.apple.exports import KEY, NOW_US, document, element, read, zipped
from vitals.batch import BatchHeader, to_arrow
from vitals.ids import is_opaque, patient_id

SECRETS = ("Petronella", "Quackenbush", "1971-11-23", "ABNegative", "52.3675", "Utrecht")
NAME = "Petronella Quackenbush"
DEVICE = (
    f"&lt;&lt;HKDevice: 0x1&gt;, name:{NAME}'s Watch, manufacturer:Apple, model:Watch, hardware:Watch6,7, Utrecht:1&gt;"
)
PLANTED = [
    f'<ExportDate value="2024-01-01 10:00:00 +0100" by="{NAME}"/>',
    f'<Me HKCharacteristicTypeIdentifierDateOfBirth="1971-11-23" HKBloodType="HKBloodTypeABNegative" name="{NAME}"/>',
    element(sourceName=f"{NAME}'s Apple Watch", device=DEVICE),
    element(sourceName=f"{NAME}'s iPhone", value=NAME),
    element(sourceName=NAME, startDate="1971-11-23"),
    element(sourceName=NAME, unit=NAME),
    element(sourceName=NAME, type=NAME),
    element(sourceName=NAME, type="HKQuantityTypeIdentifier" + NAME),
    element(sourceName=NAME).replace("/>", f" {NAME} bad/>"),
    element(sourceName=NAME).replace("/>", f'><MetadataEntry key="HKTimeZone" value="{NAME}"/></Record>'),
    element(sourceName=NAME).replace("/>", f'><MetadataEntry key="{NAME}" value="{NAME}"/></Record>'),
    f'<{NAME.replace(" ", "")} value="{NAME}"/>',
    (
        f'<Workout workoutActivityType="{NAME}" sourceName="{NAME}" startDate="2024-01-01 10:00:00 +0100" '
        'endDate="2024-01-01 11:00:00 +0100">'
        '<WorkoutRoute><Location latitude="52.3675" name="Utrecht"/></WorkoutRoute></Workout>'
    ),
]


def _holds_no_secret(text: str | bytes) -> None:
    raw = text if isinstance(text, bytes) else text.encode()
    for secret in SECRETS:
        for form in (secret, secret.lower(), secret.upper()):
            assert form.encode() not in raw
            assert form.encode("utf-16-le") not in raw


def test_nothing_that_comes_out_holds_a_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        batches, summary = read(document(*PLANTED))
    assert summary.accepted == 3
    for batch in batches:
        BatchHeader(patient_id("p-1"), batch.device_id, batch.source_app, "apple_export")  # opaque ids, both
        _holds_no_secret(repr(batch) + batch.device_id + batch.source_app)
        assert batch.samples is not None
        _holds_no_secret(to_arrow(batch.samples).serialize().to_pybytes())
        _holds_no_secret(pickle.dumps(batch))
    _holds_no_secret(repr(summary) + repr(asdict(summary)) + repr(summary.to_json()) + caplog.text)


ECG = (
    f'Name,"{NAME}"\nDate of Birth,1971-11-23\nRecorded Date,2024-01-01 10:00:00 +0100\nClassification,"{NAME}"\n'
    f'Symptoms,"{NAME}, Utrecht"\nDevice,"{NAME}"\nSample Rate,512 hertz\n{NAME},{NAME}\nLead,{NAME}\n\n1.5\n2.5\n'
)
STATISTICS = (
    f'<Workout workoutActivityType="HKWorkoutActivityTypeRunning" sourceName="{NAME}" startDate="2024-01-01 10:00:00 '
    f'+0100" endDate="2024-01-01 11:00:00 +0100"><WorkoutStatistics type="{NAME}"/>'
    f'<WorkoutEvent type="{NAME}"/></Workout>'
)
FOLDER = f"{NAME} export"


def _zip_with_everything() -> bytes:
    usual = [
        element(sourceName=NAME, sourceVersion=NAME, device=DEVICE, type=kind, value=value).replace(
            "/>", f'><MetadataEntry key="{NAME}" value="{NAME}"/></Record>'
        )
        for kind, value in (
            ("HKQuantityTypeIdentifierHeartRate", "60"),
            (NAME, "60"),
            ("HKCategoryTypeIdentifierHeadache", NAME),
            ("HKCategoryTypeIdentifierSleepAnalysis", "HKCategoryValueSleepAnalysisInBed"),
            ("HKCategoryTypeIdentifierMindfulSession", NAME),
        )
    ]
    return zipped(**{
        f"{FOLDER}/{NAME}.xml": document(*PLANTED, STATISTICS, *usual * 5),
        f"{FOLDER}/electrocardiograms/{NAME}.csv": ECG.encode(),
        f"{FOLDER}/electrocardiograms/{NAME} 2.csv": f"{NAME} born 1971-11-23 in Utrecht".encode(),
        f"{FOLDER}/workout-routes/{NAME}.gpx": b"<gpx><trkpt lat='52.3675'/></gpx>",
        f"{FOLDER}/export_cda.xml": b"<ClinicalDocument>Utrecht</ClinicalDocument>",
    })  # fmt: skip


def test_nothing_of_a_whole_zip_holds_a_name_through_the_adapter_either(caplog: pytest.LogCaptureFixture) -> None:
    reading = Reading(NOW_US, KEY)
    with caplog.at_level(logging.DEBUG):
        pieces = list(ADAPTER.read(io.BytesIO(_zip_with_everything()), reading))
    told = reading.tally
    assert told.read == told.accepted + told.rejected.total() + told.ignored.total()
    assert (told.waveforms, told.sessions, told.by_metric["heart_rate"]) == (1, 8, 8)
    assert told.by_metric.total() == sum(len(piece.samples or ()) for piece in pieces)
    for piece in pieces:
        header = BatchHeader(patient_id("p-1"), piece.device_id, piece.source_app, ADAPTER.name)
        _holds_no_secret(repr(piece) + repr(header))
        _holds_no_secret(pickle.dumps(piece))
        for chunk in piece.waveforms:
            record = encode_chunk(header, chunk)
            _holds_no_secret(record.value + repr(record.headers).encode())
        assert all(is_opaque(one.session_id) and is_opaque(one.label or "x") for one in piece.sessions)
    _holds_no_secret(repr(told) + repr(told.to_json()) + caplog.text)


@pytest.mark.parametrize(
    "data",
    [
        _zip_with_everything()[:-30],
        document(*PLANTED)[:-20],
        document(*PLANTED, f"<{NAME.replace(' ', '')}>" * 50),
        f"{NAME} born 1971-11-23".encode(),
        zipped(**{f"{NAME}.xml": b"<ClinicalDocument>Utrecht</ClinicalDocument>"}),
        zipped(**{f"{NAME}.xml": document(*PLANTED)})[:-30],
        zipped(**{f"{NAME}.xml": document(*PLANTED)}).replace(b"PK\x01\x02", b"PK\x01\x03"),
        zipped(**{f"{NAME}.xml": document(*PLANTED)}).replace(b"\x50\x4b\x03\x04", b"\x50\x4b\x03\x04\xff", 1),
    ],
)
def test_no_error_holds_a_name(data: bytes) -> None:
    summary = ExportSummary()
    with pytest.raises(MalformedExport) as caught:
        list(read_export(io.BytesIO(data), received_us=NOW_US, hash_key=KEY, summary=summary))
    error: BaseException | None = caught.value
    while error is not None:
        _holds_no_secret(repr(error) + str(error) + repr(error.args) + repr(vars(error)))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_another_key_makes_other_pseudonyms() -> None:
    data = document(PLANTED[2])
    one, two = (next(read_export(io.BytesIO(data), received_us=NOW_US, hash_key=key)) for key in (b"a", b"b"))
    assert one.device_id != two.device_id
    assert one.source_app != two.source_app
