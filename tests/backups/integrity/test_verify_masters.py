"""`verify_masters` and `verify`: a dataset file against D1."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django_q.models import OrmQ

from audit.models import Entry as AuditEntry
from backups import archive
from backups.datasets import files as dataset_files
from backups.datasets.files import BadFile, DatasetFile
from backups.datasets.mapping import Correspondence
from backups.integrity import backup_side
from backups.models import Check, CheckRow
from kvops.models import Run
from kvops.operations import registry
from tests import make
from tests.backups.generations.helpers import d1, dataset, entry, master, rows

ROWS = [{"id": "1", "type": "shop", "name": "東京"}, {"id": "2", "type": "shop", "name": "大阪"}]


@pytest.fixture(autouse=True)
def no_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clean-up is tested elsewhere; here a check is nobody's."""
    monkeypatch.setitem(registry.RUNS, Run.Kind.CHECK, replace(registry.RUNS[Run.Kind.CHECK], finished=()))


@pytest.fixture
def masters(estate: make.Estate) -> make.Estate:
    """Two rows in D1 of QA, and their dataset."""
    dataset()
    rows(estate, ("shop", "1", "東京"), ("shop", "2", "大阪"))
    return estate


@pytest.fixture
def clinics(masters: make.Estate) -> make.Estate:
    """A second dataset in the same database, with two rows."""
    dataset(name="clinics", prefix="clinic:id:", table="clinic", key="clinic:id:{id}", fields={"id": "id"}, ignore=[])
    d1(masters).executescript("CREATE TABLE clinic (id INTEGER PRIMARY KEY); INSERT INTO clinic VALUES (9), (10);")
    return masters


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "masters.json"


def written(file: Path, content: object) -> Path:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return file


def verify(file: Path, *more: str, command: str = "verify_masters", where: str = "--db=MASTERS_D1") -> None:
    call_command(command, "qa", "--dataset", str(file), where, *more)


def refused(file: Path, *more: str) -> CommandError:
    with pytest.raises(CommandError) as error:
        verify(file, *more)
    return error.value


def test_an_object_of_arrays_that_agrees_ends_well(
    masters: make.Estate, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(written(file, {"masters": ROWS}))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "masters: 2 in the file, 2 in D1, 0 differences."
    assert second == "  No key of KV was compared: this says nothing about KV."


def test_the_array_kv_dump_writes_is_read_too(
    masters: make.Estate, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(archive.encode_part([master("shop", "1", "東京"), master("shop", "2", "大阪")]))
    verify(file, "--json")
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_differences_end_with_exit_code_1_and_are_printed_as_json(
    clinics: make.Estate, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"masters": [{**ROWS[0], "name": "京都"}, {"id": "3", "type": "shop"}], "clinics": [{"id": 9}, {"id": 10}]}
    error = refused(written(file, other), "--json")
    printed = json.loads(capsys.readouterr().out)
    assert (error.returncode, printed["ok"]) == (1, False)
    assert printed["datasets"]["clinics"]["differences"] == 0
    found = printed["datasets"]["masters"]
    assert {name: found[name] for name in ("file", "d1", "differences", "only_in_d1")} == {
        "file": 2, "d1": 2, "differences": 3, "only_in_d1": 1
    }  # fmt: skip
    assert found["details"] == [
        {"key": "master:shop:1", "kind": "field", "field": "name"},
        {"key": "master:shop:2", "kind": "only_in_d1", "field": ""},
        {"key": "master:shop:3", "kind": "missing_in_d1", "field": ""},
    ]


def test_without_json_each_difference_is_a_line(
    masters: make.Estate, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused(written(file, {"masters": [{**ROWS[0], "name": "京都"}, ROWS[1]]}))
    assert "  master:shop:1: the field differs name\n" in capsys.readouterr().out
    assert "Delete nothing" in str(error)


def test_an_array_may_be_named_by_its_table(
    clinics: make.Estate, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(written(file, {"clinic": [{"id": 9}, {"id": 10.0}]}), "--json")
    assert list(json.loads(capsys.readouterr().out)["datasets"]) == ["clinics"]


def test_an_empty_array_is_compared_and_an_absent_one_is_not(
    clinics: make.Estate, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(written(file, {"clinics": []}), "--json")
    datasets = json.loads(capsys.readouterr().out)["datasets"]
    assert (list(datasets), datasets["clinics"]["differences"]) == (["clinics"], 2)


def test_rows_that_are_no_rows_are_named_by_their_place(
    clinics: make.Estate, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(written(file, {"clinics": [{"id": 9}, {"id": 10}, 7, {"no": 1}]}), "--json")
    details = json.loads(capsys.readouterr().out)["datasets"]["clinics"]["details"]
    assert [(one["key"], one["kind"]) for one in details] == [
        ("clinics[2]", "not_an_object"),
        ("clinics[3]", "missing_in_d1"),
    ]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"stranger": []}', "'stranger' belongs to no dataset"),
        ('[{"key": "else:1", "value": "{}"}]', "'else:1' belongs to no dataset"),
        ('{"masters": [], "masters": []}', "stands there twice"),
        ('{"masters": {"1": {}}}', "'masters' is not an array"),
        ('{"masters": [{"id": "1"}', "not an object of arrays"),
        ('{"masters": []} more', "something follows"),
        ('{"masters": [{}, ]}', "not an object of arrays"),
        ('[{"key": "master:shop:1", "value": "{}"}', "cut off"),
        ("[]", "nothing was compared"),
        ("{}", "nothing was compared"),
        ("text", "neither an array"),
        ("", "neither an array"),
    ],
)
def test_a_file_that_cannot_be_compared_is_refused_with_the_reason(
    masters: make.Estate, file: Path, content: str, named: str
) -> None:
    file.write_text(content, encoding="utf-8")
    error = refused(file)
    assert named in str(error)
    assert error.returncode == 1
    assert not Check.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["staging", "--dataset=FILE", "--db=MASTERS_D1"], "no environment 'staging'. Known: qa, production"),
        (["qa", "--dataset=FILE", "--db=STAFF_D1"], "no D1 database STAFF_D1. Known: MASTERS_D1"),
        (["qa", "--dataset=/nowhere.json", "--db=MASTERS_D1"], "no file /nowhere.json"),
    ],
)
def test_bad_usage_ends_with_exit_code_2(masters: make.Estate, file: Path, arguments: list[str], named: str) -> None:
    written(file, {"masters": ROWS})
    with pytest.raises(CommandError, match=named) as error:
        call_command("verify_masters", *(text.replace("FILE", str(file)) for text in arguments))
    assert error.value.returncode == 2


