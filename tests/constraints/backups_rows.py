"""The table's other half: backups, checks, clean-ups."""

from collections.abc import Callable
from datetime import datetime

from django.db.models import F
from django.db.models.functions import Now

from backups.models import CleanupChunk, CleanupEntry, CleanupStage, Difference, Generation, Pin
from kvops.models import ApprovalRequest
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.cases_rows import case
from tests.constraints.estate import HOUR, SHA, again, change
from tests.constraints.rows import EPOCH, RowAttempt, columns

# What a backup is: every column, also while it goes on to be found damaged.
GENERATION_FROZEN: dict[str, object] = {
    "id": 0,
    "environment_id": 0,
    "namespace_id": 0,
    "prefixes": ["x"],
    "category": "cache",
    "patterns": ["x"],
    "exact": True,
    "purpose": "cleanup",
    "source": "x",
    "tables": ["x"],
    "read": "exact",
    "run_id": 0,
    "made_by_id": 0,
    "actor": "x",
    "recipients": ["x", "y"],
    "digest_key": "x",
    "older_digest_key": "x",
    "bucket": "x",
    "endpoint": "x",
    "account_id": "x",
    "stem": "x",
    "manifest_key": "x",
    "manifest_sha256": "x",
    "digest_root": "x",
    "keys": 9,
    "bytes": 9,
    "expired": 9,
    "vanished": 9,
    "calls": 9,
    "started_at": EPOCH,
    "finished_at": EPOCH,
}
ENTRY_FROZEN: dict[str, object] = {"index": 9, "name": "x", "expiration": 9, "outcome": "expired", "size": 9}
CHECK_FROZEN: dict[str, object] = {
    "environment_id": 0,
    "dataset_id": 0,
    "definition": {"a": 1},
    "definition_digest": "x",
    "generation_id": 0,
    "namespace_id": 0,
    "source": "x",
    "run_id": 0,
    "keys": 9,
    "kv_rows": 9,
    "rows": 9,
    "rules": {"nfc": 1},
    "differences": 9,
    "only_in_d1": 9,
    "started_at": EPOCH,
    "finished_at": EPOCH,
}
GENERATION_EDITED, CONTENTS = (
    "what a finished backup is of cannot be edited",
    "the contents of a finished backup cannot be edited",
)
TWO = "a backup is encrypted to two recipients at least"
GENERATIONS = [
    *columns(GENERATION_EDITED, lambda w: w.generation("complete"), GENERATION_FROZEN, {"status": "damaged"}),
    *columns(GENERATION_EDITED, lambda w: w.generation("partial"), GENERATION_FROZEN),
    RowAttempt("a backup starts as writing", lambda w: again(w.generation(), stem="other", run=w.run())),
    RowAttempt(
        "a backup is never deleted", lambda w: Generation.objects.filter(pk=w.generation().pk)._raw_delete("default")
    ),
    RowAttempt(
        "a damaged backup is verified by the run of a verification",
        lambda w: change(w.generation("damaged"), status="verified", verified_at=Now()),
    ),
    RowAttempt(
        "a backup is never kept for a shorter time",
        lambda w: change(w.generation(), retain_until=F("retain_until") - HOUR),
    ),
    RowAttempt(CONTENTS, lambda w: again(w.backed_up_name("complete"), index=1, name="b"), "one name more"),
    RowAttempt(CONTENTS, lambda w: w.backed_up_name("complete").delete(), "one name less"),
    RowAttempt(CONTENTS, lambda w: change(w.backed_up_name(), generation=w.generation()), "a name moved in"),
    RowAttempt(
        CONTENTS, lambda w: change(w.backed_up_name("partial"), generation=w.generation("writing")), "a name moved out"
    ),
    *columns(CONTENTS, lambda w: w.backed_up_name("verified"), ENTRY_FROZEN),
    RowAttempt(CONTENTS, lambda w: change(w.backed_up_name("verified"), outcome="kept", digest=b"x"), "digest"),
    RowAttempt(CONTENTS, lambda w: again(w.part("complete"), number=2), "one part more"),
    RowAttempt(CONTENTS, lambda w: w.part("complete").delete(), "one part less"),
    RowAttempt(CONTENTS, lambda w: change(w.part(), generation=w.generation()), "a part moved in"),
    RowAttempt(CONTENTS, lambda w: change(w.part("partial"), generation=w.generation("writing")), "a part moved out"),
    RowAttempt(CONTENTS, lambda w: change(w.part("damaged"), sha256="x"), "a part edited"),
    RowAttempt("generation_name_once", lambda w: again(w.generation("writing"), run=w.run())),
    RowAttempt("backups_generation_run_id_key", lambda w: again(w.generation("writing"), stem="other")),
    RowAttempt("generation_kept_14_days", lambda w: w.generation(retain_until=Now() + 300 * HOUR)),
    RowAttempt("generation_finished_has_a_manifest", lambda w: w.generation(manifest_sha256=""), "no manifest"),
    RowAttempt("generation_finished_has_a_manifest", lambda w: w.generation(digest_root=""), "no root"),
    RowAttempt(
        "generation_finished_has_a_manifest", lambda w: w.generation("writing", finished_at=Now()), "not finished"
    ),
    RowAttempt("generation_verified_has_a_date", lambda w: w.generation(verified_at=None)),
    RowAttempt("generation_of_masters_names_its_source", lambda w: w.generation(purpose="masters"), "no source"),
    RowAttempt("generation_of_masters_names_its_source", lambda w: w.generation(source="d1"), "of KV"),
    RowAttempt("generation_whole_lost_nothing", lambda w: w.generation("complete", vanished=1)),
    RowAttempt(
        "generation_encrypted_has_a_digest_key", lambda w: w.generation("writing", recipients=["a", "b"]), "no key"
    ),
    RowAttempt(
        "generation_encrypted_has_a_digest_key", lambda w: w.generation("writing", digest_key="a"), "no recipients"
    ),
    RowAttempt("generation_of_secrets_is_encrypted", lambda w: w.generation(category="settings"), "settings"),
    RowAttempt(
        "generation_of_secrets_is_encrypted", lambda w: w.generation("partial", category="unclassified"), "others"
    ),
    RowAttempt(TWO, lambda w: w.generation("writing", recipients=["a"], digest_key="a"), "one"),
    RowAttempt(TWO, lambda w: w.generation("writing", recipients={"a": 1}, digest_key="a"), "no list"),
    RowAttempt("part_number_once", lambda w: again(w.part())),
    RowAttempt("generation_index_once", lambda w: again(w.backed_up_name(), name="b")),
    RowAttempt("generation_name_of_key_once", lambda w: again(w.backed_up_name(), index=2)),
    RowAttempt("generation_entry_kept_has_digest", lambda w: change(w.backed_up_name(), outcome="kept"), "kept"),
    RowAttempt("generation_entry_kept_has_digest", lambda w: change(w.backed_up_name(), digest=b"x"), "not kept"),
    RowAttempt("backups_bucketprotection_environment_id_key", lambda w: again(w.protection())),
    RowAttempt("protection_is_known_or_says_why_not", lambda w: change(w.protection(), lock="unknown"), "no reason"),
    RowAttempt(
        "protection_is_known_or_says_why_not",
        lambda w: change(w.protection(), problem="never"),
        "a reason without need",
    ),
    RowAttempt("protection_is_known_or_says_why_not", lambda w: change(w.protection(), read_at=None), "never read"),
    RowAttempt("protection_is_known_or_says_why_not", lambda w: change(w.protection(), lock="x"), "another word"),
    RowAttempt("unfinished_upload_once", lambda w: again(w.upload())),
    RowAttempt("stored_object_note_has_person_and_time", lambda w: w.stored(note="no longer needed"), "nobody"),
    RowAttempt(
        "stored_object_note_has_person_and_time", lambda w: w.stored(noted_by=w.operator, noted_at=Now()), "nothing"
    ),
    RowAttempt(
        "stored_object_note_has_person_and_time",
        lambda w: w.stored(note="no longer needed", noted_by=w.operator),
        "no time",
    ),
    RowAttempt("stored_object_once", lambda w: again(w.stored())),
    RowAttempt("stored_object_of_a_backup_names_it", lambda w: w.stored("missing", generation=None)),
    RowAttempt("stored_object_is_missing_or_was_seen", lambda w: w.stored("unknown", seen_at=None), "never seen"),
    RowAttempt("stored_object_is_missing_or_was_seen", lambda w: w.stored(size=None), "no size"),
    RowAttempt("backups_dataset_name_key", lambda w: again(w.dataset(), prefix="other:")),
    RowAttempt("dataset_prefix_once", lambda w: again(w.dataset(), name="other")),
    RowAttempt("dataset_has_a_prefix", lambda w: change(w.dataset(), prefix="")),
    RowAttempt("dataset_of_many_rows_names_each", lambda w: change(w.dataset(), holds="array"), "no id"),
    RowAttempt("dataset_of_many_rows_names_each", lambda w: w.dataset(row="x"), "one row"),
    RowAttempt("check_passed_without_difference", lambda w: w.check(differences=1)),
    RowAttempt("check_reads_one_source", lambda w: w.check(generation=w.generation(), namespace=w.namespace)),
    RowAttempt("check_finished_has_a_time", lambda w: w.check(finished_at=None)),
    RowAttempt("a check starts as pending", lambda w: again(w.check())),
    RowAttempt("a check is never deleted", lambda w: w.check().delete()),
    *columns("a finished check cannot be edited", lambda w: w.check(), CHECK_FROZEN),
    *columns("a finished check cannot be edited", lambda w: w.check("failed"), CHECK_FROZEN),
]

