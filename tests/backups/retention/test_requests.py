"""The deletion of copies: collected when due, approved by another person, derived again before each of them."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError
from django.db.models.functions import Now
from django.db.transaction import atomic

from audit.models import Entry
from backups.bucket import reconcile as bucket_reconcile
from backups.bucket.deletion import erase_permanently
from backups.bucket.r2 import R2Store
from backups.models import Generation, PruneRequest, Restore, StoredObject
from backups.restores import selection as restore_selection
from backups.restores.moves import RestoreRefused
from backups.retention import erasure, pins, requests as prune_requests
from backups.retention.requests import PruneRefused
from backups.retention.run import _PruneRun
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Family, Role, Run
from kvops.runs import driver as run_driver, emergency
from tests import make
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.backups.retention.requesting import approved, asked, expired, now, started
from tests.fakes.s3 import S3Answer
from tests.gate.world import tampered
from tests.signing import fresh, signed_in

pytestmark = pytest.mark.django_db

State = PruneRequest.State


def status(generation: Generation) -> str:
    return Generation.objects.get(pk=generation.pk).status


def deleted(estate: make.Estate) -> list[str]:
    """In their order, each once: a new step deletes again what the one before may not have."""
    return list(dict.fromkeys(call.key for call in estate.s3.calls("DELETE")))


def test_expired_backups_are_deleted_the_manifest_first(estate: make.Estate, people: make.People) -> None:
    (old,) = expired(estate, 40)
    prune = started(estate, people)
    make.work()
    assert deleted(estate) == [
        f"{old.stem}{end}" for end in (".manifest.json", ".RESTORE.md", ".json.digests", ".json")
    ]
    assert (status(old), now(prune).state, now(prune).deleted) == ("deleted", State.DONE, 1)
    assert len(estate.s3.objects) == 4


def test_each_object_is_in_the_record_before_it_is_deleted(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = expired(estate, 40)
    started(estate, people)
    told: list[int] = []

    def look(store: R2Store, key: str) -> None:
        told.append(Entry.objects.filter(action="object.deleting", details__object=key).count())
        erase_permanently(store, key)

    monkeypatch.setattr("backups.retention.erasure.erase_permanently", look)
    make.work()
    assert set(told) == {1}
    ends = Entry.objects.filter(subject=f"generation:{old.pk}").values_list("action", flat=True).order_by("seq")
    assert (ends.first(), ends.last()) == ("generation.deleting", "generation.deleted")


def test_only_what_is_due_is_collected(estate: make.Estate, people: make.People) -> None:
    old, _young = expired(estate, 40, 20)
    prune = asked(estate, people)
    assert list(prune.entries.values_list("generation_id", flat=True)) == [old.pk]


def test_nothing_is_collected_when_nothing_is_due(estate: make.Estate, people: make.People) -> None:
    expired(estate, 20)
    with pytest.raises(PruneRefused, match="No backup can be deleted"):
        asked(estate, people)


def test_a_second_request_for_the_environment_is_refused(estate: make.Estate, people: make.People) -> None:
    expired(estate, 40)
    asked(estate, people)
    with pytest.raises(PruneRefused, match="already"):
        asked(estate, people)


def test_a_rejection_ends_it_and_the_backups_can_be_collected_again(estate: make.Estate, people: make.People) -> None:
    expired(estate, 40)
    request = ApprovalRequest.objects.get(prune=asked(estate, people))
    approval_gate.reject(request, by=people.reviewer, shown=request.digest, reason="Not now as agreed")
    assert PruneRequest.objects.get().state == State.ENDED
    assert asked(estate, people).state == State.SUBMITTED


def pinned(old: Generation, estate: make.Estate, people: make.People) -> None:
    pins.pin(old, reason="Keep it as agreed", by=people.auditor)


def damaged(old: Generation, estate: make.Estate, people: make.People) -> None:
    Generation.objects.filter(status="verified").exclude(pk=old.pk).update(status="damaged")


def longer(old: Generation, estate: make.Estate, people: make.People) -> None:
    make.change_families(retain_days=30)
    make.change_families("master:", retain_days=90)


def restored(old: Generation, estate: make.Estate, people: make.People) -> None:
    Restore.objects.create(
        generation=old, environment=estate.qa.environment, namespace=estate.qa, names_sha256="0" * 64
    )


CHANGES: dict[str, Callable[[Generation, make.Estate, make.People], None]] = {
    "a pin": pinned,
    "the newer copy is damaged": damaged,
    "a longer rule": longer,
    "a restore": restored,
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_since_the_approval_refuses_the_start(estate: make.Estate, people: make.People, what: str) -> None:
    (old,) = expired(estate, 40)
    prune = approved(estate, people)
    CHANGES[what](old, estate, people)
    with pytest.raises(PruneRefused, match="The backups to delete differ from the approved ones"):
        prune_requests.start(prune, by=people.operator)
    assert (now(prune).state, deleted(estate)) == (State.ENDED, [])


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_since_the_start_keeps_the_backup(estate: make.Estate, people: make.People, what: str) -> None:
    (old,) = expired(estate, 40)
    prune = started(estate, people)
    CHANGES[what](old, estate, people)
    make.work()
    assert (deleted(estate), now(prune).kept, status(old)) == ([], 1, "verified")
    assert prune.entries.get().because


SPOILT: dict[str, tuple[str, Callable[[bytes], bytes | None]]] = {
    "is gone.": (".json", lambda _: None),
    "is another object.": (".RESTORE.md", lambda body: body[::-1]),
}


@pytest.mark.parametrize("why", SPOILT)
def test_a_backup_stays_when_the_one_that_replaces_it_is_not_in_place(
    estate: make.Estate, people: make.People, why: str
) -> None:
    (old,) = expired(estate, 40)
    prune, newer = started(estate, people), Generation.objects.exclude(pk=old.pk).get()
    suffix, change = SPOILT[why]
    body = change(estate.s3.objects.pop(newer.stem + suffix))
    estate.s3.objects |= {newer.stem + suffix: body} if body else {}
    make.work()
    assert (deleted(estate), now(prune).kept, status(old)) == ([], 1, "verified")
    assert prune.entries.get().because == (
        f"Backup {newer.pk}, which replaces it, is not in its bucket as it was written: {newer.stem}{suffix} {why}"
    )


def test_a_backup_stays_when_another_one_replaces_it_than_was_looked_at(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = expired(estate, 40)
    prune = started(estate, people)
    monkeypatch.setattr(_PruneRun, "_seen", lambda *_: {old.pk: ""})
    make.work()
    assert (deleted(estate), status(old)) == ([], "verified")
    assert prune.entries.get().because == "The backups that replace it have just changed."


def test_a_backup_of_caches_needs_none_that_replaces_it(estate: make.Estate, people: make.People) -> None:
    (old,) = expired(estate, 40)
    tampered(old, category="cache")
    started(estate, people)
    estate.s3.objects = {key: body for key, body in estate.s3.objects.items() if key.startswith(f"{old.stem}.")}
    make.work()
    assert status(old) == "deleted"


def test_a_backup_that_is_being_deleted_takes_nothing_on(estate: make.Estate, people: make.People) -> None:
    (old,) = expired(estate, 40)
    started(estate, people)
    estate.s3.fault("503", "DELETE", times=1000)
    make_one_step()
    assert status(old) == "deleting"
    with pytest.raises(pins.PinRefused, match="being deleted"):
        pins.pin(old, reason="no longer needed", by=people.auditor)
    with pytest.raises(RestoreRefused):
        restore_selection.prepare_restore(old, actor=make.SETUP)
    with pytest.raises(IntegrityError, match="nothing relies on"), atomic():
        restored(old, estate, people)


def make_one_step() -> None:
    for run in Run.objects.open().filter(kind="prune"):
        run_driver.drive(run.pk)


def test_a_delete_that_fails_is_reported_and_tried_again(estate: make.Estate, people: make.People) -> None:
    (old,) = expired(estate, 40)
    prune = started(estate, people)
    estate.s3.fault("403", "DELETE")
    make.work()
    run = now(prune).run
    assert run is not None
    assert (run.state, "bucket's locks" in run.error, status(old)) == ("failed", True, "deleting")
    run_driver.resume(run, actor=people.operator.actor)
    make.work()
    assert (status(old), now(prune).state) == ("deleted", State.DONE)
    assert Entry.objects.filter(action="object.deleting").count() == 4


class KilledWhilePruning(BaseException):
    """The worker dies."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("which", range(4))
