"""The doctor names each planted fault and its cure, and calls a whole installation well."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.contrib.staticfiles.finders import get_finders
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.db import connection
from django.utils import translation
from pytest_django.fixtures import Settings

from kvops import queue
from kvops.connections.budget import SharedBudget
from kvops.doctor.examination import examine
from kvops.doctor.findings import Diagnosis, Examined, Health
from kvops.models import Environment, Heartbeat, Namespace, Notification, Person, PolicyVersion, RoleGrant
from kvops.notifications import refused_tokens
from kvops.supervision import heartbeats
from tests import keys, make
from tests.database_roles import Roles, roles
from tests.fakes.cloudflare_api import FakeBucket
from tests.signing import signed_in

__all__ = ["roles"]

PAGE = "/environments/doctor/"


@dataclass(frozen=True)
class Installation:
    """An installation in which only the role of the database is wrong: tests connect as the owner."""

    estate: make.Estate
    settings: Settings
    monkeypatch: pytest.MonkeyPatch
    tmp_path: Path

    def examined(self, *, web: bool = False) -> list[Diagnosis]:
        return list(examine(Examined(web=web)))


@pytest.fixture
def installation(
    estate: make.Estate, encrypting: None, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Installation]:
    make.everybody()
    for name in ("worker", "sweep", "canary", heartbeats.OUTSIDE):
        heartbeats.beat(name)
    files = [path for finder in get_finders() for path, _storage in finder.list([])]
    (tmp_path / "staticfiles.json").write_text(json.dumps({"paths": dict.fromkeys(files, "")}))
    catalogue = tmp_path / "locale" / "ja" / "LC_MESSAGES"
    catalogue.mkdir(parents=True)
    for name in ("django.po", "django.mo"):
        (catalogue / name).touch()
    settings.STATIC_ROOT, settings.LOCALE_PATHS = tmp_path, [tmp_path / "locale"]
    settings.REVIEW_IDENTITY = ""
    settings.KVOPS_METRICS_TOKEN, settings.DUMPS = "t" * 40, str(tmp_path / "dumps")
    (tmp_path / "dumps").mkdir()
    (tmp_path / "dumps" / "kvops.dump").write_bytes(b"PGDMP and more")
    (tmp_path / "etc").mkdir()
    monkeypatch.setenv("KVOPS_SETTINGS_FILES", secret(tmp_path / "etc" / "kvops.env", "SECRET_KEY=x"))
    monkeypatch.setenv("SOME_SECRET", f"file:{secret(tmp_path / 'etc' / 'secret', 'x')}")
    yield Installation(estate, settings, monkeypatch, tmp_path)
    translation.deactivate()


def secret(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def an_open_token(one: Installation) -> None:
    path = secret(one.tmp_path / "token", "qa-read-token", 0o644)
    Environment.objects.filter(slug="qa").update(read_token=f"file:{path}")


def an_old_dump(one: Installation) -> None:
    os.utime(one.tmp_path / "dumps" / "kvops.dump", (0, time.time() - 30 * 3600))


def every_table() -> dict[str, str]:
    """A digest of the rows of each table."""
    sql_of_rows = """SELECT md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM "{}" t"""
    with connection.cursor() as cursor:
        found = {}
        for table in connection.introspection.table_names(cursor):
            cursor.execute(sql_of_rows.format(table))
            found[table] = cursor.fetchone()[0]
    return found


def no_sender(one: Installation) -> None:
    one.settings.TESTING, one.settings.DEFAULT_FROM_EMAIL = False, "kvops@localhost"


NEWEST = "SELECT max(name) FROM django_migrations WHERE app = 'kvops'"


def no_reviewer(_one: "Installation") -> None:
    with make.past_the_triggers():
        RoleGrant.objects.filter(role="reviewer").delete()


def no_policy(one: Installation) -> None:
    nothing = SimpleNamespace(objects=PolicyVersion.objects.none())
    one.monkeypatch.setattr("kvops.doctor.work.PolicyVersion", nothing)


def no_mail_server(one: Installation) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    options = {"host": "127.0.0.1", "port": port, "timeout": 5}
    smtp = "django.core.mail.backends.smtp.EmailBackend"
    one.settings.MAILERS = {"default": {"BACKEND": smtp, "OPTIONS": options}}


def failed(one: Installation) -> None:
    told = {"subject": "run:0", "environment": one.estate.qa.environment, "title": "x"}
    Notification.objects.create(event="run.failed", state="failed", error="x", **told)


def channel(one: Installation) -> None:
    one.monkeypatch.setenv("QA_SLACK", "https://example.com/services/x")
    Environment.objects.filter(slug="qa").update(slack="env:QA_SLACK")


def bucket(one: Installation) -> FakeBucket:
    return one.estate.cloudflare.bucket(make.ACCOUNTS["qa"], one.estate.s3.bucket)


def late(name: str) -> None:
    sql(f"UPDATE kvops_heartbeat SET at = now() - interval '1 day' WHERE split_part(name, '@', 1) = '{name}'")


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


FAULTS: dict[str, tuple[Callable[[Installation], object], str, str]] = {
    "every host": (lambda one: setattr(one.settings, "ALLOWED_HOSTS", ["*"]), "Settings", "Name the hosts"),
    "a host that is not allowed": (
        lambda one: setattr(one.settings, "BASE_URL", "https://kvops.example.com"),
        "Settings",
        "kvops.example.com. Add it to ALLOWED_HOSTS",
    ),
    "a proxy that nobody counts": (
        lambda one: setattr(one.settings, "HTTPS", True),
        "Settings",
        "KVOPS_TRUSTED_PROXY_COUNT",
    ),
    "an API host that is not allowed": (
        lambda one: setattr(one.settings, "KVOPS_ALLOWED_API_HOSTS", ["api.cloudflare.com"]),
        "Settings",
        "Add it to KVOPS_ALLOWED_API_HOSTS",
    ),
    "no sender": (no_sender, "Settings", "KVOPS_MAIL_FROM"),
    "the owner's role": (lambda _one: None, "Database role", "Run manage.py setup_roles"),
    "a missing migration": (
        lambda _one: sql(f"DELETE FROM django_migrations WHERE app = 'kvops' AND name = ({NEWEST})"),
        "Migrations",
        "Run manage.py migrate",
    ),
    "no static files": (
        lambda one: (one.tmp_path / "staticfiles.json").unlink(),
        "Static files",
        "Run manage.py collectstatic",
    ),
    "static files of an older version": (
        lambda one: (one.tmp_path / "staticfiles.json").write_text('{"paths": {}}'),
        "Static files",
        "collectstatic --no-input after each upgrade",
    ),
    "no translation": (
        lambda one: (one.tmp_path / "locale/ja/LC_MESSAGES/django.mo").unlink(),
        "Translation ja",
        "pybabel compile",
    ),
    "no heartbeat": (
        lambda _one: Heartbeat.objects.of(heartbeats.OUTSIDE).delete(),
        "Heartbeat",
        "Set KVOPS_HEARTBEAT_URL for the sweep",
    ),
    "a heartbeat that ended": (lambda _one: late(heartbeats.OUTSIDE), "Heartbeat", "Read its log"),
    "no folder of dumps": (lambda one: setattr(one.settings, "DUMPS", ""), "Dump of the database", "name the folder"),
    "no dump": (
        lambda one: (one.tmp_path / "dumps" / "kvops.dump").write_bytes(b""),
        "Dump of the database",
        "has no dump",
    ),
    "an old dump": (an_old_dump, "Dump of the database", "is older than 26 hours"),
    "a secret that others may read": (
        lambda one: (one.tmp_path / "etc" / "secret").chmod(0o604),
        "Secrets",
        "etc/secret (604). Run: chmod 600",
    ),
    "settings of another process that others may read": (
        lambda one: secret(one.tmp_path / "etc" / "migrate.env", "", 0o644),
        "Secrets",
        "etc/migrate.env (644)",
    ),
    "a token that others may read": (an_open_token, "Secrets", "token (644)"),
    "the offline identity": (
        lambda one: secret(one.tmp_path / "etc" / "age_offline", f"# made today\n{keys.OFFLINE}\n"),
        "Offline identity",
        "age_offline opens every backup and is on this machine",
    ),
    "the offline identity beside the worker's": (
        lambda one: one.monkeypatch.setenv("TEST_AGE_IDENTITY", f"{keys.OPERATIONS}\n{keys.OFFLINE}"),
        "Offline identity",
        "opens for every recipient",
    ),
    "no worker": (lambda _one: Heartbeat.objects.of("worker").delete(), "Worker", "Start manage.py worker"),
    "no sweep": (lambda _one: late("sweep"), "Sweep", "Start manage.py sweep"),
    "no canary": (lambda _one: late("canary"), "Canary", "Restart manage.py worker"),
    "a full queue": (lambda one: one.monkeypatch.setattr(queue, "FULL", 0), "Queue", "Start manage.py worker"),
    "no reviewer": (
        no_reviewer,
        "People",
        "Run manage.py setup_people",
    ),
    "no policy": (no_policy, "Policy", "Run manage.py apply_policy"),
    "a notification that failed": (failed, "Notifications", "send them again"),
    "no mail server": (no_mail_server, "Mail", "Correct SMTP_HOST"),
    "no recipients": (
        lambda one: setattr(one.settings, "AGE_RECIPIENTS", ()),
        "Age recipients",
        "KVOPS_AGE_RECIPIENTS",
    ),
    "another identity": (
        lambda one: one.monkeypatch.setenv("TEST_AGE_IDENTITY", str(keys.STRANGER)),
        "Age identity",
        "age-keygen -y",
    ),
    "a short digest key": (
        lambda one: one.monkeypatch.setenv("TEST_DIGEST_KEY", "short"),
        "Digest key",
        "at least 32 random characters",
    ),
    "the review identity in the worker": (
        lambda one: setattr(one.settings, "REVIEW_IDENTITY", "env:TEST_REVIEW_IDENTITY"),
        "Review identity",
        "Give the first to the web server only",
    ),
    "a webhook of another host": (channel, "qa: Slack", "KVOPS_ALLOWED_WEBHOOK_HOSTS"),
    "one token for both": (
        lambda one: one.monkeypatch.setenv("QA_WRITE", "qa-read-token"),
        "qa: separate tokens",
        "Make two tokens",
    ),
    "one token for QA and production": (
        lambda one: one.monkeypatch.setenv("QA_READ", "production-read-token"),
        "qa: separate tokens",
        "Make a token for each environment",
    ),
    "a read token that Cloudflare refuses": (
        lambda one: one.monkeypatch.setenv("QA_READ", "stranger"),
        "qa: read token",
        "This token is not known to Cloudflare (401): env:QA_READ",
    ),
    "an R2 key that is not known": (
        lambda one: one.monkeypatch.setenv("TEST_R2_KEY", "stranger"),
        "qa: bucket",
        "This token is not known to R2: env:TEST_R2_KEY",
    ),
    "a write token of another account": (
        lambda one: one.monkeypatch.setenv("QA_WRITE", "production-write-token"),
        "qa: write token",
        "Workers KV Storage Write",
    ),
    "a namespace of another title": (
        lambda _one: Namespace.objects.filter(environment__slug="qa").update(title="old"),
        "qa/SETTINGS",
        "run manage.py apply_environments again",
    ),
    "a database that is not there": (
        lambda one: one.estate.qa.environment.databases.update(database_id="gone"),
        "qa/MASTERS_D1",
        "give the token D1 Read",
    ),
    "a clock that is wrong": (
        lambda one: setattr(one.estate.cloudflare, "dates", lambda: 0.0),
        "qa: clock of Cloudflare",
        "Set it right",
    ),
    "no requests left": (
        lambda _one: SharedBudget("shared").observed(remaining=None, wait=90),
        "qa: request budget",
        "other tools",
    ),
    "R2 credentials that may not write": (
        lambda one: one.estate.s3.fault("403", "PUT", times=2),
        "qa: bucket",
        "Object Read & Write",
    ),
    "a bucket that is not locked": (
        lambda one: bucket(one).rules.clear(),
        "qa: bucket lock",
        "wrangler r2 bucket lock add",
    ),
    "no rule for proposals": (
        lambda one: bucket(one).lifecycle.clear(),
        "qa: lifecycle rules",
        "wrangler r2 bucket lifecycle add",
    ),
    "a rule that deletes backups": (lambda one: bucket(one).expire("qa/"), "qa: lifecycle rules", "Remove it"),
    "a public bucket": (
        lambda one: setattr(bucket(one), "r2_dev", True),
        "qa: bucket is private",
        "Switch that address off",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_doctor_names_a_planted_fault_and_its_cure(installation: Installation, fault: str) -> None:
    plant, about, cure = FAULTS[fault]
    plant(installation)
    found = [one for one in installation.examined() if one.health == Health.WRONG]
    assert [str(one.sentence) for one in found if str(one.about) == about and cure in str(one.sentence)]
    assert {str(one.about) for one in found} <= {about, "Database role", *FOLLOWING.get(fault, ())}


FOLLOWING = {
    "an API host that is not allowed": [
        f"{slug}: {thing}" for slug in ("qa", "production") for thing in ("read token", "write token", "bucket")
    ],
    "one token for both": ["qa: write token"],
    "one token for QA and production": ["qa: read token", "qa: bucket lock", "production: separate tokens"],
    "a read token that Cloudflare refuses": ["qa: bucket lock"],
    "no requests left": [
        *(f"{slug}: {thing}" for slug in ("qa", "production") for thing in ("read token", "write token")),
        "production: request budget",
    ],
    "R2 credentials that may not write": ["production: bucket"],
    "an R2 key that is not known": ["production: bucket"],
    "a clock that is wrong": ["production: clock of Cloudflare"],
}
"""Other lines that the fault makes wrong, and rightly so."""


def test_a_whole_installation_is_well(installation: Installation, roles: Roles) -> None:
    with roles.working_as(roles.application):
        found = installation.examined()
    assert [f"{one.about}: {one.sentence}" for one in found if one.health == Health.WRONG] == []
    assert {"qa/SETTINGS", "production: bucket", "Database role"} <= {
        str(one.about) for one in found if one.health == Health.OK
    }


def test_what_a_process_cannot_know_is_said_with_the_reason(installation: Installation) -> None:
    installation.settings.AGE_IDENTITY = ""
    installation.monkeypatch.delenv("QA_WRITE")
    unknown = {str(one.about): str(one.sentence) for one in installation.examined() if one.health == Health.UNKNOWN}
    assert "the worker's settings" in unknown["Age identity"]
    assert "env:QA_WRITE is not in this process" in unknown["qa: separate tokens"]
    assert "does not tell a token's permissions" in unknown["production: scope of the tokens"]


def test_the_web_server_must_not_have_the_write_token(installation: Installation) -> None:
    wrong = [str(one.sentence) for one in installation.examined(web=True) if one.health == Health.WRONG]
    assert "The web server can read env:QA_WRITE. Give the write token to the worker only." in wrong


def test_a_service_that_is_down_is_not_known_and_not_wrong(installation: Installation) -> None:
    installation.estate.cloudflare.fault("namespace", "error", times=50)
    found = {str(one.about): one.health for one in installation.examined()}
    assert found["qa: read token"] == Health.UNKNOWN


def test_the_command_prints_a_line_for_each_thing_and_exits_with_1_if_one_is_wrong(installation: Installation) -> None:
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", stdout=out, stderr=err)
    assert ended.value.code == 1
    assert "wrong     Database role: " in out.getvalue()
    assert "ok        qa/SETTINGS: qa-settings" in out.getvalue()
    assert err.getvalue() == "1 to correct.\n"


def test_a_look_with_wrong_settings_changes_no_row_and_no_object_and_tells_nobody(
    installation: Installation, mailoutbox: list[EmailMessage]
) -> None:
    installation.monkeypatch.setenv("QA_READ", "stranger")
    installation.monkeypatch.setenv("TEST_R2_SECRET", "another")
    bucket(installation).rules.clear()
    before = every_table()
    assert {"qa: read token", "qa: bucket"} <= {
        str(one.about) for one in installation.examined() if one.health == Health.WRONG
    }
    refused_tokens.tell()
    assert every_table() == before
    assert (mailoutbox, installation.estate.s3.objects) == ([], {})


def test_a_look_that_finds_all_well_changes_nothing_either(installation: Installation) -> None:
    before = every_table()
    installation.examined()
    assert every_table() == before
    assert installation.estate.s3.objects == {}


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_is_said_once(installation: Installation) -> None:
    port = connection.settings_dict["PORT"]
    connection.close()
    connection.settings_dict["PORT"] = "1"
    try:
        found = installation.examined()
    finally:
        connection.close()
        connection.settings_dict["PORT"] = port
    about = [str(one.about) for one in found if "database does not answer" in str(one.sentence)]
    assert about == ["Database"]
    assert "Database role" not in {str(one.about) for one in found}
    assert {"Static files", "Metrics", "Dump of the database"} <= {str(one.about) for one in found}


def test_the_web_server_cannot_tell_the_identities_apart_until_all_are_there(installation: Installation) -> None:
    installation.settings.AGE_IDENTITY = ""
    for name, identity in (("first", keys.OPERATIONS), ("second", keys.OFFLINE)):
        found = {str(one.about): one.health for one in installation.examined(web=True)}
        assert found["Offline identity"] == Health.OK
        secret(installation.tmp_path / "etc" / name, str(identity))
    found = {str(one.about): one.health for one in installation.examined(web=True)}
    assert found["Offline identity"] == Health.WRONG


def test_metrics_that_nobody_may_read_are_wrong_in_the_web_server(installation: Installation) -> None:
    installation.settings.KVOPS_METRICS_TOKEN = ""
    for web, health in ((True, Health.WRONG), (False, Health.UNKNOWN)):
        found = {str(one.about): one.health for one in installation.examined(web=web)}
        assert found["Metrics"] == health


def test_the_page_asks_the_services_only_after_a_click(installation: Installation) -> None:
    operator = Person.objects.get(email="operator@example.com")
    client, fake = signed_in(operator), installation.estate.cloudflare
    assert "Run manage.py setup_roles" in client.get(PAGE).content.decode()
    assert fake.journal == []
    answer = client.post(PAGE)
    assert "production/SETTINGS" in answer.content.decode()
    assert fake.calls("namespace")
