"""`manage.py restore`: it prepares, and writes nothing."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from backups.models import Restore
from backups.restores import requests as restore_requests
from kvops.cloudflare import KvEntry
from tests import make
from tests.backups.restores import helpers as restore_helpers

pytestmark = pytest.mark.django_db
ENTRIES = tuple(KvEntry(name, b"v", None, None) for name in ("master:a:1", "master:\u2028\n", "master:b:1"))


def backed_up(estate: make.Estate) -> int:
    restore_helpers.put(estate, estate.qa, *ENTRIES)
    generation = restore_helpers.verified_backup(estate.qa)
    restore_helpers.wipe(estate, estate.qa, ENTRIES[0].name)
    return generation.pk


def run(*arguments: object) -> str:
    out = StringIO()
    call_command("restore", *map(str, arguments), stdout=out, stderr=StringIO())
    return out.getvalue()


def test_it_counts_and_says_where_to_submit(estate: make.Estate, people: make.People) -> None:
    said = run(backed_up(estate))
    restore = Restore.objects.get()
    assert "3 keys" in said
    assert "1 would be added" in said
    assert restore.on_conflict == "skip"
    assert f"Submit it at http://localhost:8000/restores/{restore.pk}/" in said
    assert all(not call.written for call in estate.cloudflare.journal)
    assert restore_requests.submit(restore, reason="no longer needed", by=people.operator).state == "pending"


def test_json_tells_the_same(estate: make.Estate) -> None:
    said = json.loads(run(backed_up(estate), "--json", "--on-conflict", "overwrite", "--prefix", "master:a:"))
    assert (said["names"], said["absent"], said["equal"], said["on_conflict"]) == (1, 1, 0, "overwrite")
    assert said["restore"] == Restore.objects.get().pk


def test_a_dry_run_keeps_nothing_to_submit(estate: make.Estate) -> None:
    said = json.loads(run(backed_up(estate), "--json", "--dry-run"))
    assert (said["restore"], said["url"], said["absent"], said["equal"]) == (None, None, 1, 2)
    assert Restore.objects.get().state == "ended"


def test_names_come_from_a_file_with_a_json_string_a_line(estate: make.Estate, tmp_path: Path) -> None:
    file = tmp_path / "names.jsonl"
    file.write_text("".join(f"{json.dumps(one.name, ensure_ascii=False)}\n" for one in ENTRIES[:2]), "utf-8")
    assert json.loads(run(backed_up(estate), "--json", "--names", file))["names"] == 2


@pytest.mark.parametrize("content", ["plain text\n", "[1]\n", '"a"\n"a"\n', "7\n"])
def test_a_file_of_something_else_is_bad_usage(estate: make.Estate, tmp_path: Path, content: str) -> None:
    (tmp_path / "names").write_text(content)
    with pytest.raises(CommandError) as error:
        run(backed_up(estate), "--names", tmp_path / "names")
    assert error.value.returncode == 2


def test_another_environment_is_named(estate: make.Estate) -> None:
    run(backed_up(estate), "--to", "production")
    assert Restore.objects.get().namespace == estate.production


@pytest.mark.parametrize(("arguments", "code"), [(["99"], 2), (["--to", "nowhere"], 2), (["--prefix", "nothing:"], 1)])
def test_what_cannot_be_prepared_is_said(estate: make.Estate, arguments: list[str], code: int) -> None:
    given = arguments if arguments[0] == "99" else [backed_up(estate), *arguments]
    with pytest.raises(CommandError) as error:
        run(*given)
    assert error.value.returncode == code


def test_production_s_keys_are_not_prepared_for_qa(estate: make.Estate) -> None:
    restore_helpers.put(estate, estate.production, *ENTRIES)
    with pytest.raises(CommandError, match="no family of SETTINGS has qa_may_take"):
        run(restore_helpers.verified_backup(estate.production).pk, "--to", "qa")