PIN_FROZEN: dict[str, object] = {
    "id": 0,
    "generation_id": 0,
    "person_id": 0,
    "reason": "not read any more",
    "at": EPOCH,
}
PIN_REMOVED: dict[str, object] = {"removed_at": EPOCH, "removed_by_id": 0, "removed_because": "y"}


def removed(w: BackupsWorld) -> Pin:
    """A pin that was taken off."""
    pin = w.pin()
    change(pin, removed_at=Now(), removed_by=w.operator, removed_because="x")
    pin.refresh_from_db()
    return pin


PINS = [
    *columns("a pin cannot be edited", lambda w: w.pin(), PIN_FROZEN),
    *columns("a pin cannot be edited", removed, PIN_REMOVED),
    RowAttempt("a pin starts in force", lambda w: again(removed(w))),
    RowAttempt("a pin is never deleted", lambda w: w.pin().delete()),
    RowAttempt("pin_says_why", lambda w: w.pin(reason="")),
    RowAttempt("pin_once_per_person", lambda w: again(w.pin())),
    RowAttempt(
        "pin_removed_by_whom_and_why", lambda w: change(w.pin(), removed_at=Now(), removed_because="x"), "by whom"
    ),
    RowAttempt(
        "pin_removed_by_whom_and_why", lambda w: change(w.pin(), removed_at=Now(), removed_by=w.operator), "why"
    ),
    RowAttempt(
        "pin_removed_by_whom_and_why", lambda w: change(w.pin(), removed_by=w.operator, removed_because="x"), "when"
    ),
]

