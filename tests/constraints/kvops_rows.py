"""Half of the table: requests, runs, environments."""

from hashlib import sha256

from django.db.models.functions import Now

from kvops.models import (
    ApprovalRequest,
    DatabaseRollback,
    EmergencyStop,
    Key,
    Run,
    StagedKey,
    User,
)
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import HOUR, SHA, again, change
from tests.constraints.rows import EPOCH, RowAttempt, columns

# What a request asks for, and what a run does: every column, also while the row makes an allowed move.
REQUEST_FROZEN: dict[str, object] = {
    "id": 0,
    "kind": "policy",
    "subject": "x",
    "title": "x",
    "environment_id": None,
    "evidence": "{ }",
    "digest": "x",
    "requester_id": 0,
    "created_at": EPOCH,
    "decide_by": EPOCH,
}
REQUEST_DECIDED: dict[str, object] = {"approver_id": 0, "decided_at": Now(), "use_by": EPOCH}
RUN_FROZEN: dict[str, object] = {
    "id": 0,
    "kind": "scan",
    "subject": "x",
    "approval_id": None,
    "approval_digest": "x",
    "started_by_id": None,
    "environment_id": None,
}


ALL_RISKS = "every risk that the evidence names is accepted, and no other"

EXPIRATIONS = "scan_counts_expirations_of_its_keys"
APPROVALS = [
    *columns("an approval request cannot be edited", lambda w: w.approval(), REQUEST_FROZEN, {"state": "withdrawn"}),
    *columns("a decision cannot be edited", lambda w: w.approval("approved"), REQUEST_DECIDED, {"state": "withdrawn"}),
    RowAttempt("what was accepted cannot be edited", lambda w: change(w.approval(), state="withdrawn", accepted=["x"])),
    RowAttempt(ALL_RISKS, lambda w: decide(w, evidence='{"risks":["a"]}'), "none"),
    RowAttempt(ALL_RISKS, lambda w: decide(w, evidence='{"risks":["a"]}', accepted=["b"]), "another"),
    RowAttempt(ALL_RISKS, lambda w: decide(w, evidence='{"risks":["a"]}', accepted=["a", "b"]), "one more"),
    RowAttempt(ALL_RISKS, lambda w: decide(w, accepted=["a"]), "there is none"),
    RowAttempt(
        "an approval request changes only when it moves",
        lambda w: change(w.approval(), reason="no longer needed"),
        "pending",
    ),
    RowAttempt(
        "an approval request changes only when it moves",
        lambda w: change(w.approval("approved"), reason="no longer needed"),
        "kept",
    ),
    RowAttempt(
        "an approval request changes only when it moves", lambda w: change(w.approval("used"), starter=w.other), "used"
    ),
    RowAttempt(
        "the database says when a request is decided and used", lambda w: decide(w, decided_at=EPOCH), "decided early"
    ),
    RowAttempt(
        "the database says when a request is decided and used",
        lambda w: decide(w, decide_by=Now() + 2 * HOUR, decided_at=Now() + HOUR),
        "decided ahead",
    ),
    RowAttempt("the database says when a request is decided and used", lambda w: use(w, used_at=EPOCH), "used early"),
    RowAttempt("an approval request is never deleted", lambda w: w.approval().delete()),
    RowAttempt("an approval request starts as pending", lambda w: w.approval(state="withdrawn"), "state"),
    RowAttempt("an approval request starts as pending", lambda w: w.approval(approver=w.reviewer), "approver"),
    RowAttempt("an approval request starts as pending", lambda w: w.approval(starter=w.operator), "starter"),
    RowAttempt("approval_by_another_person", lambda w: decide(w, approver=w.operator)),
    RowAttempt("approval_not_started_by_approver", lambda w: use(w, starter=w.reviewer)),
    RowAttempt("approval_decided_has_person_and_time", lambda w: change(w.approval(), state="approved", use_by=Now())),
    RowAttempt("approval_approver_has_time", lambda w: change(w.approval(), state="withdrawn", approver=w.reviewer)),
    RowAttempt("approval_has_time_to_use", lambda w: decide(w, use_by=None)),
    RowAttempt("approval_decided_in_time", lambda w: decide(w, decide_by=Now() - HOUR)),
    RowAttempt("approval_used_has_person_and_time", lambda w: use(w, starter=None)),
    RowAttempt("approval_used_in_time", lambda w: use(w, use_by=Now() - HOUR)),
    RowAttempt("approval_one_pending_per_subject", lambda w: again(w.approval())),
    RowAttempt("approval_digest_is_of_evidence", lambda w: w.approval(evidence="[]")),
    RowAttempt("approval_evidence_size", lambda w: w.of_size(65537), "too large"),
    RowAttempt("approval_evidence_size", lambda w: w.of_size(1), "empty"),
    RowAttempt("change_of_environments_or_policy", lambda w: w.prepared(kind="delete_keys")),
    RowAttempt("change_one_open_per_kind", lambda w: again(w.prepared())),
    RowAttempt("change_one_open_per_kind", lambda w: again(w.prepared(kind="family", about="x")), "of a pattern"),
    RowAttempt("change_about_a_pattern", lambda w: w.prepared(kind="family"), "family without"),
    RowAttempt("change_about_a_pattern", lambda w: w.prepared(about="x"), "policy with"),
    RowAttempt(
        "kvops_preparedchange_approval_id_key", lambda w: again(w.prepared(approval=w.approval()), kind="environment")
    ),
]


