"""export_clinics: old clinic records in bulk, and their deletion prepared, never done."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from audit import log
from audit.models import Entry
from backups.cleanup import requests as cleanup_requests
from backups.masters import clinics
from backups.models import CleanupRequest, CleanupStage, Generation, PlainDump
from kvops.inventory import scan as inventory_scan
from kvops.models import Category, Run
from tests import make, searched
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers

NAMES = ("clinic:id:1", "clinic:id:2")
WHY = ("--delete", "--reason", "moved to D1")


def exported(*args: object) -> dict[str, Any]:
    out = StringIO()
    call_command("export_clinics", *map(str, args), "--json", stdout=out, stderr=StringIO(), skip_checks=True)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def refused(*args: object) -> str:
    with pytest.raises(CommandError) as refusal:
        exported(*args)
    assert refusal.value.returncode == 1
    return str(refusal.value)


@pytest.fixture
def records(estate: make.Estate) -> make.Estate:
    """Two clinic records in KV and D1 of QA and production, and a summary that is none."""
    make.family("clinic:id:", Category.LEGACY)
    make.family("clinic:summary:", Category.CACHE, expiry="ttl:3600")
    generation_helpers.dataset(
        name="clinics", prefix="clinic:id:", key="clinic:id:{id}", fields={"id": "id", "name": "name"}, ignore=[]
    )
    for slug in ("qa", "production"):
        database = generation_helpers.d1(estate, slug)
        database.execute("PRAGMA query_only = 0")
        for number in ("1", "2"):
            value = json.dumps({"id": number, "name": f"Clinic {number}"}).encode()
            estate.put(getattr(estate, slug), f"clinic:id:{number}", value)
            database.execute("INSERT INTO masters VALUES ('clinic', ?, ?, NULL)", (number, f"Clinic {number}"))
        database.commit()
        estate.put(getattr(estate, slug), "clinic:summary:1", b"{}")
    return estate


def test_a_dry_run_tells_the_number_and_reads_no_value(records: make.Estate) -> None:
    said = exported("qa", "--to-r2", "--dry-run", *WHY)
    assert (said["keys"], said["bytes"]) == (2, None)
    assert {call.route for call in records.cloudflare.journal} == {"keys"}
    assert not CleanupRequest.objects.exists()


def test_the_file_holds_the_records_and_is_a_to_do(records: make.Estate, tmp_path: Path) -> None:
    said = exported("qa", "--output", tmp_path / "clinics.json")
    names = [entry["key"] for entry in json.loads((tmp_path / "clinics.json").read_text())]
    assert (names, said["keys"]) == ([*NAMES], 2)
    assert PlainDump.objects.get().actor.startswith("cli:")


def test_they_go_to_the_folder_of_clinics_with_place_person_and_time(records: make.Estate) -> None:
    said = exported("qa", "--to-r2")
    assert said["objects"][0].startswith("qa/backups/kv/clinics/")
    entry = Entry.objects.get(action="generation.started")
    assert (entry.subject_label in said["objects"][0], entry.actor[:4]) == (True, "cli:")


def test_another_binding_and_prefix_can_be_named(records: make.Estate) -> None:
    said = exported("qa", "--binding", "SETTINGS", "--prefix", "clinic:summary:", "--to-r2", "--dry-run")
    assert said["keys"] == 1
    with pytest.raises(CommandError, match="There is no qa/OTHER") as refusal:
        exported("qa", "--binding", "OTHER", "--to-r2")
    assert refusal.value.returncode == 2


def test_delete_prepares_a_stage_and_deletes_nothing(records: make.Estate) -> None:
    said = exported("qa", "--to-r2", *WHY)
    stage = CleanupStage.objects.get(pk=said["stage"])
    assert (said["state"], said["names"], said["url"]) == (
        "checked",
        2,
        f"{settings.BASE_URL}/cleanup/stages/{stage.pk}/",
    )
    assert Generation.objects.get().pk == said["generation"]
    assert Generation.objects.get().stem.startswith("qa/backups/kv/clinics/")
    assert (stage.request.requested_by, stage.request.asker[:4]) == (None, "cli:")
    assert not Run.objects.filter(kind="delete").exists()
    assert cleanup_helpers.journal(records) == {}


def test_a_person_submits_what_a_command_prepared(records: make.Estate, people: make.People) -> None:
    stage = CleanupStage.objects.get(pk=exported("qa", "--to-r2", *WHY)["stage"])
    cleanup_helpers.search_code(stage.request)
    cleanup_helpers.share(cleanup_helpers.stage_of(stage.request), people)
    request = cleanup_requests.submit(cleanup_helpers.stage_of(stage.request), by=people.operator)
    evidence = json.loads(request.evidence)
    assert (request.requester, evidence["asked_by"][:4]) == (people.operator, "cli:")


def test_a_file_can_be_written_with_it(records: make.Estate, tmp_path: Path) -> None:
    said = exported("qa", "--output", tmp_path / "clinics.json", *WHY)
    assert (said["output"], said["state"]) == (str(tmp_path / "clinics.json"), "checked")


def test_again_it_prepares_the_same_stage(records: make.Estate) -> None:
    first = exported("qa", "--to-r2", *WHY)
    records.put(records.qa, "clinic:id:3", b'{"id": "3", "name": "Clinic 3"}')
    assert "differences with D1: 1." in refused("qa", "--to-r2", *WHY)
    stage = CleanupStage.objects.get(pk=first["stage"])
    assert (stage.state, stage.names) == ("verified", 3)


def test_production_waits_until_qa_is_accepted(records: make.Estate) -> None:
    assert "Clean up QA first" in refused("production", "--to-r2", *WHY)
    assert not CleanupRequest.objects.exists()
    assert not Generation.objects.exists()
    assert Entry.objects.filter(action="refused").count() == 1


def test_production_is_prepared_after_qa(records: make.Estate, people: make.People) -> None:
    searched.once(records.qa.environment, records.production.environment)
    exported("qa", "--to-r2", *WHY)
    cleanup_helpers.accepted(CleanupRequest.objects.get(), people)
    said = exported("production", "--to-r2", *WHY)
    assert (said["state"], said["names"]) == ("checked", 2)
    assert CleanupRequest.objects.count() == 1


@pytest.mark.parametrize("reason", [[], ["--reason", "x"]])
def test_delete_wants_a_reason(records: make.Estate, reason: list[str]) -> None:
    with pytest.raises(CommandError, match="--reason") as refusal:
        exported("qa", "--to-r2", "--delete", *reason)
    assert refusal.value.returncode == 2


def test_a_schedule_backups_what_the_newest_scan_knows_of(records: make.Estate) -> None:
    with log.transaction():
        assert clinics.scheduled(records.qa.environment, make.SETUP).runs == []
    cleanup_helpers.scan(records.qa)
    with log.transaction():
        begun = clinics.scheduled(records.qa.environment, make.SETUP)
    make.work()
    made = Generation.objects.get()
    assert (begun.runs, made.status, made.keys) == ([made.run], "verified", 2)


def test_the_page_counts_the_records_as_of_a_scan_that_listed_them(records: make.Estate) -> None:
    cleanup_helpers.scan(records.qa)
    inventory_scan.start_scan(records.qa, prefix="master:", actor=make.SETUP)
    make.work()
    [qa] = [one for one in clinics.overview() if one.namespace == records.qa]
    assert (qa.keys, qa.scan and qa.scan.prefix) == (2, "")