CLEANUP_FROZEN: dict[str, object] = {
    "id": 0,
    "binding": "x",
    "prefix": "x",
    "exact": True,
    "only": {"without_expiration": True},
    "clearing_id": 0,
    "family_id": 0,
    "category": "cache",
    "reason": "no longer needed",
    "requested_by_id": 0,
    "asked_by": "x",
    "created_at": EPOCH,
}
TARGET: dict[str, object] = {"request_id": 0, "environment_id": 0, "namespace_id": 0, "order": 9}
NAMES: dict[str, object] = {"names": 2, "names_sha256": "x", "scan_id": None}
APPROVED_FOR: dict[str, object] = {
    "generation_id": None,
    "check_passed_id": None,
    "approval_id": None,
    "scope_digest": "x",
}
PROVED: dict[str, object] = {
    **APPROVED_FOR,
    "deleted": 9,
    "skipped": 9,
    "first_listing_at": EPOCH,
    "second_listing_at": EPOCH,
    "others": 9,
    "remaining": 9,
}
NOT_BY_THIS_BACKUP, NOT_BY_THIS_REQUEST = "a stage is not % by this backup", "a stage is not % by this request"
SEARCHED, KEEPS_ITS_SEARCH = (
    "a stage is submitted with a recent search of its code",
    "the search that a stage rests on cannot be replaced",
)
CHECKED_BY = "a stage is checked by a passed check of its backup"
DELETED_BY = "a stage is deleted by the run of its approval"


