"""The table's part about bulk changes, and bulk changes in every state."""

from datetime import timedelta

from django.db.models.functions import Now

from backups.models import BulkChange, Generation, Restore
from kvops.models import ApprovalRequest, Family
from tests.constraints import restores_rows
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import SHA, change
from tests.constraints.restores_rows import PATHS
from tests.constraints.rows import RowAttempt, columns

CHOSEN: dict[str, object] = {"chosen_names": 1, "chosen_sha256": SHA}
MARK: dict[str, object] = {"operation": "mark", "lifetime": None, "member": "stale", "value": "1"}


def row(w: BackupsWorld, **values: object) -> Restore:
    """A bulk change that is being prepared, without its part beside the restore."""
    made = {"generation": w.generation("writing"), "environment": w.environment, "namespace": w.namespace}
    more = {"names_sha256": SHA, "on_conflict": "overwrite", "operation": "expiration"}
    return Restore.objects.create(**{**made, **more, **values})


def beside(w: BackupsWorld, found: Restore, category: str = "cache", /, **values: object) -> BulkChange:
    """That part: one day for each key of a family."""
    pattern = f"c{w.count()}:"
    family = Family.objects.create(binding=found.namespace.binding, pattern=pattern, category=category)
    made = {"restore": found, "family": family, "operation": "expiration", "lifetime": 86_400, **CHOSEN}
    return BulkChange.objects.create(**{**made, **values})


def bulk(w: BackupsWorld, state: str = "preparing", category: str = "cache", /, **values: object) -> BulkChange:
    """A bulk change in this state, made along the arrows of a restore."""
    found = beside(w, row(w, **values), category)
    for step in PATHS[state]:
        move(w, found, step)
    return found


def move(w: BackupsWorld, found: BulkChange, state: str, **values: object) -> None:
    """The change goes on to this state, with all it needs for that."""
    restore = found.restore
    if state == "prepared" and restore.generation.status == "writing":
        for status in ("complete", "verified"):
            change(restore.generation, **w.to(Generation, status))
    if state in {"approved", "writing"} and restore.approval:
        change(restore.approval, **w.to(ApprovalRequest, {"writing": "used"}.get(state, state)))
    change(restore, state=state, **{**_needed(w, restore, state), **values})
    restore.refresh_from_db()


def _needed(w: BackupsWorld, restore: Restore, state: str) -> dict[str, object]:
    match state:
        case "prepared":
            return {"compared_at": Now(), "approval": None}
        case "submitted":
            return {"approval": asked(w, restore), "reason": "no longer needed"}
        case "writing" if restore.approval:
            return {"run": w.run(**{**w.used(restore.approval), "kind": "bulk_change"})}
        case "done" | "ended":
            return {"finished_at": Now()}
    return {}


def asked(w: BackupsWorld, restore: Restore, **values: object) -> ApprovalRequest:
    """The request of the change."""
    made = {"kind": "bulk_change", "subject": f"bulkchange:{restore.pk}", "environment": restore.environment}
    return w.approval(**{**made, **values})


def submit(w: BackupsWorld, found: BulkChange, **values: object) -> None:
    """A submit with a request that is not quite the change's."""
    change(found.restore, state="submitted", approval=asked(w, found.restore, **values), reason="no longer needed")


def by_another_run(w: BackupsWorld) -> None:
    """A start with the run of a restore."""
    found = bulk(w, "approved")
    change(found.restore.approval or found, **w.to(ApprovalRequest, "used"))
    change(found.restore, state="writing", run=w.restoring())


def of_production(w: BackupsWorld, state: str = "preparing") -> BulkChange:
    """A bulk change in production."""
    change(w.production, production=True)
    there = {"environment": w.production, "namespace": w.namespace_of_production}
    return bulk(w, state, **there, generation=w.generation("writing", **there))


def repeating(w: BackupsWorld, *, accepted: bool = True, days: int = 0, **values: object) -> BulkChange:
    """A prepared change in production that names one of QA."""
    found = of_production(w)
    earlier = beside(w, row(w), family=found.family, **values)
    for step in PATHS["done"]:
        move(w, earlier, step)
    if accepted:
        at = Now() - timedelta(days=days)
        change(earlier, accepted_at=at, accepted_by=w.operator, accepted_note="x")
    move(w, found, "prepared")
    change(found, repeats=earlier)
    return found


def undone(w: BackupsWorld) -> None:
    """A submit after a restore from the backup of the change in QA."""
    found = repeating(w)
    earlier = Restore.objects.get(bulk__repeated_by=found)
    restores_rows.restore(w, "writing", generation=earlier.generation)
    move(w, found, "submitted")


def of_another_namespace(w: BackupsWorld) -> None:
    """The backup is of the namespace of production."""
    there = w.generation("writing", environment=w.production, namespace=w.namespace_of_production)
    move(w, beside(w, row(w, generation=there)), "prepared")


def uncached(w: BackupsWorld) -> None:
    """A submit after the family became legacy."""
    found = bulk(w, "prepared")
    Family.objects.filter(pk=found.family_id).update(category="legacy")
    submit(w, found)


def unfixed(w: BackupsWorld) -> None:
    """A chunk is meant to be written before the expiration is fixed."""
    planned = restores_rows.chunk(w, restore=bulk(w, "writing").restore)
    change(planned, **restores_rows.chunk_to("intended"))