def decide(w: BackupsWorld, **values: object) -> None:
    """An approval with these differences; `decide_by` and `evidence` are the request's."""
    early: dict[str, object] = {name: values.pop(name) for name in ("decide_by", "evidence") if name in values}
    if "evidence" in early:
        early["digest"] = sha256(str(early["evidence"]).encode()).hexdigest()
    change(w.approval(**early), **{**w.to(ApprovalRequest, "approved"), **values})


def use(w: BackupsWorld, **values: object) -> None:
    """A use of an approval with these differences; `use_by` is the approval's."""
    request = w.approval()
    until = {"use_by": values.pop("use_by")} if "use_by" in values else {}
    change(request, **{**w.to(ApprovalRequest, "approved"), **until})
    change(request, **{**w.to(ApprovalRequest, "used"), **values})


STOP_FROZEN: dict[str, object] = {"id": 0, "environment_id": 0, "by_id": 0, "at": EPOCH, "reason": "no longer needed"}
RELEASED = "an emergency stop is released by a used approval of its release"
STOPS = [
    *columns("an emergency stop cannot be edited", lambda w: w.stop(), STOP_FROZEN),
    RowAttempt(
        "an emergency stop cannot be edited", lambda w: change(released(w), released_at=None, approval=None), "again on"
    ),
    RowAttempt("an emergency stop starts in force", lambda w: w.stop(released_at=Now())),
    RowAttempt("an emergency stop is never deleted", lambda w: w.stop().delete()),
    RowAttempt("stop_one_per_environment", lambda w: again(w.stop())),
    RowAttempt("stop_released_by_an_approval", lambda w: change(w.stop(), released_at=Now())),
    RowAttempt("stop_released_after_it_began", lambda w: released(w, at=Now() + HOUR)),
    RowAttempt(RELEASED, lambda w: release(w, "approved"), "not used"),
    RowAttempt(RELEASED, lambda w: release(w, kind="policy"), "approval of something else"),
    RowAttempt(RELEASED, lambda w: release(w, subject="stop:0"), "another stop"),
    RowAttempt("no approved run begins while the emergency stop is on", lambda w: (w.stop(), w.deletion())),
]


def release(w: BackupsWorld, state: str = "used", /, **values: object) -> None:
    """A release with an approval that has these differences."""
    stop = w.stop()
    change(stop, **w.release(stop, state, **values))


def released(w: BackupsWorld, **values: object) -> EmergencyStop:
    """A stop with these differences that was released."""
    stop = w.stop(**values)
    change(stop, **w.release(stop))
    return stop