def other_request(reached: str = "pending", /, **values: object) -> Callable[[BackupsWorld], object]:
    """A submit with a request that is not quite the stage's."""

    def attempt(w: BackupsWorld) -> None:
        stage = w.stage("checked")
        change(stage, state="submitted", approval=w.approval(reached, **{"subject": f"stage:{stage.pk}", **values}))

    return attempt


def scan_for_deletion(w: BackupsWorld) -> None:
    """A scan that carries the approval of a deletion."""
    stage = w.stage("approved")
    if stage.approval:
        change(stage.approval, **w.to(ApprovalRequest, "used"))
        change(stage, state="deleting", run=w.run(**{**w.used(stage.approval), "kind": "scan"}))


def not_empty(w: BackupsWorld) -> CleanupStage:
    """A stage whose proof found a key that is not of the clean-up."""
    stage = w.stage("deleted")
    w.move(stage, "confirmed", others=1, remaining=1)
    stage.other_names.create(name="z")
    return stage


def accept_empty(w: BackupsWorld) -> None:
    """A stage without names is accepted, and nobody says why there are none."""
    stage = w.stage("frozen", names=0)
    w.move(stage, "confirmed")
    w.move(stage, "accepted")


ONE_NAME = "a clean-up of one key has that name and no other"


def other_name(w: BackupsWorld) -> None:
    """A stage of one key of settings whose frozen name is another one."""
    stage = w.stage("frozen", category="settings", names=1)
    CleanupEntry.objects.create(stage=stage, index=0, name=f"{stage.request.prefix}x")
    for state in ("backed_up", "verified", "submitted"):
        w.move(stage, state)


SHARED: dict[str, object] = {"place": "x", "by_id": 0, "at": EPOCH, "generation_id": 0}
ITS_MESSAGE = "a backup is shared by its own message, which was delivered"
SHARES = [
    *columns("how a backup was shared cannot be edited", lambda w: w.share(), SHARED),
    RowAttempt("what was said of a backup is never deleted", lambda w: w.share().delete()),
    RowAttempt(ITS_MESSAGE, lambda w: by_message(w, state="waiting"), "waiting"),
    RowAttempt(ITS_MESSAGE, lambda w: by_message(w, subject="x"), "of another"),
    RowAttempt(ITS_MESSAGE, lambda w: by_message(w, event="x"), "of something else"),
    RowAttempt("backups_backupshare_generation_id_key", lambda w: again(w.share())),
    RowAttempt("share_by_a_message_or_a_person", lambda w: w.share(by=None)),
    RowAttempt("share_says_where", lambda w: w.share(place="")),
]


def by_message(w: BackupsWorld, **values: object) -> None:
    """A backup shared by a message with these differences."""
    generation = w.generation()
    told = {"event": "backup.for_deletion", "subject": f"generation:{generation.pk}", "state": "delivered", **values}
    at = Now() if told["state"] == "delivered" else None
    message = w.notification(person=None, environment=w.environment, delivered_at=at, **told)
    w.share(generation=generation, notification=message, by=None)


def shared(w: BackupsWorld) -> CleanupStage:
    """A checked stage whose backup was shared."""
    stage = w.stage("checked")
    w.share(generation=stage.generation)
    return stage


def unshared(w: BackupsWorld) -> None:
    """A submit of a stage whose backup nobody shared."""
    stage = w.stage("checked")
    asked = {"approval": w.approval(subject=f"stage:{stage.pk}"), "search": w.search()}
    change(stage, state="submitted", scope_digest=SHA, **asked)