def fixed_twice(w: BackupsWorld) -> None:
    """The time of an expiration changes while the keys are written."""
    found = bulk(w, "writing")
    change(found, expiration=8)
    change(found, expiration=9)


FROZEN: dict[str, object] = {
    "restore_id": 0,
    "operation": "mark",
    "family_id": 0,
    "scope": "none",
    "chosen_names": 2,
    "chosen_sha256": "x",
    "lifetime": 90_000,
    "until": 9,
    "member": "x",
    "value": "x",
}
MOVED = {"repeats_id", "expiration", "accepted_at", "accepted_by_id", "accepted_note"}
VERIFIED = "a bulk change needs the verified backup of its keys"
CACHE = "only keys of a cache are changed many at once"
QA = "a bulk change is accepted in QA before production"
STARTS = "a bulk change starts with nothing written"
FIXED = "the expiration is fixed once, by the start"
ACCEPTED = "a bulk change is accepted once, when it is done"
NEEDS = "a bulk change needs an approval to change many keys of its environment"
OWN = "restore_bulk_overwrites_its_own_backup"
ONE = "bulk_sets_one_thing"
NOT_BY_THIS_REQUEST = "a restore is not % by this request"

BULK_CHANGES = [
    *columns("what a bulk change writes cannot be edited", bulk, FROZEN),
    RowAttempt("what a restore writes cannot be edited", lambda w: change(restores_rows.restore(w), operation="mark")),
    RowAttempt("a restore is of a verified backup, into the same binding", lambda w: row(w, generation=w.generation())),
    RowAttempt(VERIFIED, lambda w: change(bulk(w).restore, state="prepared", compared_at=Now()), "being written"),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: submit(w, bulk(w, "prepared"), kind="restore"), "of a restore"),
    RowAttempt(NOT_BY_THIS_REQUEST, lambda w: submit(w, bulk(w, "prepared"), subject="bulkchange:0"), "of another"),
    RowAttempt("a restore is written by the run of its approval", by_another_run, "of a bulk change"),
    RowAttempt(CACHE, lambda w: bulk(w, "submitted", "legacy"), "legacy from the start"),
    RowAttempt(CACHE, uncached, "legacy since"),
    RowAttempt(QA, lambda w: of_production(w, "submitted"), "nothing named"),
    RowAttempt(QA, lambda w: move(w, repeating(w, accepted=False), "submitted"), "not accepted"),
    RowAttempt(QA, lambda w: move(w, repeating(w, lifetime=86_401), "submitted"), "for a longer life"),
    RowAttempt(QA, lambda w: move(w, repeating(w, days=8), "submitted"), "too long ago"),
    RowAttempt(QA, undone, "undone"),
    RowAttempt(VERIFIED, of_another_namespace, "of another namespace"),
    RowAttempt("a bulk change is never deleted", lambda w: bulk(w).delete()),
    RowAttempt(STARTS, lambda w: beside(w, restores_rows.restore(w)), "beside a restore"),
    RowAttempt(STARTS, lambda w: beside(w, row(w), expiration=9), "with a time"),
    RowAttempt("what a bulk change repeats cannot be edited", lambda w: change(bulk(w, "approved"), repeats=bulk(w))),
    RowAttempt(FIXED, lambda w: change(bulk(w, "approved"), expiration=9), "before the start"),
    RowAttempt(FIXED, fixed_twice, "twice"),
    RowAttempt(ACCEPTED, lambda w: change(bulk(w, "writing"), accepted_note="x"), "too early"),
    RowAttempt("bulk_accepted_by_whom_and_why", lambda w: change(bulk(w, "done"), accepted_at=Now())),
    RowAttempt("no key is written before its expiration is fixed", unfixed),
    RowAttempt(NEEDS, lambda w: w.run(**{**w.used(w.approval("used")), "kind": "bulk_change"}), "of something else"),
    RowAttempt(
        NEEDS,
        lambda w: w.run(
            **{**w.used(w.approval("used", kind="bulk_change")), "kind": "bulk_change", "environment": None}
        ),
        "of another environment",
    ),
    RowAttempt(OWN, lambda w: row(w, on_conflict="skip"), "skips"),
    RowAttempt(OWN, lambda w: row(w, listed=True), "listed"),
    RowAttempt(ONE, lambda w: beside(w, row(w), member="stale", value="1"), "both"),
    RowAttempt(ONE, lambda w: beside(w, row(w), lifetime=None), "nothing"),
    RowAttempt(ONE, lambda w: beside(w, row(w), until=9), "two times"),
    RowAttempt(ONE, lambda w: beside(w, row(w, operation="mark"), **{**MARK, "value": ""}), "no value"),
    RowAttempt("bulk_lifetime_is_usable", lambda w: beside(w, row(w), lifetime=3_599), "too short"),
    RowAttempt("bulk_lifetime_is_usable", lambda w: beside(w, row(w), lifetime=40_000_000), "too long"),
    RowAttempt("bulk_is_of_a_countable_list", lambda w: beside(w, row(w), chosen_names=0), "none"),
    RowAttempt("bulk_is_of_a_countable_list", lambda w: beside(w, row(w), chosen_names=100_001), "too many"),
]
