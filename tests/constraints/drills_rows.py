"""The table's part about rehearsals, their scratch namespaces, and the approvals that stand for them."""

from datetime import timedelta

from django.db.models import F, Value
from django.db.models.functions import Now

from backups.models import Drill, DrilledBackup
from kvops.models import ApprovalRequest, Environment, Namespace, Run, Scratch
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import change
from tests.constraints.rows import RowAttempt

DAY = Value(timedelta(days=1))


def standing(w: BackupsWorld, state: str = "approved", /, **values: object) -> ApprovalRequest:
    """An approval that stands, in this state."""
    until = {"standing_until": Now() + 30 * timedelta(days=1)}
    made = w.approval(**{"kind": "drill", "subject": f"drill:{w.count()}", **until, **values})
    if state == "approved":
        change(made, **{**w.to(ApprovalRequest, "approved"), "use_by": F("standing_until")})
    made.refresh_from_db()
    return made


def drilling(w: BackupsWorld, state: str = "approved", /, **values: object) -> Run:
    """A run of a rehearsal that carries one."""
    approval = standing(w, state)
    return w.run(**{**w.used(approval), "kind": "drill", "started_by": None, **values})


def drill(w: BackupsWorld, **values: object) -> Drill:
    """A rehearsal under way."""
    run = drilling(w)
    made = {"environment": w.environment, "approval": run.approval, "run": run, "namespace_id": "9" * 32, "actor": "x"}
    return Drill.objects.create(**{**made, **values})


def drilled_backup(w: BackupsWorld, **values: object) -> DrilledBackup:
    """A backup of a drill."""
    made = {"drill": drill(w), "generation": w.generation(), "number": 1, "keys": 1, "bytes": 1, "last_index": 0}
    return DrilledBackup.objects.create(**{**made, **values})


def twice(w: BackupsWorld, **values: object) -> None:
    """A second backup of the same drill."""
    first = drilled_backup(w)
    drilled_backup(w, **{"drill": first.drill, "number": 2, **{name: getattr(first, name) for name in values}})


def scratch(w: BackupsWorld, **values: object) -> Scratch:
    """A scratch namespace of an environment of its own."""
    backed_up = Environment.objects.get(pk=w.environment.pk)
    backed_up.pk, backed_up.slug, backed_up.order = None, f"e{w.count()}", 500 + w.count()
    backed_up.save()
    made = {"environment": backed_up, "binding": "DRILLS", "namespace_id": f"{w.count():032}", "title": "x"}
    return Scratch.objects.create(**{**made, **values})


def bound_as_both(w: BackupsWorld, *, first: str) -> None:
    """The same namespace for rehearsals and for keys."""
    if first == "namespace":
        scratch(w, namespace_id=w.namespace.namespace_id)
    else:
        Namespace.objects.filter(pk=w.namespace.pk).update(namespace_id=scratch(w).namespace_id)


NEEDS = "a drill needs an approval that stands in its environment"
NINETY = "approval_stands_for_90_days"
BOTH = "a scratch namespace is bound as nothing else"
DRILLS = [
    RowAttempt(NINETY, lambda w: standing(w, standing_until=Now() + 91 * timedelta(days=1)), "longer"),
    RowAttempt(NINETY, lambda w: standing(w, standing_until=None), "for ever"),
    RowAttempt(NINETY, lambda w: standing(w, kind="restore"), "another kind"),
    RowAttempt("approval_standing_is_not_used_up", lambda w: change(standing(w), **w.to(ApprovalRequest, "used"))),
    RowAttempt(
        "approval_standing_is_not_used_up",
        lambda w: change(standing(w, "pending"), **w.to(ApprovalRequest, "approved")),
        "shorter than it was asked for",
    ),
    RowAttempt(
        "how long an approval stands cannot be edited",
        lambda w: change(standing(w), state="withdrawn", standing_until=F("standing_until") - DAY),
    ),
    RowAttempt(NEEDS, lambda w: drilling(w, "pending"), "pending"),
    RowAttempt(NEEDS, lambda w: drilling(w, subject="drill:0"), "another subject"),
    RowAttempt(NEEDS, lambda w: drilling(w, environment=None), "another environment"),
    RowAttempt(NEEDS, lambda w: w.run(**{**w.used(w.approval("used")), "kind": "drill"}), "approval of something else"),
    RowAttempt("drill_over_has_a_verdict", lambda w: change(drill(w), finished_at=Now()), "no verdict"),
    RowAttempt("drill_over_has_a_verdict", lambda w: change(drill(w), passed=True), "not over"),
    RowAttempt("drilled_backup_in_order", lambda w: change(drilled_backup(w), finished_at=Now())),
    RowAttempt("drilled_backup_number_once", lambda w: twice(w, number=1)),
    RowAttempt("drilled_backup_once", lambda w: twice(w, generation=1)),
    RowAttempt("a drill is never deleted", lambda w: drill(w).delete(), "drill"),
    RowAttempt(
        "a drill that is over cannot be edited",
        lambda w: change(drill(w, finished_at=Now(), passed=False), passed=True),
    ),
    RowAttempt("backups_drill_run_id_key", lambda w: drill(w, run=drill(w).run)),
    RowAttempt("kvops_scratch_environment_id_key", lambda w: scratch(w, environment=scratch(w).environment)),
    RowAttempt("kvops_scratch_namespace_id_key", lambda w: scratch(w, namespace_id=scratch(w).namespace_id)),
    RowAttempt(BOTH, lambda w: bound_as_both(w, first="namespace"), "a namespace first"),
    RowAttempt(BOTH, lambda w: bound_as_both(w, first="scratch"), "a scratch one first"),
]
