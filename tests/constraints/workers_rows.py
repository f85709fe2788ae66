"""The table's part about rules of expiry Workers, their rounds, their reports and their runs."""

from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from backups.models import WorkerKey, WorkerNonce, WorkerReport, WorkerRound, WorkerRule
from backups.models.worker_expiry import DAY, LONGEST_TTL, MOST_GIVEN
from kvops.models import ApprovalRequest, Family, Run
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import SHA, again, change
from tests.constraints.rows import RowAttempt, columns

MONTH = timedelta(days=30)


def cache(w: BackupsWorld) -> Family:
    """A cache of its own that is designed with a ttl."""
    found = w.family("cache")
    change(found, expiry="ttl:60")
    found.refresh_from_db()
    return found


def rule(w: BackupsWorld, **values: object) -> WorkerRule:
    """A rule of a cache of its own."""
    made = {
        "namespace": w.namespace,
        "ttl": DAY,
        "cap": 1,
        "cron": "0 3 * * *",
        "reason": "no longer needed",
        "made_by": w.operator,
    }
    family = values.pop("family", None) or cache(w)
    return WorkerRule.objects.create(**{**made, "family": family, **values})


def standing(w: BackupsWorld, of: WorkerRule) -> ApprovalRequest:
    """The approval that stands for a rule."""
    found = w.approval(kind="worker_expiry", subject=of.subject, standing_until=Now() + MONTH)
    change(found, **{**w.to(ApprovalRequest, "approved"), "use_by": F("standing_until")})
    found.refresh_from_db()
    return found


def running(w: BackupsWorld, of: WorkerRule, **values: object) -> Run:
    """A run of a rule that carries its approval."""
    carried = {**w.used(standing(w, of)), "kind": "worker_round", "subject": of.subject, "started_by": None}
    return w.run(**{**carried, **values})


def round_(w: BackupsWorld, **values: object) -> WorkerRound:
    """A round under way."""
    of = rule(w)
    run = running(w, of)
    made = {"rule": of, "run": run, "approval": run.approval, "token": f"round {of.pk}"}
    return WorkerRound.objects.create(**{**made, **values})


def refused(w: BackupsWorld, **values: object) -> WorkerRound:
    """A round that got a no."""
    return WorkerRound.objects.create(**{"rule": rule(w), "reason": "no longer needed", **values})


def of_another(w: BackupsWorld) -> None:
    """A round with the run of another rule."""
    run = running(w, rule(w))
    WorkerRound.objects.create(rule=rule(w), run=run, approval=run.approval)


def accept(found: WorkerRound, w: BackupsWorld, **values: object) -> WorkerRound:
    """The round is accepted."""
    change(found, **{"accepted_by": w.operator, "accepted_at": Now(), "accepted_note": "x", **values})
    return found


def report(w: BackupsWorld) -> WorkerReport:
    """The first report of a round."""
    return WorkerReport.objects.create(round=round_(w), part=0, given=1, failed=0, sha256=SHA)


def key(w: BackupsWorld) -> WorkerKey:
    """A reported key."""
    return WorkerKey.objects.create(report=report(w), name="x", certain=True, expires_at=Now())