STAGES = [
    *columns("what a clean-up is of cannot be edited", lambda w: w.request(), CLEANUP_FROZEN),
    RowAttempt("a clean-up has the category of its family", lambda w: again(w.request(), family=w.family("settings"))),
    RowAttempt("a clean-up that is over cannot be edited", lambda w: reopen(w, ended_at=Now()), "ended"),
    RowAttempt("a clean-up that is over cannot be edited", lambda w: reopen(w, completed_at=Now()), "completed"),
    RowAttempt("a clean-up is never deleted", lambda w: w.request().delete()),
    RowAttempt("cleanup_one_open_per_family", lambda w: again(w.request())),
    RowAttempt("cleanup_is_asked_for_by_somebody", lambda w: again(w.request(), requested_by=None), "nobody"),
    RowAttempt("cleanup_is_asked_for_by_somebody", lambda w: again(w.request(), asked_by="cli:x"), "two"),
    RowAttempt(
        "cleanup_of_settings_is_of_one_key",
        lambda w: again(w.request("settings"), exact=False, family=w.family("settings")),
    ),
    RowAttempt("cleanup_ticket_is_an_address", lambda w: change(w.request(), ticket="javascript:alert(1)")),
    RowAttempt("cleanup_writers_are_frozen_by_somebody", lambda w: change(w.request(), frozen_by="x"), "no time"),
    RowAttempt("cleanup_writers_are_frozen_by_somebody", lambda w: change(w.request(), frozen_until=Now()), "nobody"),
    RowAttempt("cleanup_ends_once", lambda w: change(w.request(), ended_at=Now(), completed_at=Now())),
    RowAttempt(
        "a stage is never deleted", lambda w: CleanupStage.objects.filter(pk=w.stage().pk)._raw_delete("default")
    ),
    RowAttempt("a stage starts as waiting", lambda w: again(w.stage("accepted"), order=2)),
    RowAttempt("stage_once_per_environment", lambda w: again(w.stage(), order=2)),
    RowAttempt("stage_order_once", lambda w: again(w.stage(), environment=w.production)),
    RowAttempt("stage_one_per_approval", lambda w: change(w.stage(), approval=w.stage("submitted").approval)),
    *columns("the target of a stage cannot be edited", lambda w: w.stage(), TARGET),
    *columns("the names of a stage are frozen", lambda w: w.stage("backed_up"), NAMES),
    *columns("the keys that a stage leaves out are frozen", lambda w: w.stage("backed_up"), {"left_out": ["x"]}),
    *columns("the keys that a stage leaves out are frozen", lambda w: w.stage("approved"), {"left_out": ["x"]}),
    *columns("the names of a stage are frozen", lambda w: w.stage("approved"), NAMES, {"state": "frozen"}),
    *columns("what a stage was approved for cannot be edited", lambda w: w.stage("submitted"), APPROVED_FOR),
    *columns("what a stage was approved for cannot be edited", lambda w: w.stage("deleted"), APPROVED_FOR),
    *columns("what a stage proved cannot be edited", lambda w: w.stage("confirmed"), PROVED),
    *columns("a stage that is over cannot be edited", lambda w: w.stage("accepted"), {"accepted_at": Now()}),
    *columns("a stage that is over cannot be edited", lambda w: w.stage("ended"), {"leftovers_note": "x"}),
    RowAttempt("the run of a stage cannot be replaced", lambda w: change(w.stage("deleting"), run=w.run())),
    RowAttempt("only a stage without names needs no deletion", lambda w: w.move(w.stage("frozen"), "confirmed")),
    RowAttempt(NOT_BY_THIS_BACKUP, lambda w: backed_up(w, "partial"), "partial"),
    RowAttempt(NOT_BY_THIS_BACKUP, lambda w: backed_up(w, "writing"), "not finished"),
    RowAttempt(
        NOT_BY_THIS_BACKUP,
        lambda w: backed_up(w, "verified", namespace=w.namespace_of_production),
        "of another namespace",
    ),
    RowAttempt(NOT_BY_THIS_BACKUP, lambda w: w.move(backed_up(w, "complete"), "verified"), "not read back"),
    RowAttempt(CHECKED_BY, lambda w: checked(w, "failed"), "failed"),
    RowAttempt(CHECKED_BY, lambda w: checked(w, "pending"), "not finished"),
    RowAttempt(CHECKED_BY, lambda w: checked(w, generation=w.generation()), "of another backup"),
    RowAttempt(CHECKED_BY, lambda w: newer(w, cause=False), "newer rows without a cause"),
    RowAttempt(CHECKED_BY, lambda w: newer(w, export=False), "newer rows without an export"),
    RowAttempt(CHECKED_BY, lambda w: newer(w, seen="a:2"), "newer rows that no check had found before"),
    RowAttempt(CHECKED_BY, lambda w: newer(w, at=None), "a row that is not newer"),
    RowAttempt(CHECKED_BY, lambda w: newer(w, differences=2), "newer rows and another difference"),
    RowAttempt(CHECKED_BY, lambda w: newer(w, differences=2, newer=2), "a row that is not kept by name"),
    RowAttempt("rows that are newer in D1 are accepted by name", lambda w: w.move(newer(w), "submitted")),
    RowAttempt("a legacy family is submitted after its check", lambda w: w.move(w.stage("verified"), "submitted")),
    RowAttempt(ONE_NAME, lambda w: w.move(w.stage("verified", category="settings", names=2), "submitted"), "two names"),
    RowAttempt(ONE_NAME, other_name, "another name"),
    RowAttempt(NOT_BY_THIS_REQUEST, other_request(subject="stage:0"), "of another stage"),
    RowAttempt(NOT_BY_THIS_REQUEST, other_request(kind="policy"), "of something else"),
    RowAttempt(NOT_BY_THIS_REQUEST, other_request(environment=None), "of another environment"),
    RowAttempt(NOT_BY_THIS_REQUEST, other_request("approved"), "decided before"),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: change(w.stage("submitted"), state="approved"), "not decided"),
    RowAttempt(
        NOT_BY_THIS_REQUEST, lambda w: change(w.stage("approved"), state="deleting", run=w.run()), "not claimed"
    ),
    RowAttempt("only what writes or deletes uses up an approval", scan_for_deletion, "a scan instead of a deletion"),
    RowAttempt(DELETED_BY, lambda w: w.move(w.stage("approved"), "deleting", run=w.deletion()), "of another approval"),
    RowAttempt("stage_frozen_has_names_digest", lambda w: w.move(w.stage(), "frozen", names_sha256=""), "digest"),
    RowAttempt("stage_frozen_has_names_digest", lambda w: w.move(w.stage(), "frozen", frozen_at=None), "time"),
    RowAttempt("stage_backed_up_has_a_generation", lambda w: change(w.stage("frozen"), state="backed_up")),
    RowAttempt("stage_checked_has_a_check", lambda w: change(w.stage("verified"), state="checked")),
    RowAttempt("a stage is submitted only when its backup was shared", unshared),
    RowAttempt("stage_submitted_has_an_approval", lambda w: change(shared(w), state="submitted", search=w.search())),
    RowAttempt(SEARCHED, lambda w: w.move(w.stage("checked"), "submitted", search=None), "not searched"),
    RowAttempt(SEARCHED, lambda w: w.move(w.stage("checked"), "submitted", search=w.search(searched_at=EPOCH)), "old"),
    RowAttempt(
        SEARCHED,
        lambda w: w.move(w.stage("checked"), "submitted", search=w.search(environment=w.production)),
        "of another environment",
    ),
    *columns(KEEPS_ITS_SEARCH, lambda w: w.stage("submitted"), {"search_id": None}),
    *columns(KEEPS_ITS_SEARCH, lambda w: w.stage("confirmed"), {"search_id": None}),
    RowAttempt("stage_deleting_has_a_run", lambda w: w.move(w.stage("approved"), "deleting", run=None)),
    RowAttempt("stage_confirmed_has_two_listings", lambda w: listed(w, first_listing_at=None), "no first"),
    RowAttempt("stage_confirmed_has_two_listings", lambda w: listed(w, second_listing_at=None), "no second"),
    RowAttempt("stage_confirmed_has_two_listings", lambda w: listed(w, second_listing_at=EPOCH), "the wrong way round"),
    RowAttempt(
        "stage_accepted_has_a_note", lambda w: w.move(w.stage("confirmed"), "accepted", accepted_note=""), "note"
    ),
    RowAttempt(
        "stage_accepted_has_a_note", lambda w: w.move(w.stage("confirmed"), "accepted", accepted_by=None), "person"
    ),
    RowAttempt(
        "stage_accepted_has_a_note", lambda w: w.move(w.stage("confirmed"), "accepted", accepted_at=None), "time"
    ),
    RowAttempt("stage_empty_has_a_reason", accept_empty),
    RowAttempt("stage_accepted_explains_others", lambda w: w.move(not_empty(w), "accepted")),
    RowAttempt("stage_checked_again_after_its_proof", lambda w: change(w.stage("deleted"), after_refused="x")),
    RowAttempt("stage_others_explained_by_a_person", lambda w: change(not_empty(w), others_note="x"), "only a note"),
    RowAttempt(
        "stage_others_explained_by_a_person",
        lambda w: change(not_empty(w), others_by=w.operator, others_at=Now()),
        "no note",
    ),
    RowAttempt("other_name_once_per_stage", lambda w: again(not_empty(w).other_names.get())),
]


