"""export_masters: the rows of D1 or of the team's API, as a file, or as a generation like any other."""

import json
import re
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from audit import log
from audit.models import Entry as AuditEntry
from backups import archive
from backups.datasets import paging as dataset_paging
from backups.integrity import start as check_start
from backups.masters import run as masters_run, start as masters_start
from backups.models import Generation, PlainDump
from backups.restores import selection as restore_selection
from backups.restores.moves import RestoreRefused
from backups.retention.inputs import Retention
from kvops import clock
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.generations import helpers as generation_helpers
from tests.fakes.api import FakeApi
from tests.signing import signed_in

ROWS = [("area", "1", "東京"), ("area", "2", 'a "quoted" name'), ("kind", "10", None)]
FILE = b"""[
{"key":"master:area:1","value":"{\\"id\\":\\"1\\",\\"name\\":\\"\xe6\x9d\xb1\xe4\xba\xac\\",\\"type\\":\\"area\\"}"},
{"key":"master:area:2","value":"{\\"id\\":\\"2\\",\\"name\\":\\"a \\\\\\"quoted\\\\\\" name\\",\\"type\\":\\"area\\"}"},
{"key":"master:kind:10","value":"{\\"id\\":\\"10\\",\\"name\\":null,\\"type\\":\\"kind\\"}"}
]
"""


def command(name: str, *args: object, stderr: StringIO | None = None) -> str:
    out = StringIO()
    call_command(name, *map(str, args), stdout=out, stderr=stderr or StringIO(), skip_checks=True)
    return out.getvalue()


def exported(*args: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command("export_masters", *args, "--json"))
    return found


@pytest.fixture
def d1(estate: make.Estate) -> make.Estate:
    """Three rows in QA."""
    generation_helpers.dataset()
    generation_helpers.rows(estate, *ROWS)
    return estate


@pytest.fixture
def api(settings: Any) -> Iterator[FakeApi]:
    """The team's API, on this machine."""
    settings.KVOPS_MASTERS_API_HOSTS = ["127.0.0.1"]
    with FakeApi() as fake:
        yield fake


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "masters_start.json"


def test_the_file_holds_the_rows_and_nothing_else(d1: make.Estate, output: Path) -> None:
    said = exported("qa", "--output", output)
    assert output.read_bytes() == FILE
    assert said == {
        "source": "d1",
        "tables": {"masters": 3},
        "keys": 3,
        "bytes": said["bytes"],
        "calls": len(d1.cloudflare.journal),
        "sha256": sha256(FILE).hexdigest(),
        "output": str(output),
    }


def test_the_order_in_d1_does_not_change_a_byte(d1: make.Estate, output: Path, tmp_path: Path) -> None:
    first = exported("qa", "--output", output)
    generation_helpers.d1(d1).executescript("PRAGMA query_only = 0; DELETE FROM masters;")
    generation_helpers.rows(d1, *reversed(ROWS))
    assert exported("qa", "--output", tmp_path / "again.json")["sha256"] == first["sha256"]


def test_the_integrity_check_takes_the_file(d1: make.Estate, output: Path) -> None:
    exported("qa", "--output", output)
    said = json.loads(command("verify_masters", "qa", "--dataset", output, "--db", "MASTERS_D1", "--json"))
    assert (said["ok"], said["datasets"]["masters"]["file"]) == (True, 3)
    generation_helpers.rows(d1, ("area", "3", "new"))
    with pytest.raises(CommandError, match=r"^1 difference\."):
        command("verify_masters", "qa", "--dataset", output, "--db", "MASTERS_D1")


def test_each_table_of_a_backup_is_checked_against_d1(d1: make.Estate) -> None:
    generation_helpers.d1(d1).executescript("PRAGMA query_only = 0; CREATE TABLE staff (id TEXT, name TEXT);")
    generation_helpers.dataset(
        name="staff", prefix="staff:", table="staff", key="staff:{id}", fields={"id": "id", "name": "name"}
    )
    generation_helpers.rows(d1, ("7", "Aoi"), table="staff (id, name)")
    made = Generation.objects.get(pk=exported("qa", "--to-r2")["generation"])
    check_start.start_checks(made, actor=make.SETUP)
    make.work()
    assert [(each.dataset.name, each.outcome, each.keys) for each in made.checks.order_by("dataset__name")] == [
        ("masters", "passed", 3),
        ("staff", "passed", 1),
    ]
    generation_helpers.rows(d1, ("8", "Ren"), table="staff (id, name)")
    check_start.start_checks(made, actor=make.SETUP)
    make.work()
    assert [each.differences for each in made.checks.order_by("-pk")[:2]] == [1, 0]


