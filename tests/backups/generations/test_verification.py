"""The read-back: whatever is not as KV returned it is found, named and recorded."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from audit import log
from audit.models import Entry as AuditEntry
from backups import archive
from backups.generations import start as generation_start
from backups.generations.verification import StoredBackup
from backups.models import Generation, StoredObject
from kvops import clock
from kvops.models import Environment, Notification, NotificationEvent, Run
from tests import make
from tests.audit.make import triggers_off
from tests.fakes.s3 import FaultKind
from tests.gate.world import tampered

ACTOR = log.Actor.system("tests")


@pytest.fixture
def backup(estate: make.Estate) -> Generation:
    """Three keys, one of them for the API only."""
    for name, metadata in (("master:a", None), ("master:b", '{"n": 1}'), ("master:c", "[1]")):
        estate.put(estate.qa, name, name.encode(), metadata=metadata)
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=ACTOR)
    make.work()
    made.refresh_from_db()
    return made


def verify(generation: Generation) -> Generation:
    generation_start.start_verification(generation, actor=ACTOR)
    make.work()
    generation.refresh_from_db()
    return generation


def command(*args: object) -> str:
    out = StringIO()
    call_command("verify_generation", *map(str, args), stdout=out, stderr=StringIO(), skip_checks=True)
    return out.getvalue()


def test_an_intact_backup_is_verified_with_a_date(backup: Generation) -> None:
    assert verify(backup).status == "verified"
    assert backup.verified_at is not None
    assert Run.objects.get(verified_generations=backup).done == 3


def test_a_verified_backup_can_be_verified_again(backup: Generation) -> None:
    first = verify(backup).verified_at
    again = verify(backup).verified_at
    assert first is not None
    assert again is not None
    assert again > first


SUFFIXES = [".json", ".json.digests", ".api-only.json", ".api-only.json.digests", ".RESTORE.md", ".manifest.json"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_flipped_bit_anywhere_is_damage(estate: make.Estate, backup: Generation, suffix: str) -> None:
    key = backup.stem + suffix
    estate.s3.corrupt(key, len(estate.s3.objects[key]) * 4)
    assert verify(backup).status == "damaged"
    assert backup.problem
    assert AuditEntry.objects.get(action="generation.damaged").digest == backup.manifest_sha256


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_object_is_damage(estate: make.Estate, backup: Generation, suffix: str) -> None:
    del estate.s3.objects[backup.stem + suffix]
    assert verify(backup).status == "damaged"
    assert suffix in backup.problem


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_object_cut_off_is_damage(estate: make.Estate, backup: Generation, suffix: str) -> None:
    key = backup.stem + suffix
    estate.s3.objects[key] = estate.s3.objects[key][:-4]
    assert verify(backup).status == "damaged"


def test_another_value_in_postgres_than_in_the_backup_is_damage(backup: Generation) -> None:
    with triggers_off("backups_generationentry"):
        backup.entries.filter(name="master:a").update(digest=b"x" * 32)
    assert "KV did not return" in verify(backup).problem


def test_an_entry_that_kv_returned_and_the_backup_lacks_is_damage(backup: Generation) -> None:
    with triggers_off("backups_generationentry"):
        backup.entries.filter(name="master:a").update(name="master:0")
    assert verify(backup).status == "damaged"


def test_a_consistent_forgery_of_everything_in_the_bucket_is_damage(estate: make.Estate, backup: Generation) -> None:
    """Data, digests and manifest agree with each other, but not with what KV returned."""
    writer = archive.PartWriter()
    for key in backup.object_keys():
        for entry in archive.read_entries([estate.s3.objects[key]]):
            forged = type(entry)(entry.name, b"forged", entry.expiration, entry.metadata)
            writer.add(forged)
    for stored in writer.finish(backup.stem, 1):
        estate.s3.objects[stored.part.key] = stored.body
        estate.s3.objects[stored.part.digests_key] = stored.digests
    assert verify(backup).status == "damaged"


def test_a_backup_of_another_namespace_is_damage(estate: make.Estate, backup: Generation) -> None:
    with triggers_off("backups_generation"):
        Generation.objects.filter(pk=backup.pk).update(namespace=estate.production)
    assert "namespace" in verify(backup).problem


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("kind", "times"), [("503", 4), ("torn", 2)])
def test_a_store_that_fails_for_a_while_only_delays(
    estate: make.Estate, backup: Generation, suffix: str, kind: FaultKind, times: int
) -> None:
    estate.s3.fault(kind, "GET", key=backup.stem + suffix, after=10, times=times)
    assert verify(backup).status == "verified"


@pytest.mark.usefixtures("not_read_back")
def test_parts_already_read_are_not_read_again_after_a_pause(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_KEYS", 1)
    monkeypatch.setattr(archive.writing, "MAX_KEYS", 1)
    for name in ("master:a", "master:b"):
        estate.put(estate.qa, name)
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=ACTOR)
    make.work()
    estate.s3.fault("503", "GET", key=f"{made.stem}.part-00002.json", times=3)
    assert verify(made).status == "verified"
    assert len([call for call in estate.s3.calls("GET") if call.key == f"{made.stem}.json"]) == 1


def partial(estate: make.Estate) -> Generation:
    estate.put(estate.qa, "master:nul\0")
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=ACTOR)
    make.work()
    return made


def unfinished(estate: make.Estate) -> Generation:
    return generation_start.start_backup(estate.qa, prefixes=["master:"], actor=ACTOR)


@pytest.mark.parametrize("made", [partial, unfinished])
def test_only_a_complete_backup_can_be_verified(estate: make.Estate, made: Callable[[make.Estate], Generation]) -> None:
    with pytest.raises(generation_start.NotVerifiable):
        generation_start.start_verification(made(estate), actor=ACTOR)


def test_the_command_says_what_was_verified(backup: Generation) -> None:
    said = json.loads(command(backup.pk, "--json"))
    backup.refresh_from_db()
    assert backup.verified_at
    assert said == {
        "generation": backup.pk,
        "ok": True,
        "status": "verified",
        "keys": 3,
        "bytes": 24,
        "manifest": backup.manifest_key,
        "verified_at": backup.verified_at.isoformat(),
        "problem": "",
    }


def test_the_command_fails_on_damage(estate: make.Estate, backup: Generation) -> None:
    estate.s3.corrupt(backup.stem + ".json", 100)
    with pytest.raises(CommandError, match="Damaged") as failure:
        command(backup.pk)
    assert failure.value.returncode == 1


def test_the_command_refuses_an_unknown_generation_as_bad_usage(estate: make.Estate) -> None:
    with pytest.raises(CommandError, match="no backup 99") as failure:
        command(99)
    assert failure.value.returncode == 2


def test_the_command_refuses_a_partial_generation(estate: make.Estate) -> None:
    with pytest.raises(CommandError, match="partial") as failure:
        command(partial(estate).pk)
    assert failure.value.returncode == 1


def test_a_routine_backup_is_read_back_as_soon_as_it_is_complete(estate: make.Estate) -> None:
    estate.put(estate.qa, "master:a")
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert made.status == "verified"


@pytest.mark.parametrize("place", ["r2_bucket", "r2_endpoint", "account_id"])
def test_what_another_bucket_lacks_is_not_called_damaged(estate: make.Estate, backup: Generation, place: str) -> None:
    estate.s3.objects.clear()  # as in a bucket of the same name
    Environment.objects.filter(slug="qa").update(**{place: "another"})
    run = generation_start.start_verification(backup, actor=ACTOR)
    make.work()
    run.refresh_from_db()
    backup.refresh_from_db()
    assert (backup.status, run.state, run.error_code) == ("verified", "failed", "store")
    assert f"lies in bucket {backup.bucket} at {estate.s3.endpoint} of account {backup.account_id}; qa" in run.error


def test_a_damaged_backup_whose_objects_are_back_is_verified_again(estate: make.Estate, backup: Generation) -> None:
    before = dict(estate.s3.objects)
    estate.s3.objects.clear()
    assert verify(backup).status == "damaged"
    estate.s3.objects.update(before)
    assert (verify(backup).status, backup.problem) == ("verified", "")
    assert AuditEntry.objects.filter(action="generation.verified").latest("seq").details["before"] == "damaged"


def test_a_damage_found_meanwhile_outlasts_a_verification_that_began_before(
    backup: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify(backup)
    monkeypatch.setattr(StoredBackup, "_insist_complete", lambda *_: tampered(backup, status="damaged"))
    run = generation_start.start_verification(backup, actor=ACTOR)
    make.work()
    run.refresh_from_db()
    backup.refresh_from_db()
    assert (backup.status, run.error_code) == ("damaged", "not_whole")


@pytest.mark.usefixtures("people")
def test_a_damage_is_told_once_until_the_backup_was_good_again(estate: make.Estate, backup: Generation) -> None:
    def told() -> int:
        return (
            Notification.objects.filter(event=NotificationEvent.GENERATION_DAMAGED)
            .values("occasion")
            .distinct()
            .count()
        )

    body = estate.s3.objects.pop(backup.manifest_key)
    verify(verify(backup))
    assert told() == 1
    estate.s3.objects[backup.manifest_key] = body
    verify(backup)
    del estate.s3.objects[backup.manifest_key]
    verify(backup)
    assert told() == 2


def test_a_verification_stores_the_etag_of_what_it_read(estate: make.Estate, backup: Generation) -> None:
    StoredObject.objects.filter(key=backup.manifest_key).delete()
    changed = StoredObject.objects.filter(key=f"{backup.stem}.json")
    changed.update(
        status="changed", written_etag="older", note="these are ours", noted_at=Now(), noted_by=make.person("a")
    )
    verify(backup)
    assert StoredObject.objects.get(key=backup.manifest_key).written_etag
    found = changed.get()
    assert (found.status, found.written_etag == "older", found.note) == ("known", False, "")


def test_parts_that_were_read_more_than_a_day_ago_are_read_again(backup: Generation) -> None:
    run = generation_start.start_verification(backup, actor=ACTOR)
    since = (clock.now() - timedelta(hours=25)).isoformat()
    Run.objects.filter(pk=run.pk).update(cursor={"next": 2, "since": since, "before": "verified"})
    make.work()
    assert Run.objects.get(pk=run.pk).done == 3