def reopen(w: BackupsWorld, **over: object) -> None:
    """A clean-up that is over is opened again."""
    request = w.request()
    change(request, **over)
    change(request, **dict.fromkeys(over, None))


def backed_up(w: BackupsWorld, status: str, **values: object) -> CleanupStage:
    """A stage with such a backup."""
    stage = w.stage("frozen")
    w.move(stage, "backed_up", generation=w.generation(status, **values))
    return stage


def checked(w: BackupsWorld, outcome: str = "passed", **values: object) -> None:
    """A stage with such a check."""
    stage = w.stage("verified")
    w.move(stage, "checked", check_passed=w.check(outcome, **{"generation": stage.generation, **values}))


def newer(
    w: BackupsWorld,
    *,
    seen: str = "a:1",
    at: datetime | None = EPOCH,
    cause: bool = True,
    export: bool = True,
    **values: object,
) -> CleanupStage:
    """A stage that is checked although a row of D1 differs, which an earlier check had found too."""
    stage, dataset = w.stage("verified"), w.dataset()
    of = {"generation": stage.generation, "dataset": dataset, "differences": 1, "newer": 1}
    first, second = w.check("failed", **of), w.check("failed", **{**of, **values})
    Difference.objects.create(check_run=first, name=seen, kind="field", field="name", newer_at=EPOCH)
    Difference.objects.create(check_run=second, name="a:1", kind="field", field="name", newer_at=at)
    if cause:
        over = {"outcome": "accepted", "reason": "edited as agreed", "closed_by": w.operator, "closed_at": Now()}
        case(w, dataset=dataset, failed=first, **over)
    if export:
        w.generation(purpose="masters", source="d1", tables=[{"dataset": dataset.name}])
    w.move(stage, "checked", check_passed=second)
    return stage


