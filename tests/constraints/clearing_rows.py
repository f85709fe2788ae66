"""The table's part about rules of scheduled clearings, their rounds, their stages and their runs."""

from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from backups.models import CleanupChunk, CleanupRequest, CleanupStage, Clearing, ClearingRound
from kvops.models import ApprovalRequest, Run
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import SHA, again, change
from tests.constraints.rows import RowAttempt, columns

DAY = timedelta(days=1)


def rule(w: BackupsWorld, **values: object) -> Clearing:
    """A rule of a cache of its own."""
    family = w.family("cache")
    made = {
        "namespace": w.namespace,
        "family": family,
        "prefix": family.pattern,
        "cap": 1,
        "reason": "no longer needed",
    }
    return Clearing.objects.create(**{**made, "made_by": w.operator, **values})


def standing(w: BackupsWorld, of: Clearing, **values: object) -> ApprovalRequest:
    """The approval that stands for a rule."""
    made = {"kind": "clearing", "subject": of.subject, "standing_until": Now() + 30 * DAY}
    found = w.approval(**{**made, **values})
    change(found, **{**w.to(ApprovalRequest, "approved"), "use_by": F("standing_until")})
    found.refresh_from_db()
    return found


def running(w: BackupsWorld, of: Clearing, **values: object) -> Run:
    """A run of a rule that carries its approval."""
    carried = {**w.used(standing(w, of)), "kind": "clear", "subject": of.subject, "started_by": None}
    return w.run(**{**carried, **values})


def round_(w: BackupsWorld, **values: object) -> ClearingRound:
    """A round under way."""
    of = rule(w)
    run = running(w, of)
    return ClearingRound.objects.create(**{"clearing": of, "run": run, "approval": run.approval, **values})


def request(w: BackupsWorld, of: Clearing, **values: object) -> CleanupRequest:
    """The request of a round."""
    made = {"binding": "SETTINGS", "prefix": of.prefix, "only": of.only, "family": of.family, "category": "cache"}
    return CleanupRequest.objects.create(**{**made, "asked_by": of.subject, "clearing": of, **values})


def stage(w: BackupsWorld, of: Clearing | None = None) -> CleanupStage:
    """The stage of a round, with its verified backup."""
    asked = request(w, of or rule(w))
    found = CleanupStage.objects.create(
        request=asked, environment=w.environment, namespace=w.namespace, order=1, scheduled=True
    )
    for state in ("frozen", "backed_up", "verified"):
        w.move(found, state)
    return found


def delete(w: BackupsWorld, found: CleanupStage, **values: object) -> None:
    """The stage goes on to its deletion, with the run of its rule."""
    of = found.request.clearing
    assert of is not None
    run = running(w, of)
    change(found, **{"state": "deleting", "run": run, "approval": run.approval, **values})


def proven(w: BackupsWorld, deleted: int = 1) -> ClearingRound:
    """A round whose keys are proven gone."""
    of = rule(w)
    found, run = stage(w, of), running(w, of)
    change(found, state="deleting", run=run, approval=run.approval)
    change(found, state="deleted", deleted=deleted)
    change(found, state="confirmed", first_listing_at=Now() - DAY, second_listing_at=Now())
    return ClearingRound.objects.create(clearing=of, run=run, approval=run.approval, stage=found)


def accept(found: ClearingRound, w: BackupsWorld, **values: object) -> ClearingRound:
    """The round is accepted."""
    change(found, **{"accepted_by": w.operator, "accepted_at": Now(), "accepted_note": "x", **values})
    return found


def with_another(w: BackupsWorld, what: str) -> None:
    """A stage that deletes with the run, or the approval, of another rule."""
    found, other = stage(w), running(w, rule(w))
    run = running(w, found.request.clearing) if what == "approval" and found.request.clearing else other
    change(found, state="deleting", run=run, approval=other.approval)


def by_hand(w: BackupsWorld, found: CleanupStage) -> None:
    """A stage of a clean-up that deletes without being submitted, with an approval and a run of its own."""
    approval = w.approval("used", subject=f"stage:{found.pk}")
    change(found, state="deleting", run=w.run(**w.used(approval)), approval=approval)


def chunk_without_approval(w: BackupsWorld) -> None:
    """A chunk is to be sent after the approval of its rule was withdrawn."""
    found = stage(w)
    delete(w, found)
    planned = w.chunk(stage=found)
    change(ApprovalRequest.objects.get(cleanupstage=found), **w.to(ApprovalRequest, "withdrawn"))
    change(planned, **w.to(CleanupChunk, "intended"))