GIVEN = {"ended": "complete", "given": 1}
OF = "a round of a Worker cannot be edited"
ONLY = "only a reported round that gave expirations is accepted"
NOTE = "worker_round_accepted_with_a_note"
WHY = "worker_round_runs_or_says_why"
NEEDS = "a round of a Worker needs an approval that stands for its rule"
KEPT = "a report of a Worker is never deleted or edited"
WORKERS = [
    RowAttempt("worker_rule_gives_a_day", lambda w: rule(w, ttl=DAY - 1), "short"),
    RowAttempt("worker_rule_gives_a_day", lambda w: rule(w, ttl=LONGEST_TTL + 1), "long"),
    RowAttempt("worker_rule_has_a_cap", lambda w: rule(w, cap=0), "none"),
    RowAttempt("worker_rule_has_a_cap", lambda w: rule(w, cap=MOST_GIVEN + 1), "too many"),
    RowAttempt("worker_rule_says_why", lambda w: rule(w, reason="")),
    RowAttempt("worker_rule_retired_by_a_person", lambda w: change(rule(w), retired_at=Now())),
    RowAttempt("worker_rule_once_per_family", lambda w: again(rule(w))),
    RowAttempt(
        "a Worker gives expirations only to a cache with a ttl", lambda w: rule(w, family=w.family("cache")), "no ttl"
    ),
    RowAttempt(
        "a Worker gives expirations only to a cache with a ttl", lambda w: rule(w, family=w.family("legacy")), "legacy"
    ),
    RowAttempt("a rule of a Worker is never deleted", lambda w: rule(w).delete()),
    *columns(
        "the target of a Worker cannot be edited",
        rule,
        {"namespace_id": 0, "family_id": 0, "made_by_id": 0, "made_at": Now()},
    ),
    RowAttempt(
        "a retired rule of a Worker cannot be edited",
        lambda w: change(rule(w, retired_at=Now(), retired_by=w.operator), retired_at=None, retired_by=None),
    ),
    RowAttempt(WHY, lambda w: refused(w, reason=""), "neither"),
    RowAttempt(WHY, lambda w: refused(w, given=1), "a key without a run"),
    RowAttempt("worker_round_ends_in_a_known_way", lambda w: change(round_(w), ended="x")),
    RowAttempt(
        "worker_round_asked_once", lambda w: again(round_(w), run=None, approval=None, reason="no longer needed")
    ),
    RowAttempt("worker_round_missed_once", lambda w: again(refused(w, due_at=Now()))),
    RowAttempt("backups_workerround_run_id_key", lambda w: again(round_(w), token="another")),
    RowAttempt("a round of a Worker is of the run that carries its approval", of_another),
    RowAttempt("a round of a Worker is never deleted", lambda w: round_(w).delete()),
    RowAttempt(NOTE, lambda w: accept(round_(w, **GIVEN), w, accepted_note=""), "no note"),
    RowAttempt(NOTE, lambda w: accept(round_(w, **GIVEN), w, accepted_by=None), "nobody"),
    RowAttempt(NOTE, lambda w: change(round_(w), accepted_note="x"), "no time"),
    RowAttempt(ONLY, lambda w: accept(round_(w, given=1), w), "no end"),
    RowAttempt(ONLY, lambda w: accept(round_(w, ended="complete"), w), "nothing given"),
    RowAttempt(ONLY, lambda w: accept(round_(w, **GIVEN, reason="no longer needed"), w), "a problem"),
    RowAttempt(OF, lambda w: change(round_(w), scope_digest=SHA), "scope"),
    RowAttempt(OF, lambda w: change(round_(w), token="y"), "token"),
    RowAttempt(OF, lambda w: change(round_(w, **GIVEN), given=2), "counts"),
    RowAttempt(OF, lambda w: change(round_(w, reason="no longer needed"), reason="not read any more"), "reason"),
    RowAttempt(OF, lambda w: change(accept(round_(w, **GIVEN), w), accepted_note="y"), "note"),
    RowAttempt("worker_report_once", lambda w: again(report(w))),
    RowAttempt(KEPT, lambda w: change(report(w), given=2), "report edited"),
    RowAttempt(KEPT, lambda w: report(w).delete(), "report deleted"),
    RowAttempt(KEPT, lambda w: change(key(w), name="y"), "key"),
    RowAttempt("worker_key_once_per_report", lambda w: again(key(w))),
    RowAttempt("worker_nonce_once", lambda w: again(WorkerNonce.objects.create(rule=rule(w), nonce="x"))),
    RowAttempt(NEEDS, lambda w: running(w, rule(w), subject="worker:0"), "another rule"),
    RowAttempt(NEEDS, lambda w: running(w, rule(w), environment=None), "another environment"),
    RowAttempt(NEEDS, lambda w: running(w, rule(w), started_by=w.operator), "a person"),
    RowAttempt(NEEDS, lambda w: w.run(**{**w.used(w.approval("used")), "kind": "worker_round"}), "something else"),
]