def listed(w: BackupsWorld, **values: object) -> None:
    """A stage with such listings."""
    w.move(w.stage("deleted"), "confirmed", **values)


NAMES_FROZEN = "the names of a stage are frozen"
CHUNK_RANGE: dict[str, object] = {"id": 0, "stage_id": 0, "number": 2, "attempt": 2, "first_index": 1, "last_index": 8}
CHUNK_SET: dict[str, object] = {
    "first_index": 1,
    "last_index": 8,
    "names_sha256": "x",
    "names": 2,
    "intended_at": EPOCH,
}


def intend_while_stopped(w: BackupsWorld) -> None:
    """A chunk is about to be sent after somebody pressed the stop."""
    chunk = w.chunk()
    w.stop()
    change(chunk, **w.to(CleanupChunk, "intended"))


CHUNKS = [
    RowAttempt("a frozen name cannot be edited", lambda w: change(w.entry(), name="b")),
    RowAttempt(NAMES_FROZEN, lambda w: again(w.entry("backed_up"), index=1, name="b"), "one more"),
    RowAttempt(NAMES_FROZEN, lambda w: w.entry("deleting").delete(), "one less"),
    RowAttempt("cleanup_index_once", lambda w: again(w.entry(), name="b")),
    RowAttempt("cleanup_name_once", lambda w: again(w.entry(), index=1)),
    RowAttempt("cleanup_name_is_no_path", lambda w: again(w.entry(), index=1, name=""), "empty"),
    RowAttempt("cleanup_name_is_no_path", lambda w: again(w.entry(), index=1, name="."), "this"),
    RowAttempt("cleanup_name_is_no_path", lambda w: again(w.entry(), index=1, name=".."), "above"),
    RowAttempt("no chunk is sent while the emergency stop is on", intend_while_stopped),
    RowAttempt("a chunk starts as planned", lambda w: w.chunk(state="sent")),
    RowAttempt("a chunk is never deleted", lambda w: w.chunk().delete()),
    *columns("the range of a chunk cannot be edited", lambda w: w.chunk(), CHUNK_RANGE, {"state": "settled"}),
    *columns("what a chunk was meant to delete cannot be edited", lambda w: w.chunk("intended"), CHUNK_SET),
    *columns(
        "what a chunk was meant to delete cannot be edited", lambda w: w.chunk("sent"), CHUNK_SET, {"state": "settled"}
    ),
    RowAttempt("a settled chunk cannot be edited", lambda w: change(w.chunk("settled"), answer={"done": 1})),
    RowAttempt("chunk_number_once", lambda w: again(w.chunk())),
    RowAttempt("chunk_intended_names_its_set", lambda w: change(w.chunk(), state="intended")),
    RowAttempt("chunk_three_tries", lambda w: w.chunk(attempt=4), "four"),
    RowAttempt("chunk_three_tries", lambda w: w.chunk(attempt=0), "none"),
    RowAttempt("chunk_at_most_1000", lambda w: w.chunk(last_index=1000), "1001"),
    RowAttempt("chunk_at_most_1000", lambda w: w.chunk(last_index=-1), "none"),
    RowAttempt("exception_once_per_name", lambda w: again(w.exception())),
    RowAttempt("the result of a name cannot be edited", lambda w: w.exception().delete(), "deleted"),
    RowAttempt(
        "the result of a name cannot be edited",
        lambda w: change(w.exception("alive"), outcome="vanished"),
        "edited as agreed",
    ),
]

