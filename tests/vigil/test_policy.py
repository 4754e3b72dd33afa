"""`vigil policy` as a person uses it, over a real PostgreSQL; and that the committed files are what the code says."""

import json
import re
import tomllib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner

from stream.policy_file.policies import policies_of
from stream.policy_file.profile import read_profile
from stream.watch.people import PeopleSource
from stream.watch.plan import default_plan
from tests.conftest import REPO
from tests.timeseries.making import query
from tests.vigil.saying import Command
from timeseries.people_reader import PeopleReader
from tools.policy_table import DEFAULT, PAGE, SCHEMA, default_file, refreshed, schema_text
from vigil.commands.policy import app
from vigil.commands.profile import app as profile_app
from vigil.crowd import NoPolicy, check_policy_file, crowd_source
from vigil.settings import Settings, settings
from vitals.care_profile import CareProfile
from vitals.errors import VigilError

EXAMPLES = REPO / "fixtures" / "policies"
WARDS = EXAMPLES / "wards.toml"
AGAIN = "run: .venv/bin/python tools/policy_table.py --write"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No database."""
    for name in ("DATABASE_URL", "VIGIL_DATABASE_URL", "VIGIL_POLICY_FILE"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


COMMAND = Command(app)
run, said, refusal = COMMAND.run, COMMAND.said, COMMAND.refusal


def test_the_page_the_schema_and_the_default_policy_are_current() -> None:
    page = PAGE.read_text()
    assert page == refreshed(page), AGAIN
    assert SCHEMA.read_text() == schema_text(), AGAIN
    assert DEFAULT.read_text() == default_file(), AGAIN
    assert json.loads(said("schema")) == json.loads(SCHEMA.read_text())


@pytest.mark.parametrize("file", [WARDS, DEFAULT], ids=["wards", "default"])
def test_the_examples_fit_the_schema(file: Path) -> None:
    table = json.loads(json.dumps(tomllib.loads(file.read_text()), default=lambda one: one.isoformat()))
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(table)
    table["limits"]["spo2_low"]["spo2"]["treshold"] = 1
    with pytest.raises(jsonschema.ValidationError, match="treshold"):
        jsonschema.Draft202012Validator(schema).validate(table)


def test_the_page_s_examples_are_right(alone: None) -> None:
    page = PAGE.read_text()
    blocks = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    read = [policies_of(one) if "version = " in one else read_profile(one) for one in blocks]
    assert len(read) == 2
    of_profiles = page.partition("## Change limits")[0]
    keys = set(re.findall(r"^\| `(\w+)(?:\.METRIC)?` \|", of_profiles, re.MULTILINE))
    assert keys == CareProfile.model_fields.keys() - {"version"}


def test_the_default_policy_watches_as_no_policy_does(alone: None) -> None:
    shown = said("show", "--default")
    assert said("show") == shown
    plan, program = policies_of(shown, "default.toml").plan_of("p1"), default_plan()
    assert plan.limits.rules == program.limits.rules
    assert (plan.technical, plan.detectors) == (program.technical, program.detectors)


def test_a_file_is_checked_without_a_database(alone: None, tmp_path: Path) -> None:
    assert "example wards v1 sha256:" in said("check", str(WARDS))
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('version = 1\nlabel = "x"\n[limits.spo2_low.spo2]\ntreshold = 1\n[engine]\nlateness_s = "x"\n')
    assert refusal("check", str(wrong)).splitlines() == [
        f"{wrong}:4: limits.spo2_low.spo2.treshold: unknown key; did you mean threshold or asleep_threshold?",
        f"{wrong}:6: engine.lateness_s: input should be a valid number",
    ]
    assert "cannot be read (FileNotFoundError)" in refusal("check", str(tmp_path / "none.toml"))


def test_what_holds_for_a_patient_says_where_it_comes_from(alone: None) -> None:
    table = said("show", str(WARDS), "--patient", "p-0102")
    assert "ward rehab; no care profile: not individualised" in table
    assert '["motion_active", "workout"]' in table
    lines = [json.loads(line) for line in said("show", str(WARDS), "--patient", "p-0102", "--json").splitlines()]
    found = {one["field"]: (one["value"], one["from"]) for one in lines}
    assert found["limits.heart_rate_high.heart_rate.threshold"] == ("150", "patient p-0102")
    assert found["limits.heart_rate_high.heart_rate.timing.delay_s"] == ("120", "ward rehab")
    assert found["limits.spo2_low.spo2.threshold"] == ("91", "deployment")
    assert found["limits.spo2_low.spo2.side"] == ('"below"', "default")
    assert refusal("show", str(WARDS), "--patient", "Anna Muster").startswith("patient id must be")


def test_a_policy_is_applied_once_and_recorded(url: str, tmp_path: Path) -> None:
    assert "no policy was ever applied" in said("history")
    who = ("--by", "u-1", "--reason", "case 1")
    assert "is in force since" in said("apply", str(WARDS), *who)
    assert "is in force already" in said("apply", str(WARDS), *who)
    newer = tmp_path / "newer.toml"
    text = WARDS.read_text().replace("threshold = 150", "threshold = 155")
    newer.write_text(text)
    assert "version 1 is in force: give the file a higher `version`" in refusal("apply", str(newer), *who)
    newer.write_text(text.replace("version = 1", "version = 2", 1))
    dry = said("apply", str(newer), *who, "--dry-run")
    assert "155" in dry
    assert "in force" not in dry
    assert "is in force since" in said("apply", str(newer), "--by", "u-2", "--reason", "case 2")
    assert said("show") == newer.read_text()
    assert said("show", "1") == WARDS.read_text()
    assert "patient.p-0102.limits.heart_rate_high.heart_rate.threshold  150     155" in said("diff", "1", str(newer))
    told = said("history")
    assert "u-2" in told
    assert "case 2" in told
    assert "patient.p-0102.limits.heart_rate_high.heart_rate.threshold: 150 -> 155" in told
    rows = query(url, "SELECT version, applied_by, reason, changes FROM policy_versions ORDER BY version")
    assert [row[:3] for row in rows] == [(1, "u-1", "case 1"), (2, "u-2", "case 2")]
    assert {"field": "version", "before": "1", "after": "2"} in rows[1][3]
    assert "version 7 was never applied" in refusal("show", "7")


def test_what_is_taken_out_and_who_is_unknown_is_said_before_it_is_in_force(url: str) -> None:
    who = ("--by", "u-1", "--reason", "case 1")
    assert "takes out for ward home: detectors.monitoring" in said("check", str(WARDS))
    dry = said("apply", str(WARDS), *who, "--dry-run")
    assert "takes out for ward home: detectors.monitoring" in dry
    assert "nobody of these ids is known yet: p-0101, p-0102" in dry
    query(url, "INSERT INTO patients (patient_id) VALUES ('p-0101') RETURNING 1")
    told = said("apply", str(WARDS), *who)
    assert "nobody of these ids is known yet: p-0102" in told
    assert "p-0101" not in told.partition("nobody of these")[2].splitlines()[0]


def test_a_label_of_brackets_is_shown_as_it_stands(alone: None, tmp_path: Path) -> None:
    file = tmp_path / "odd.toml"
    file.write_text('version = 1\nlabel = "[bold] ward [/] 4"\n')
    assert "[bold] ward [/] 4 v1" in said("show", str(file), "--patient", "p-1")


def test_another_role_than_the_owner_is_told_so(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET role = 'vigil_heartbeat'").format(name))
    assert "only the owner of the tables" in refusal("history")
    assert "only the owner of the tables" in Command(profile_app).refusal("show", "p-1")


def test_what_is_wrong_is_never_applied(url: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('version = 1\nlabel = "x"\n[engine]\nlateness_s = "x"\n')
    assert "wrong.toml:4: engine.lateness_s" in refusal("apply", str(wrong), "--by", "u-1", "--reason", "r")
    assert "must be 1 to 64 letters" in refusal("apply", str(WARDS), "--by", "Dr. Muster", "--reason", "r")
    assert "say why" in refusal("apply", str(WARDS), "--by", "u-1", "--reason", " ")
    assert query(url, "SELECT count(*) FROM policy_versions") == [(0,)]


def test_a_patient_s_profile_is_shown_over_the_policy(url: str) -> None:
    done = CliRunner().invoke(
        profile_app, ["set", "p-0102", str(EXAMPLES / "profile.toml"), "--by", "clinician-7", "--reason", "case 3"]
    )
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in said("show", str(WARDS), "--patient", "p-0102", "--json").splitlines()]
    found = {one["field"]: (one["value"], one["from"]) for one in lines}
    assert found["limits.heart_rate_high.heart_rate.threshold"] == ("120.0", "profile version 1")
    assert found["limits.heart_rate_high.heart_rate.timing.delay_s"] == ("120", "ward rehab")


def test_a_database_that_is_away_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    settings.cache_clear()
    told = refusal("history")
    settings.cache_clear()
    assert told.startswith("the database does not answer")
    assert "secret" not in told


def test_a_watch_does_not_start_with_a_policy_file_that_is_wrong(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    with pytest.raises(NoPolicy, match="cannot be read"):
        check_policy_file(Settings(policy_file=missing))
    missing.write_text("version = 0\n")
    with pytest.raises(VigilError, match=r"none\.toml:1: version: "):
        check_policy_file(Settings(policy_file=missing))
    missing.write_text('version = 1\nlabel = "x"\n')
    check_policy_file(Settings(policy_file=missing))


async def test_a_running_watch_goes_by_what_is_applied(url: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.toml"
    async with AsyncExitStack() as stack:
        people = await stack.enter_async_context(PeopleReader(url, every_s=0))
        source = PeopleSource(people.current, copy=copy)
        before = await source.current()
        assert before.policies.told == "default 1"
        said("apply", str(WARDS), "--by", "u-1", "--reason", "case 1")
        after = await source.current()
        assert after.policies.told.startswith("example wards v1")
        assert after.plan_of("p-0102").policy == after.policies.told
        assert copy.read_text() == WARDS.read_text()
        wrong = "INSERT INTO policy_versions (version, label, sha256, body, applied_by, reason) "
        query(url, wrong + f"VALUES (9, 'x', '{'0' * 64}', 'of another release = 1', 'u-1', 'r')")
        assert (await source.current()).policies is after.policies


async def test_the_watch_goes_by_what_the_settings_say(url: str, tmp_path: Path) -> None:
    said_here = tmp_path / "mine.toml"
    said_here.write_text('version = 7\nlabel = "mine"\n')
    copy = tmp_path / "copy.toml"
    for given, told in (
        (Settings(policy_copy=copy), "default 1"),
        (Settings(policy_copy=copy, policy_file=said_here), "mine v7"),
        (Settings(policy_copy=copy, database_url=None, policy="demo"), "default 1"),
    ):
        async with AsyncExitStack() as stack:
            crowd = await (await crowd_source(given, stack)).current()
            assert crowd.policies.told.startswith(told)
            delays = [one.timing.delay_s for one in crowd.plan_of("p1").limits.rules]
            assert (max(delays) <= 3) == (given.policy == "demo")