LISTS: dict[str, object] = {
    "name": "lists",
    "prefix": "list:",
    "table": "item",
    "key": "list:{area}",
    "holds": "array",
    "path": "items",
    "row": "{id}",
    "fields": {"id": "id", "name.ja": "name"},
    "ignore": [],
}


@pytest.fixture
def lists(estate: make.Estate) -> make.Estate:
    """Three rows in two keys of QA."""
    generation_helpers.dataset(**LISTS)
    generation_helpers.d1(estate).executescript("PRAGMA query_only = 0; CREATE TABLE item (area TEXT, id INT, name);")
    generation_helpers.rows(estate, ("b", 2, "x"), ("a", 10, "東京"), ("a", 9, None), table="item (area, id, name)")
    return estate


def test_rows_of_one_key_are_put_together_in_its_value(lists: make.Estate, output: Path) -> None:
    said = exported("qa", "--output", output)
    assert [json.loads(entry["value"]) for entry in json.loads(output.read_text())] == [
        {"items": [{"id": 10, "name": {"ja": "東京"}}, {"id": 9, "name": {"ja": None}}]},
        {"items": [{"id": 2, "name": {"ja": "x"}}]},
    ]
    assert (said["tables"], said["keys"]) == ({"lists": 3}, 2)


def test_a_backup_of_keys_of_many_rows_agrees_with_d1(lists: make.Estate) -> None:
    made = Generation.objects.get(pk=exported("qa", "--to-r2")["generation"])
    [check] = check_start.start_checks(made, actor=make.SETUP)
    make.work()
    check.refresh_from_db()
    assert (check.outcome, check.keys, check.kv_rows, check.rows) == ("passed", 2, 3, 3)


def test_its_steps_load_every_row_of_a_key(lists: make.Estate, tmp_path: Path) -> None:
    said = exported("qa", "--to-r2")
    steps = lists.s3.objects[said["manifest"].replace(".manifest.json", ".RESTORE.md")].decode()
    (tmp_path / "part-00001.json").write_bytes(lists.s3.objects[said["objects"][0]])
    scripts = re.findall(r"^```sh\n(.*?)\n```$", steps, flags=re.MULTILINE | re.DOTALL)
    ours = re.sub(r"^(npx|echo|export|python manage).*$", "", "\n".join(scripts), flags=re.MULTILINE)
    subprocess.run(["bash", "-euc", ours], cwd=tmp_path, check=True)
    empty = sqlite3.connect(":memory:")
    empty.execute("CREATE TABLE item (area TEXT, id INT, name)")
    empty.executescript((tmp_path / "load.sql").read_text())
    assert empty.execute("SELECT id, name FROM item ORDER BY id").fetchall() == [(2, "x"), (9, None), (10, "東京")]
    empty.close()


def test_the_manifest_says_where_the_rows_lie(lists: make.Estate) -> None:
    [table] = archive.parse_manifest(lists.s3.objects[exported("qa", "--to-r2")["manifest"]]).tables
    assert (table.holds, table.path, table.fields) == ("array", ("items",), (("id", "id"), ("name", "ja", "name")))


def test_rows_of_the_teams_api_become_the_value_of_their_key(lists: make.Estate, api: FakeApi, output: Path) -> None:
    found = [{"area": "a", "id": 1, "name": {"ja": "x"}}, {"area": "a", "id": 2}]
    api.answer({"lists": found})
    exported("qa", "--source", f"api:{api.url}", "--output", output)
    [entry] = json.loads(output.read_text())
    assert json.loads(entry["value"]) == {"items": [{"id": 1, "name": {"ja": "x"}}, {"id": 2}]}


def test_the_file_is_its_owners_only_and_a_to_do(d1: make.Estate, output: Path) -> None:
    exported("qa", "--output", output)
    row = PlainDump.objects.get()
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert (row.path, row.keys, row.kept_at) == (str(output), 3, "")
    assert AuditEntry.objects.get(action="dump.written").actor.startswith("cli:")


def test_a_file_that_exists_is_never_overwritten(d1: make.Estate, output: Path) -> None:
    output.write_text("precious")
    with pytest.raises(CommandError, match="already"):
        exported("qa", "--output", output)
    assert (output.read_text(), d1.cloudflare.journal) == ("precious", [])