REAPPEARED: dict[str, object] = {
    "id": 0,
    "stage_id": 0,
    "index": 1,
    "name": "x",
    "same": False,
    "found_at": EPOCH,
}
ACKNOWLEDGED: dict[str, object] = {"note": "no longer needed", "acknowledged_by_id": 0, "acknowledged_at": EPOCH}
REAPPEARANCES = [
    *columns("what reappeared cannot be edited", lambda w: w.reappearance(), REAPPEARED),
    *columns("an acknowledgement cannot be edited", lambda w: w.acknowledged(), ACKNOWLEDGED),
    RowAttempt("a key that reappeared is never forgotten", lambda w: w.reappearance().delete()),
    RowAttempt("only a name of the stage reappears", lambda w: again(w.reappearance(), index=1), "another place"),
    RowAttempt("only a name of the stage reappears", lambda w: again(w.reappearance(), name="b"), "another name"),
    RowAttempt("what reappeared was not acknowledged before", lambda w: again(w.acknowledged())),
    RowAttempt("reappearance_once_per_name", lambda w: again(w.reappearance())),
    RowAttempt(
        "reappearance_acknowledged_with_a_note",
        lambda w: change(w.reappearance(), note="no longer needed"),
        "only a note",
    ),
    RowAttempt(
        "reappearance_acknowledged_with_a_note",
        lambda w: change(w.reappearance(), acknowledged_by=w.operator, acknowledged_at=Now()),
        "no note",
    ),
]