NEEDS = "a scheduled clearing needs an approval that stands for its rule, by another person"
DELETES = "a scheduled clearing deletes what is backed up, by the run that carries the approval of its rule"
OF = "what a round of a clearing is of cannot be edited"
KEYS = "the keys of a rule cannot be edited"
NOTE = "clearing_round_accepted_with_a_note"
CLEARINGS = [
    RowAttempt("cleanup_chooses_among_caches", lambda w: again(w.request(), only={"member": "x"}), "legacy"),
    RowAttempt("clearing_has_a_cap", lambda w: rule(w, cap=0), "none"),
    RowAttempt("clearing_has_a_cap", lambda w: rule(w, cap=100_001), "too many"),
    RowAttempt("clearing_says_why", lambda w: rule(w, reason="")),
    RowAttempt("clearing_retired_by_a_person", lambda w: change(rule(w), retired_at=Now())),
    RowAttempt("clearing_once_per_scope", lambda w: again(rule(w))),
    RowAttempt("only a cache is cleared by a schedule", lambda w: rule(w, family=w.family("legacy"))),
    RowAttempt("a rule of a clearing is never deleted", lambda w: rule(w).delete()),
    *columns(
        KEYS,
        rule,
        {"namespace_id": 0, "family_id": 0, "prefix": "x", "only": {"member": "x"}, "made_by_id": 0, "made_at": Now()},
    ),
    RowAttempt(
        "a retired rule cannot be edited",
        lambda w: change(rule(w, retired_at=Now(), retired_by=w.operator), retired_at=None, retired_by=None),
    ),
    RowAttempt("clearing_round_runs_or_says_why", lambda w: round_(w, run=None), "neither"),
    RowAttempt("clearing_round_runs_or_says_why", lambda w: round_(w, reason="no longer needed"), "both"),
    RowAttempt("clearing_round_runs_or_says_why", lambda w: round_(w, approval=None), "no approval"),
    RowAttempt(
        "clearing_round_runs_or_says_why",
        lambda w: round_(w, run=None, reason="no longer needed", stage=stage(w)),
        "a stage of no run",
    ),
    RowAttempt("backups_clearinground_run_id_key", lambda w: again(round_(w))),
    RowAttempt(
        "backups_clearinground_stage_id_key",
        lambda w: change(round_(w), stage=round_(w, stage=stage(w)).stage),
    ),
    RowAttempt(NOTE, lambda w: accept(proven(w), w, accepted_note=""), "no note"),
    RowAttempt(NOTE, lambda w: accept(proven(w), w, accepted_by=None), "nobody"),
    RowAttempt(NOTE, lambda w: change(round_(w), accepted_note="x"), "no time"),
    RowAttempt("only a round that deleted keys and proved it is accepted", lambda w: accept(round_(w), w), "unproven"),
    RowAttempt("only a round that deleted keys and proved it is accepted", lambda w: accept(proven(w, 0), w), "none"),
    RowAttempt(OF, lambda w: change(round_(w), scope_digest=SHA), "scope"),
    RowAttempt(OF, lambda w: change(round_(w, stage=stage(w)), stage=None), "stage"),
    RowAttempt(OF, lambda w: change(accept(proven(w), w), accepted_note="y"), "note"),
    RowAttempt("a round of a clearing is never deleted", lambda w: round_(w).delete()),
    RowAttempt("a scheduled clearing is of the keys of its rule", lambda w: request(w, rule(w), prefix="x"), "prefix"),
    RowAttempt("a scheduled clearing is of the keys of its rule", lambda w: request(w, rule(w), only={"member": "x"})),
    RowAttempt("a stage is scheduled as its request is", lambda w: again(w.stage(), order=2, scheduled=True)),
    RowAttempt("a stage of a scheduled clearing is not %", lambda w: w.move(stage(w), "submitted")),
    RowAttempt(
        "only a scheduled clearing needs no approval of its own",
        lambda w: by_hand(w, w.stage("verified", category="cache")),
    ),
    RowAttempt(DELETES, lambda w: with_another(w, "run"), "run of another rule"),
    RowAttempt(DELETES, lambda w: with_another(w, "approval"), "approval of another rule"),
    RowAttempt(DELETES, lambda w: delete(w, stage(w), generation=w.generation("complete")), "not verified"),
    RowAttempt("a chunk of a scheduled clearing needs an approval that stands", chunk_without_approval),
    RowAttempt(NEEDS, lambda w: running(w, rule(w), subject="clearing:0"), "another rule"),
    RowAttempt(NEEDS, lambda w: running(w, rule(w), environment=None), "another environment"),
    RowAttempt(NEEDS, lambda w: running(w, rule(w), started_by=w.reviewer), "the approver"),
    RowAttempt(NEEDS, lambda w: w.run(**{**w.used(w.approval("used")), "kind": "clear"}), "approval of something else"),
]