def test_it_goes_to_r2_by_the_teams_day_and_is_verified(d1: make.Estate) -> None:
    late = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)  # the 26th in Tokyo
    with patch("kvops.clock.now", lambda: late):
        said = exported("qa", "--to-r2")
    assert said["objects"] == ["qa/backups/masters/20261126.json"]
    assert (said["status"], said["tables"], said["keys"]) == ("verified", {"masters": 3}, 3)
    assert d1.s3.objects["qa/backups/masters/20261126.json"] == FILE
    made = Generation.objects.get(pk=said["generation"])
    assert (made.purpose, made.source, made.category) == ("masters", "d1", "legacy")
    assert (made.retain_until - made.started_at).days == 14


def test_a_later_one_of_the_day_has_the_time_in_its_name(d1: make.Estate) -> None:
    exported("qa", "--to-r2")
    objects = exported("qa", "--to-r2")["objects"]
    assert re.fullmatch(r"qa/backups/masters/\d{8}-\d{6}\.json", objects[0])


def test_the_manifest_says_what_it_is_of(d1: make.Estate) -> None:
    said = exported("qa", "--to-r2")
    found = archive.parse_manifest(d1.s3.objects[said["manifest"]])
    (table,) = found.tables
    assert (found.source, table.database, table.table, table.rows) == ("d1", "MASTERS_D1", "masters", 3)
    assert dict(table.fields) == {"id": "id", "name": "name", "type": "type"}  # type: ignore[arg-type]
    steps = d1.s3.objects[found.restore_key].decode()
    assert "wrangler d1 execute MASTERS_D1 --remote" in steps
    assert "kv bulk put" not in steps


def test_its_steps_load_the_rows_that_d1_lacks(d1: make.Estate, tmp_path: Path) -> None:
    said = exported("qa", "--to-r2")
    steps = d1.s3.objects[said["manifest"].replace(".manifest.json", ".RESTORE.md")].decode()
    (tmp_path / "part-00001.json").write_bytes(d1.s3.objects[said["objects"][0]])
    scripts = re.findall(r"^```sh\n(.*?)\n```$", steps, flags=re.MULTILINE | re.DOTALL)
    ours = re.sub(r"^(npx|echo|export|python manage).*$", "", "\n".join(scripts), flags=re.MULTILINE)
    subprocess.run(["bash", "-euc", ours], cwd=tmp_path, check=True)
    lacking = sqlite3.connect(":memory:")
    lacking.execute("CREATE TABLE masters (type TEXT, id TEXT, name TEXT, updated_at TEXT, PRIMARY KEY (type, id))")
    lacking.execute("INSERT INTO masters VALUES ('area', '1', 'another', NULL)")
    lacking.executescript((tmp_path / "load.sql").read_text())
    assert lacking.execute("SELECT type, id, name FROM masters ORDER BY type, id").fetchall() == [
        ("area", "1", "another"),
        *ROWS[1:],
    ]
    lacking.close()


def test_what_is_in_kv_is_not_taken_from_it(d1: make.Estate, people: make.People) -> None:
    said = exported("qa", "--to-r2")
    made = Generation.objects.get(pk=said["generation"])
    with pytest.raises(RestoreRefused, match="rows of D1"):
        restore_selection.prepare_restore(made, actor=make.SETUP)
    assert not Generation.objects.holding("master:area:1").exists()


def test_the_lists_say_that_no_key_comes_back_from_it(d1: make.Estate, people: make.People) -> None:
    exported("qa", "--to-r2")
    for address in ("/backups/", "/retention/"):
        page = " ".join(signed_in(people.auditor).get(address).content.decode().split())
        assert page.count("master data of D1 · no key can be restored from it") == 1, address


def test_retention_lets_only_newer_masters_take_their_place(d1: make.Estate) -> None:
    first = Generation.objects.get(pk=exported("qa", "--to-r2")["generation"])
    generation_helpers.backup_of(d1, generation_helpers.master("area", "1", "x"), status="verified", verified_at=Now())
    (alone,) = Retention().of([first])
    newer = exported("qa", "--to-r2")["generation"]
    (kept,) = Retention().of([first])
    assert (alone.verdict.newer, kept.verdict.newer) == ((), (newer,))


def test_a_dry_run_tells_the_numbers_and_backups_nothing(d1: make.Estate, output: Path) -> None:
    said = exported("qa", "--output", output, "--dry-run")
    assert (said["tables"], said["keys"], said["sha256"]) == ({"masters": 3}, 3, None)
    assert not output.exists()
    assert not Generation.objects.exists()


class MastersTerminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_is_asked_first(d1: make.Estate, output: Path) -> None:
    screen = MastersTerminal()
    with patch("builtins.input", return_value="n"), pytest.raises(CommandError, match="Nothing was backed up") as said:
        command("export_masters", "qa", "--output", output, stderr=screen)
    assert (said.value.returncode, output.exists()) == (1, False)
    assert "masters: 3 rows of masters" in screen.getvalue()
    command("export_masters", "qa", "--output", output, "--yes", stderr=screen)
    assert output.read_bytes() == FILE