ROLLBACK_FROZEN: dict[str, object] = {
    "id": 0,
    "environment_id": 0,
    "manifest_key": "x",
    "modified_at": EPOCH,
    "sequence": 0,
    "hash": "x",
    "our_sequence": 0,
    "our_hash": "x",
    "found_at": EPOCH,
}
ROLLBACK_ACCEPTED: dict[str, object] = {"accepted_at": Now(), "accepted_by": "cli:x", "reason": "no longer needed"}
ROLLBACKS = [
    *columns("a rollback cannot be edited", lambda w: w.rollback(), ROLLBACK_FROZEN, ROLLBACK_ACCEPTED),
    RowAttempt("a rollback cannot be edited", lambda w: accept(accept(w.rollback())), "twice"),
    RowAttempt("a rollback starts in force", lambda w: w.rollback(**ROLLBACK_ACCEPTED)),
    RowAttempt("a rollback is never deleted", lambda w: w.rollback().delete()),
    RowAttempt("rollback_one_per_environment", lambda w: again(w.rollback())),
    RowAttempt("rollback_is_one", lambda w: w.rollback(our_hash=SHA)),
    RowAttempt("rollback_accepted_by_someone_who_says_why", lambda w: change(w.rollback(), accepted_at=Now()), "mute"),
    RowAttempt(
        "rollback_accepted_by_someone_who_says_why", lambda w: change(w.rollback(), reason="no longer needed"), "never"
    ),
    RowAttempt(
        "no approved run begins while the database contradicts a bucket", lambda w: (w.rollback(), w.deletion())
    ),
]


def accept(rollback: DatabaseRollback) -> DatabaseRollback:
    """Accepted by somebody."""
    change(rollback, **ROLLBACK_ACCEPTED)
    return rollback


RUN_NEEDS = "a run needs an approval of its subject, claimed by the person who starts it"
UNDO_NEEDS = "an undo needs a deletion that ended within 72 hours, and is not started by who approved that"
RUNS = [
    *columns("what a run does cannot be edited", lambda w: w.deletion(), RUN_FROZEN),
    RowAttempt(RUN_NEEDS, lambda w: w.run(**w.used(w.approval())), "pending"),
    RowAttempt(RUN_NEEDS, lambda w: w.run(**w.used(w.approval("approved"))), "not claimed"),
    RowAttempt(RUN_NEEDS, lambda w: w.deletion(subject="stage:0"), "another subject"),
    RowAttempt(RUN_NEEDS, lambda w: w.deletion(started_by=w.other), "started by somebody else"),
    RowAttempt(RUN_NEEDS, lambda w: w.deletion(started_by=None), "started by nobody"),
    RowAttempt(
        "a deletion needs an approval to delete keys of its environment", lambda w: w.deletion(environment=None)
    ),
    RowAttempt(
        "a deletion needs an approval to delete keys of its environment",
        lambda w: w.run(**w.used(w.approval("used", kind="policy"))),
        "approval of something else",
    ),
    RowAttempt("run_with_the_digest_approved", lambda w: w.deletion(approval_digest=SHA)),
    RowAttempt("run_destructive_is_approved", lambda w: w.run(kind="delete"), "no approval"),
    RowAttempt("run_destructive_is_approved", lambda w: w.deletion(approval_digest=""), "no digest"),
    RowAttempt("run_destructive_in_a_worker", lambda w: w.deletion(foreground=True)),
    RowAttempt("run_one_per_approval_and_kind", lambda w: again(w.deletion("succeeded"))),
    RowAttempt(
        "only what writes or deletes uses up an approval",
        lambda w: w.run(**{**w.used(w.approval("used")), "kind": "scan"}),
    ),
    RowAttempt(
        "a restore needs an approval to restore keys into its environment",
        lambda w: w.run(**{**w.used(w.approval("used")), "kind": "restore"}),
        "approval of something else",
    ),
    RowAttempt(
        "a restore needs an approval to restore keys into its environment",
        lambda w: w.restoring(environment=None),
        "another environment",
    ),
    RowAttempt(UNDO_NEEDS, lambda w: w.undoing("running"), "a deletion that is not over"),
    RowAttempt(UNDO_NEEDS, lambda w: w.undoing("failed"), "a deletion that failed"),
    RowAttempt(UNDO_NEEDS, lambda w: w.undoing(ended=Now() - 73 * HOUR), "too late"),
    RowAttempt(UNDO_NEEDS, lambda w: w.undoing(started_by=w.reviewer), "started by the approver"),
    RowAttempt(UNDO_NEEDS, lambda w: w.undoing(started_by=None), "started by nobody"),
    RowAttempt(UNDO_NEEDS, lambda w: w.undoing(subject="stage:0"), "another subject"),
    RowAttempt(UNDO_NEEDS, lambda w: w.undoing(environment=None), "another environment"),
    RowAttempt(UNDO_NEEDS, lambda w: w.run(**{**w.used(w.approval("used")), "kind": "undo"}), "no deletion"),
    RowAttempt(
        "when a run succeeded cannot be edited", lambda w: change(w.deletion("succeeded"), finished_at=Now() + HOUR)
    ),
    RowAttempt(
        "run_one_open_per_subject", lambda w: again(w.run("running"), state="queued", owner="", lease_until=None)
    ),
    RowAttempt("the epoch of a run never goes back", lambda w: change(w.run("running"), epoch=0)),
    RowAttempt("a run that had an approval is never deleted", lambda w: w.deletion("stopped").delete()),
    RowAttempt("run_owner_has_a_lease", lambda w: change(w.run("running"), lease_until=None)),
    RowAttempt("run_lease_only_while_running", lambda w: change(w.run("running"), state="stopped", finished_at=Now())),
    RowAttempt("run_over_has_an_end", lambda w: change(w.run("running"), state="stopped", owner="", lease_until=None)),
    RowAttempt("run_failed_says_why", lambda w: change(w.run("running"), **{**w.to(Run, "failed"), "error": ""})),
    RowAttempt("run_progress_within_total", lambda w: change(w.run(), total=1, done=2)),
]

