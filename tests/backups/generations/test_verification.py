"""The read-back: whatever is not as KV returned it is found, named and recorded."""

import json
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from audit import log
from audit.models import Entry as AuditEntry
from backups import archive
from backups.generations import start as generation_start
from backups.models import Generation, StoredObject
from kvops.models import Environment, Notification, NotificationEvent
from tests import make
from tests.fakes.s3 import FaultKind

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


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("kind", "times"), [("503", 4), ("torn", 2)])
def test_a_store_that_fails_for_a_while_only_delays(
    estate: make.Estate, backup: Generation, suffix: str, kind: FaultKind, times: int
) -> None:
    estate.s3.fault(kind, "GET", key=backup.stem + suffix, after=10, times=times)
    assert verify(backup).status == "verified"


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