def test_many_rows_are_read_in_pages_and_stored_in_parts(d1: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_paging, "FIRST_ROWS", 7)
    monkeypatch.setattr(dataset_paging, "MOST_ROWS", 7)
    monkeypatch.setattr(archive.writing, "MAX_KEYS", 10)
    generation_helpers.rows(d1, *[("many", f"{number:03}", str(number)) for number in range(25)])
    said = exported("qa", "--to-r2")
    assert (said["keys"], said["status"], len(said["objects"])) == (28, "verified", 3)


def test_a_worker_goes_on_where_the_same_rows_are_read_again(d1: make.Estate, hurried: None) -> None:
    made = started(d1)
    make.work()
    made.refresh_from_db()
    assert (made.status, made.keys, made.parts.count()) == ("verified", 3, 2)
    assert len([call for call in d1.cloudflare.journal if call.route == "query"]) == 2 * 3


def test_a_backup_starts_over_when_the_rows_changed_between_two_steps(d1: make.Estate, hurried: None) -> None:
    made = started(d1)
    run_driver.drive(made.run_id)
    generation_helpers.rows(d1, ("area", "0", "new"))
    make.work()
    made.refresh_from_db()
    assert (made.status, made.keys, made.tables[0]["rows"]) == ("verified", 4, 4)
    assert made.object_keys()[0].endswith(".try-2.json")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows are a part, and a part is a step."""
    monkeypatch.setattr(archive.writing, "MAX_KEYS", 2)
    monkeypatch.setattr(masters_run.MastersExport, "_out_of_time", True)


def started(estate: make.Estate) -> Generation:
    chosen = masters_start.choose(estate.qa.environment)
    return masters_start.start_export(chosen, actor=make.SETUP)


def refused(*args: object) -> str:
    with pytest.raises(CommandError) as refusal:
        exported(*args)
    assert refusal.value.returncode == 1
    return str(refusal.value)


def test_two_rows_of_one_name_are_no_backup(estate: make.Estate, output: Path) -> None:
    generation_helpers.dataset(key="master:{type}", fields={"type": "type"})
    generation_helpers.rows(estate, *ROWS)
    assert "Two rows of masters stand for the key 'master:area'" in refused("qa", "--output", output)
    assert not output.exists()
    assert "Two rows" in refused("qa", "--to-r2")


def test_a_row_without_a_key_is_no_backup(d1: make.Estate, output: Path) -> None:
    generation_helpers.rows(d1, (None, "4", "x"))
    assert "no value in a column of the key" in refused("qa", "--output", output)


def test_a_blob_is_no_backup(d1: make.Estate, output: Path) -> None:
    generation_helpers.rows(d1, ("area", "4", b"\x00"))
    said = refused("qa", "--output", output)
    assert "'master:area:4' cannot be written as JSON" in said


def test_numbers_keep_their_digits(estate: make.Estate, output: Path) -> None:
    generation_helpers.dataset()
    generation_helpers.rows(estate, ("area", "1", 2**62), ("area", "2", 1.5), ("area", "3", 1e300))
    d1 = generation_helpers.d1(estate)
    d1.execute("PRAGMA query_only = 0")
    d1.execute("CREATE TABLE free (type, id, name)")
    d1.execute("INSERT INTO free VALUES ('n', 1, 9007199254740993), ('n', 2, 1.5)")
    d1.commit()
    generation_helpers.dataset(name="free", prefix="free:", table="free", key="free:{id}")
    exported("qa", "--name", "free", "--output", output)
    values = [json.loads(entry["value"])["name"] for entry in json.loads(output.read_text())]
    assert values == [9007199254740993, 1.5]


def test_an_unknown_dataset_is_named_with_the_known_ones(d1: make.Estate, output: Path) -> None:
    assert "no dataset staff. Known: masters" in refused("qa", "--name", "staff", "--output", output)
    assert AuditEntry.objects.filter(action="dump.refused").count() == 1


def test_datasets_of_two_databases_are_two_backups(d1: make.Estate, output: Path) -> None:
    generation_helpers.dataset(name="other", prefix="other:", key="other:{id}", database="OTHER_D1")
    assert "MASTERS_D1/SETTINGS, OTHER_D1/SETTINGS" in refused("qa", "--output", output)
    assert exported("qa", "--name", "masters", "--output", output)["keys"] == 3


def test_an_unknown_environment_is_bad_usage(d1: make.Estate, output: Path) -> None:
    with pytest.raises(CommandError, match="Known: qa, production") as refusal:
        exported("prod", "--output", output)
    assert refusal.value.returncode == 2


# The team's own API


def test_the_api_gives_the_same_bytes_as_d1(d1: make.Estate, api: FakeApi, output: Path) -> None:
    rows = [{"type": kind, "id": number, "name": name} for kind, number, name in ROWS]
    api.answer({"masters": rows})
    said = exported("qa", "--source", f"api:{api.url}", "--output", output)
    assert (output.read_bytes(), said["tables"]) == (FILE, {"masters": 3})


def test_the_api_is_asked_with_its_token_and_backed_up_to_r2(
    d1: make.Estate, api: FakeApi, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTERS_TOKEN", "for-the-masters")
    settings.KVOPS_MASTERS_API_TOKEN = "env:MASTERS_TOKEN"
    api.answer({"masters": [{"type": "area", "id": "1", "name": "x", "extra": [1.0, True]}]})
    said = exported("qa", "--source", f"api:{api.url}", "--to-r2")
    assert (said["status"], said["keys"], said["source"]) == ("verified", 1, f"api:{api.url}")
    assert api.asked[0].headers["Authorization"] == "Bearer for-the-masters"
    assert b'\\"extra\\":[1.0,true]' in d1.s3.objects[said["objects"][0]]
    assert not AuditEntry.objects.filter(details__icontains="for-the-masters").exists()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://elsewhere.example/masters", "elsewhere.example is not an allowed host"),
        ("http://masters.example/", "by https"),
        ("https://user:secret@masters.example/", "not an allowed host"),
        ("https://masters.example:port/", "cannot be read"),
        ("ftp://masters.example/", "by https"),
    ],
)
def test_other_addresses_are_never_asked(d1: make.Estate, output: Path, settings: Any, url: str, why: str) -> None:
    settings.KVOPS_MASTERS_API_HOSTS = ["masters.example"]
    said = refused("qa", "--source", f"api:{url}", "--output", output)
    assert why in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 302, "headers": {"Location": "https://masters.example/"}}, "redirect"),
        ({"status": 500}, "status 500"),
        ({"headers": {"Content-Type": "text/html"}}, "text/html instead of application/json"),
        ({"body": b'{"masters": [{"type": "area", "id": '}, "not an object of arrays"),
        ({"body": b'{"masters": [7]}'}, "is no JSON object"),
        ({"body": b'{"masters": [{"type": "area"}]}'}, "has no id"),
        ({"body": b'{"others": []}'}, "belongs to no dataset"),
        ({"body": b"{}"}, "nothing for masters"),
    ],
)
def test_an_answer_that_is_not_the_masters_is_no_backup(
    d1: make.Estate, api: FakeApi, output: Path, answer: dict[str, Any], why: str
) -> None:
    api.next = answer
    said = refused("qa", "--source", f"api:{api.url}", "--output", output)
    assert why in said
    assert not output.exists()
    assert "/tmp" not in said.replace(str(output), "")


def test_an_endless_answer_is_cut_off(
    d1: make.Estate, api: FakeApi, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.masters.api.MAX_BYTES", 2**20)
    api.next = {"body": b" " * (2**20 + 1)}
    assert "more than 1 MiB" in refused("qa", "--source", f"api:{api.url}", "--output", output)


def test_a_source_that_is_neither_is_refused(d1: make.Estate, output: Path) -> None:
    assert "“d1”, or “api:”" in refused("qa", "--source", "https://masters.example/", "--output", output)


def test_the_day_is_counted_from_the_database(d1: make.Estate) -> None:
    with patch("kvops.clock.went_back", return_value=True):
        assert "clock is behind" in refused("qa", "--to-r2")
    assert clock.now()


# By schedule


def test_a_schedule_backups_every_dataset_from_d1(d1: make.Estate) -> None:
    with log.transaction():
        begun = masters_start.scheduled(d1.qa.environment, make.SETUP)
    make.work()
    made = Generation.objects.get()
    assert (begun.runs, begun.refused, made.status, made.source) == ([made.run], [], "verified", "d1")


def test_a_schedule_without_a_dataset_has_nothing_to_do(estate: make.Estate) -> None:
    with log.transaction():
        begun = masters_start.scheduled(estate.qa.environment, make.SETUP)
    assert (begun.runs, begun.refused) == ([], [])


def test_a_schedule_says_why_it_cannot_begin(d1: make.Estate) -> None:
    started(d1)
    with log.transaction():
        begun = masters_start.scheduled(d1.qa.environment, make.SETUP)
    assert "already running" in str(begun.refused[0])
