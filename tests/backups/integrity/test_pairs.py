"""Rows that a check reads together with equal forms are staged once, and change nothing about its result."""

import contextlib
import random
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import CommandError

from backups.datasets import paging as dataset_paging
from backups.datasets.fields import Forms
from backups.datasets.paging import TableReader
from backups.integrity import staging as check_staging
from backups.integrity.staging import Unstaged
from backups.models import Check, CheckRow
from kvops.models import Run
from kvops.operations import registry
from kvops.runs.outcomes import RunError
from tests import make
from tests.backups.datasets.test_at_once import ODD
from tests.backups.generations.helpers import d1, dataset
from tests.backups.integrity.test_verify_masters import refused, verify

CELLS = ("東京", "か\u3099", "が", "", "1", "1.0", "[1]", '{"a": 1}', 0, 1, 9007199254740993, 0.1, 1.0, None, b"1")
RULES = ["integer_boolean", "null_absent", "number_text", "nfc"]
SEED = 20260119


@pytest.fixture(autouse=True)
def no_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clean-up is tested elsewhere; here a check is nobody's."""
    monkeypatch.setitem(registry.RUNS, Run.Kind.CHECK, replace(registry.RUNS[Run.Kind.CHECK], finished=()))


@pytest.fixture
def loose(estate: make.Estate) -> make.Estate:
    """A table without types and without a key, and its dataset."""
    made = {"fields": {"id": "id", "n": "n"}, "rules": RULES, "field_rules": {"id": []}, "ignore": []}
    dataset(name="loose", prefix="loose:", table="loose", key="loose:{id}", **made)
    d1(estate).executescript("PRAGMA query_only = 0; CREATE TABLE loose (id, n);")
    return estate


def put(estate: make.Estate, *rows: tuple[object, object]) -> None:
    d1(estate).execute("PRAGMA query_only = 0")
    d1(estate).executemany("INSERT INTO loose VALUES (?, ?)", rows)
    d1(estate).commit()


def file_of(folder: Path, *rows: tuple[str, str]) -> Path:
    """A file of rows with these ids and these values as JSON text."""
    path = folder / "loose.json"
    texts = ", ".join(f'{{"id": "{id_}", "n": {n}}}' for id_, n in rows)
    path.write_text(f'{{"loose": [{texts}]}}', encoding="utf-8")
    return path


def sides(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The sides of the rows that later checks have staged at their end."""
    seen: list[list[str]] = []
    find = check_staging.find

    def spy(*args: object, **kwargs: object) -> check_staging.CheckCounts:
        seen.append(sorted(CheckRow.objects.values_list("side", flat=True)))
        return find(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(check_staging, "find", spy)
    return seen


def result(path: Path) -> tuple[object, ...]:
    """What a new check of the file says."""
    with contextlib.suppress(CommandError):
        verify(path)
    check = Check.objects.latest("pk")
    found = sorted(check.found.values_list("name", "row", "kind", "field"))
    return check.outcome, check.keys, check.rows, check.differences, check.only_in_d1, check.rules, found


def test_rows_that_come_together_are_staged_once_and_without_digests(
    loose: make.Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_paging, "FIRST_ROWS", 4)
    monkeypatch.setattr(dataset_paging, "MOST_ROWS", 9)
    ids = [f"{number:03d}" for number in range(50)]
    put(loose, *((id_, "x") for id_ in ids))
    seen = sides(monkeypatch)
    verify(file_of(tmp_path, *((id_, '"x"') for id_ in ids)))
    assert seen == [["both"] * 50]


@pytest.mark.parametrize("page", [3, 10, 500])
def test_odd_values_are_found_alike_with_pairs_and_without(
    loose: make.Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(dataset_paging, "FIRST_ROWS", page)
    chance = random.Random(SEED)
    ids = [f"{number:03d}" for number in range(120)]
    put(loose, *((id_, chance.choice(CELLS)) for id_ in ids if chance.random() > 0.05))
    path = file_of(tmp_path, *((id_, chance.choice(ODD)) for id_ in ids if chance.random() > 0.05))
    together = result(path)
    monkeypatch.setattr(Unstaged, "set_pairs_aside", lambda _self: [])
    assert result(path) == together
    assert together[0] == "failed"


@pytest.mark.parametrize("twice", [(("b", 1), ("b", 1)), (("b", 1), ("b", 2)), (("9", 1), (9, 1))])
def test_a_row_that_d1_has_twice_is_a_duplicate_though_one_of_them_agrees(
    loose: make.Estate, tmp_path: Path, twice: list[tuple[object, object]]
) -> None:
    put(loose, ("a", 1), *twice)
    refused(file_of(tmp_path, ("a", "1"), (str(twice[0][0]), "1")))
    name = f"loose:{twice[0][0]}"
    assert list(Check.objects.get().found.filter(kind="duplicate").values_list("name", flat=True)) == [name]


def test_a_pair_and_another_copy_in_a_later_batch_are_a_duplicate_of_the_file(
    loose: make.Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_paging, "FIRST_ROWS", 3)
    put(loose, ("a", 1), ("b", 1), ("c", 1), ("d", 1))
    refused(file_of(tmp_path, ("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("a", "2")))
    assert list(Check.objects.get().found.values_list("name", "kind", "field")) == [("loose:a", "duplicate", "")]


def test_what_the_file_gave_is_kept_if_d1_fails_then(
    loose: make.Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: TableReader) -> None:
        raise RunError("no_answer", "D1 does not answer.")

    monkeypatch.setattr(TableReader, "take", fail)
    refused(file_of(tmp_path, ("a", "1"), ("b", "1")))
    run = Run.objects.get()
    assert (run.error_code, run.cursor["keys"], run.cursor["after"]) == ("no_answer", 2, "")
    assert CheckRow.objects.filter(side="backup").count() == 2


def test_rows_that_one_side_has_twice_stay_on_both() -> None:
    one, other = ("a", "", Forms(["t1"])), ("b", "", Forms(["t1"]))
    rows = Unstaged(backup=[one, other, one], d1=[one, other])
    assert rows.set_pairs_aside() == [other]
    assert (rows.backup, rows.d1) == ([one, one], [one])