def test_d1_that_does_not_answer_is_no_agreement(masters: make.Estate, file: Path) -> None:
    d1(masters).executescript("DROP TABLE masters")
    error = refused(written(file, {"masters": ROWS}))
    assert "could not be compared" in str(error)
    assert error.returncode == 1


def test_the_check_is_recorded_with_its_file_and_needs_no_worker(masters: make.Estate, file: Path) -> None:
    verify(written(file, {"masters": ROWS}))
    check = Check.objects.get()
    started = AuditEntry.objects.get(subject=f"check:{check.pk}", action="check.started")
    assert (check.source, started.details["source"]) == (str(file), str(file))
    assert (len(started.details["sha256"]), started.actor.partition(":")[0]) == (64, "cli")
    assert not OrmQ.objects.exists()
    assert not CheckRow.objects.exists()


def test_a_long_file_is_compared_in_batches(
    clinics: make.Estate, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backup_side, "FILE_BATCH", 3)
    rows(clinics, *((n,) for n in range(11, 21)), table="clinic")
    verify(written(file, {"masters": ROWS, "clinics": [{"id": n} for n in range(9, 21)]}))
    assert "clinics: 12 in the file, 12 in D1, 0 differences." in capsys.readouterr().out


def test_verify_compares_the_dataset_it_is_told_and_no_other(
    clinics: make.Estate, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(file, {"masters": [], "clinics": [{"id": 9}, {"id": 10}]})
    verify(file, "--json", command="verify", where="--name=clinics")
    assert list(json.loads(capsys.readouterr().out)["datasets"]) == ["clinics"]


@pytest.mark.parametrize(("name", "returncode"), [("staff", 2), ("clinics", 1)])
def test_verify_refuses_a_dataset_that_is_nowhere(clinics: make.Estate, file: Path, name: str, returncode: int) -> None:
    with pytest.raises(CommandError) as error:
        verify(written(file, {"masters": ROWS}), command="verify", where=f"--name={name}")
    assert error.value.returncode == returncode


# The reader by itself


def rule(**changes: object) -> Correspondence:
    definition = {
        "name": "masters", "prefix": "master:", "table": "masters", "key": "master:{id}", "fields": {"id": "id"},
        "ignore": [], "only_in_d1": "block", **changes,
    }  # fmt: skip
    return Correspondence.of(definition)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
def test_a_file_is_read_alike_however_it_arrives(file: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(dataset_files, "CHUNK", chunk)
    file.write_text('\ufeff {"masters" : [ {"id":"1,]}\\""} ,\n{"id": 123456} , 12345 ] , "b": []}', encoding="utf-8")
    mine = [rule(), rule(name="b", prefix="b:", key="b:{id}", table="b")]
    found = DatasetFile(file, mine)
    assert [one.name for one in found.mentioned()] == ["masters", "b"]
    assert [one.name for one in found.rows(mine[0])] == ['master:1,]}"', "master:123456", None]


def test_a_key_belongs_to_the_dataset_with_the_longest_prefix(file: Path) -> None:
    mine = [rule(), rule(name="shops", prefix="master:shop:", key="master:shop:{id}")]
    file.write_bytes(archive.encode_part([entry("master:1", {}), entry("master:shop:1", {})]))
    assert [one.name for one in DatasetFile(file, mine).rows(mine[0])] == ["master:1"]


def test_a_name_two_datasets_share_is_refused(file: Path) -> None:
    mine = [rule(name="a"), rule(name="b")]
    with pytest.raises(BadFile, match="'masters' belongs to more than one dataset"):
        DatasetFile(written(file, {"masters": []}), mine).mentioned()
    assert [one.name for one in DatasetFile(written(file, {"a": []}), mine).mentioned()] == ["a"]


def test_an_error_quotes_no_value(file: Path) -> None:
    file.write_text('{"masters": [{"id": "canary" "x"}]}', encoding="utf-8")
    with pytest.raises(BadFile) as error:
        DatasetFile(file, [rule()]).mentioned()
    assert "canary" not in str(error.value)