def test_a_worker_that_dies_at_any_object_is_taken_over(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, which: int, after: bool
) -> None:
    (old,) = expired(estate, 40)
    started(estate, people)
    asked_for: list[str] = []

    def dies(store: R2Store, key: str) -> None:
        asked_for.append(key)
        if len(asked_for) == which + 1 and not after:
            raise KilledWhilePruning
        erase_permanently(store, key)
        if len(asked_for) == which + 1:
            raise KilledWhilePruning

    monkeypatch.setattr("backups.retention.erasure.erase_permanently", dies)
    with pytest.raises(KilledWhilePruning):
        make.work()
    assert status(old) == "deleting"
    Run.objects.filter(kind="prune").update(lease_until=Now() - timedelta(hours=1))
    make.work()
    assert (status(old), len(estate.s3.objects)) == ("deleted", 4)
    assert Entry.objects.filter(action="object.deleting").count() == 4


def test_an_object_that_does_not_go_is_never_done(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = expired(estate, 40)
    prune = started(estate, people)
    monkeypatch.setattr(estate.s3, "delete", lambda _key: S3Answer(204))
    make.work()
    assert (status(old), now(prune).state) == ("deleting", State.DELETING)
    assert Run.objects.get(kind="prune").error_code == "still_there"


def test_a_stopped_deletion_can_be_ended_with_the_backup_it_began(estate: make.Estate, people: make.People) -> None:
    first, second = expired(estate, 50, 40)
    prune = started(estate, people)
    estate.s3.fault("403", "DELETE")
    make.work()
    prune_requests.end_early(now(prune), by=people.operator)
    make.work()
    assert (status(first), status(second)) == ("deleted", "verified")
    assert (now(prune).deleted, now(prune).kept) == (1, 1)


def test_the_emergency_stop_holds_for_backups(estate: make.Estate, people: make.People) -> None:
    (old,) = expired(estate, 40)
    started(estate, people)
    emergency.press(estate.qa.environment, by=people.auditor)
    make.work()
    assert (deleted(estate), status(old), Run.objects.get(kind="prune").state) == ([], "verified", "stopped")


def test_somebody_who_lost_the_role_stops_it(estate: make.Estate, people: make.People) -> None:
    expired(estate, 40)
    started(estate, people)
    make.revoke(people.reviewer, Role.REVIEWER)
    make.work()
    assert (deleted(estate), Run.objects.get(kind="prune").error_code) == ([], "rights_gone")


def test_a_rule_that_nobody_approved_stops_it_at_the_next_object(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired(estate, 40)
    started(estate, people)

    def remove(store: R2Store, key: str) -> None:
        erase_permanently(store, key)
        Family.objects.filter(pattern="mastercache:").update(note="no longer needed")

    monkeypatch.setattr(erasure, "erase_permanently", remove)
    make.work()
    run = Run.objects.get(kind="prune")
    assert (len(deleted(estate)), run.error_code, "Nobody approved this" in run.error) == (1, "rights_gone", True)


@pytest.mark.parametrize("objects", [0, 1])
def test_what_somebody_started_who_lost_the_role_can_be_ended_early(
    estate: make.Estate, people: make.People, objects: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No copy is begun any more; one of which an object is gone already goes to its end."""
    (old,) = expired(estate, 40)
    prune = started(estate, people)

    def remove(store: R2Store, key: str) -> None:
        if objects:
            erase_permanently(store, key)
        make.revoke(people.reviewer, Role.REVIEWER)

    monkeypatch.setattr(erasure, "erase_permanently", remove)
    if not objects:
        make.revoke(people.reviewer, Role.REVIEWER)
    make.work()
    assert Run.objects.get(kind="prune").error_code == "rights_gone"
    monkeypatch.undo()
    prune_requests.end_early(now(prune), by=people.operator)
    make.work()
    assert (now(prune).state, status(old)) == ("done", "deleted" if objects else "verified")


def test_the_listing_misses_nothing_that_was_deleted(estate: make.Estate, people: make.People) -> None:
    expired(estate, 40)
    bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)
    make.work()
    assert StoredObject.objects.filter(status="known").count() == 8
    started(estate, people)
    make.work()
    bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)
    make.work()
    assert list(StoredObject.objects.values_list("status").distinct()) == [("known",)]


# Ways around it


def test_no_page_deletes_a_backup_before_the_decision(estate: make.Estate, people: make.People) -> None:
    expired(estate, 40)
    prune = asked(estate, people)
    browser = fresh(people.operator)
    for what in ("start", "again", "end"):
        browser.post(f"/retention/prunes/{prune.pk}/{what}", {"confirm": "backups"})
    make.work()
    assert (deleted(estate), now(prune).state) == ([], State.SUBMITTED)


@pytest.mark.parametrize("kind", ["delete", "restore", "prune"])
def test_no_task_deletes_a_backup_without_an_approval(estate: make.Estate, people: make.People, kind: str) -> None:
    expired(estate, 40)
    prune = asked(estate, people)
    with pytest.raises(IntegrityError, match="run_destructive_is_approved"), atomic():
        Run.objects.create(kind=kind, subject=f"prune:{prune.pk}", label="x", actor="x")


def test_the_database_refuses_the_move_past_the_product(estate: make.Estate, people: make.People) -> None:
    (old,) = expired(estate, 40)
    approved(estate, people)
    with pytest.raises(IntegrityError, match="by the run of an approved prune"), atomic():
        Generation.objects.filter(pk=old.pk).update(status="deleting")


def test_one_module_alone_can_delete_an_object() -> None:
    root = Path(__file__).parents[3]
    found = [
        str(path.relative_to(root))
        for folder in ("audit", "backups", "kvops")
        for path in (root / folder).rglob("*.py")
        if "delete_object" in path.read_text("utf-8") or "import erase_permanently" in path.read_text("utf-8")
    ]
    assert sorted(found) == ["backups/bucket/deletion.py", "backups/retention/erasure.py"]


# Pages


def test_an_auditor_finds_who_deleted_a_backup_and_why(estate: make.Estate, people: make.People) -> None:
    (old,) = expired(estate, 40)
    started(estate, people)
    make.work()
    page = signed_in(people.auditor).get(f"/backups/{old.pk}/").text
    for said in ("Asked by Operator: Their date has come", "decided by Reviewer", "/retention/prunes/"):
        assert said in page
    assert "wrangler" not in page


def test_the_whole_way_on_the_pages(estate: make.Estate, people: make.People) -> None:
    (old,) = expired(estate, 40)
    operator, reviewer = fresh(people.operator), fresh(people.reviewer)
    operator.post("/retention/collect/qa", {"reason": "Old enough"})
    prune = PruneRequest.objects.get()
    request = ApprovalRequest.objects.get(prune=prune)
    shown = reviewer.get(f"/approvals/{request.pk}/").text
    assert old.stem in shown
    assert f"{old.stem}.manifest.json" in reviewer.get(f"/retention/prunes/{prune.pk}/objects").getvalue().decode()
    decision = {"decision": "approve", "shown": request.digest, "confirm": "backups", "reason": ""}
    reviewer.post(f"/approvals/{request.pk}/decide", decision)
    operator.post(f"/retention/prunes/{prune.pk}/start", {"confirm": "backups"})
    make.work()
    assert status(old) == "deleted"
    page = operator.get(f"/retention/prunes/{prune.pk}/").text
    assert "Deleted" in page
    assert f"/audit/?subject=prune:{prune.pk}&amp;tree=on" in page


def test_a_deleted_backup_is_no_backup_that_holds_a_key(estate: make.Estate, people: make.People) -> None:
    (old,) = expired(estate, 40)
    started(estate, people)
    make.work()
    assert old not in Generation.objects.there()
    assert backup_of_age(estate.qa, 0) in Generation.objects.there()