ENVIRONMENTS = [
    RowAttempt("kvops_person_email_key", lambda w: again(w.operator)),
    RowAttempt("person_language_is_known", lambda w: change(w.operator, language="tlh")),
    RowAttempt("person_pages_language_is_known", lambda w: change(w.operator, pages_language="tlh")),
    RowAttempt("person_mails_language_is_known", lambda w: change(w.operator, mails_language="tlh")),
    RowAttempt("person_turns_off_voluntary_notices_only", lambda w: change(w.operator, unwanted=["approval.waiting"])),
    RowAttempt("person_email_is_case_folded", lambda w: change(w.operator, email="Operator@example.com")),
    RowAttempt("kvops_user_email_key", lambda w: again(w.user())),
    RowAttempt("user_email_is_case_folded", lambda w: User.objects.create(email="Operator@x.com", person=w.operator)),
    RowAttempt("role_held_once", lambda w: again(w.grant())),
    RowAttempt("kvops_environment_slug_key", lambda w: again(w.environment, order=2)),
    RowAttempt("kvops_environment_order_key", lambda w: again(w.environment, slug="production")),
    RowAttempt("environment_budget_is_named", lambda w: change(w.environment, budget="")),
    RowAttempt("environment_requests_are_possible", lambda w: change(w.environment, requests=961)),
    RowAttempt("environment_plan_is_known", lambda w: change(w.environment, plan="x")),
    RowAttempt("environment_days_have_hours", lambda w: change(w.environment, days="mon")),
    RowAttempt("environment_language_is_known", lambda w: change(w.environment, language="tlh")),
    RowAttempt("notification_once_per_person", lambda w: again(w.notification())),
    RowAttempt(
        "notification_once_per_channel", lambda w: again(w.notification(person=None, environment=w.environment))
    ),
    RowAttempt("notification_has_a_recipient", lambda w: w.notification(person=None)),
    RowAttempt("notification_state_is_known", lambda w: w.notification(state="x")),
    RowAttempt("notification_delivered_has_a_time", lambda w: w.notification(state="delivered"), "no time"),
    RowAttempt("notification_delivered_has_a_time", lambda w: w.notification(delivered_at=Now()), "not delivered"),
    RowAttempt("notification_sending_was_claimed", lambda w: w.notification(state="sending")),
    RowAttempt("notification_failed_says_why", lambda w: w.notification(state="failed")),
    RowAttempt("schedule_once_per_environment", lambda w: again(w.schedule()), "in one environment"),
    RowAttempt("schedule_once_per_environment", lambda w: again(w.schedule(environment=None)), "for all"),
    RowAttempt(
        "schedule_paused_by_someone_who_says_why", lambda w: change(w.schedule(), paused_at=Now(), paused_by=w.operator)
    ),
    RowAttempt("firing_once_per_due_time", lambda w: again(w.firing())),
    RowAttempt("firing_outcome_is_known", lambda w: w.firing(outcome="x")),
    RowAttempt("firing_refused_says_why", lambda w: w.firing(outcome="refused")),
    RowAttempt("firing_missed_since_a_time", lambda w: w.firing(missed=1), "no time"),
    RowAttempt("firing_missed_since_a_time", lambda w: w.firing(missed=1, missed_since=Now() + HOUR), "later"),
    RowAttempt("skew_once_per_service", lambda w: again(w.skew())),
    RowAttempt("refused_token_open_once", lambda w: again(w.refused_token())),
    RowAttempt("refused_token_names_a_reference", lambda w: change(w.refused_token(), reference="")),
    RowAttempt("refused_token_was_refused", lambda w: change(w.refused_token(), status=200)),
    RowAttempt("answer_count_once", lambda w: again(w.answer_count())),
    RowAttempt("use_once_a_day", lambda w: again(w.use())),
    RowAttempt("environment_tokens_differ", lambda w: change(w.environment, write_token="env:R")),
    RowAttempt("kvops_namespace_namespace_id_key", lambda w: again(w.namespace, binding="OTHER")),
    RowAttempt("binding_once_per_environment", lambda w: again(w.namespace, namespace_id="2" * 32)),
    RowAttempt("database_once_per_environment", lambda w: again(w.database())),
    RowAttempt("kvops_policyversion_number_key", lambda w: again(w.policy())),
    RowAttempt("policy_digest_is_of_definition", lambda w: again(w.policy(), number=2, definition="[]")),
    RowAttempt("a version of the policy is never edited", lambda w: change(w.policy(), applied_by="y")),
    RowAttempt("a version of the policy is never deleted", lambda w: w.policy().delete()),
    RowAttempt("family_pattern_once", lambda w: again(w.family())),
    RowAttempt("family_pattern_not_empty", lambda w: change(w.family(), pattern="")),
    RowAttempt("family_kept_14_days", lambda w: change(w.family(), retain_days=13)),
    RowAttempt("family_cache_kept_30_days", lambda w: change(w.family("cache"), retain_days=31)),
    RowAttempt("family_grace_of_an_interval", lambda w: change(w.family(), grace_hours=1)),
    RowAttempt("family_is_classified", lambda w: change(w.family(), category="unclassified")),
    RowAttempt(
        "family_settings_stay_in_production",
        lambda w: change(w.family(), category="settings", qa_may_take=True),
    ),
    RowAttempt("kvops_budget_name_key", lambda w: again(w.budget())),
    RowAttempt("budget_second_once", lambda w: again(w.spend())),
    RowAttempt("kvops_scan_run_id_key", lambda w: again(w.scan())),
    RowAttempt("scan_counts_a_family_once", lambda w: again(w.counted())),
    RowAttempt(EXPIRATIONS, lambda w: change(w.counted(), without_expiration=2, lacking=0), "more than all"),
    RowAttempt(EXPIRATIONS, lambda w: change(w.counted(), without_expiration=0, lacking=1), "more than never expire"),
    RowAttempt(EXPIRATIONS, lambda w: change(w.counted(), without_expiration=1, lacking=-1), "less than none"),
    RowAttempt(EXPIRATIONS, lambda w: change(w.counted(), without_expiration=1), "only one of them"),
    RowAttempt(EXPIRATIONS, lambda w: change(w.counted(), lacking=0), "only the other"),
    RowAttempt(
        "key_once_per_namespace",
        lambda w: again(Key.objects.create(namespace=w.namespace, name="a", first_seen=w.scan())),
    ),
    RowAttempt("scan_acknowledged_with_a_note", lambda w: change(w.scan(), acknowledged_by=w.operator), "no note"),
    RowAttempt("scan_acknowledged_with_a_note", lambda w: change(w.scan(), acknowledged_note="x"), "nobody"),
    RowAttempt("unexplained_once_per_scan", lambda w: again(w.missing())),
    RowAttempt("unexpected_once_per_scan", lambda w: again(w.unexpected())),
    RowAttempt("staged_name_not_empty", lambda w: StagedKey.objects.create(scan=w.scan(), name="")),
]
