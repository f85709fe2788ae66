"""Rounds of a Worker: allowed or refused when it asks, recorded as it reports, accepted by a person in QA."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups import archive
from backups.models import WorkerKey, WorkerReport, WorkerRound, WorkerRule
from backups.worker_expiry import announcements, conditions, rules, script
from backups.worker_expiry.messages import WorkerAsk, WorkerTold
from backups.worker_expiry.refusals import WorkerRefused
from backups.worker_expiry.requests import record
from kvops import clock, queue, rollback, timing
from kvops.approvals import standing
from kvops.models import ApprovalRequest, Person, Role, Run
from kvops.refusals import Refused, Sentence
from kvops.runbook import procedures
from kvops.runs import driver as run_driver
from kvops.wording import columns, insist_explained, kept, say, sentence_of

SYSTEM = log.Actor.system("expiry worker")


@dataclass(frozen=True)
class WorkerAnswer:
    """The answer to a call of a Worker."""

    status: int
    body: dict[str, object] = field(default_factory=dict)


# The question


def asked(rule: WorkerRule, message: WorkerAsk) -> WorkerAnswer:
    """Yes for a while, or no. Both are recorded; a first no is a round of its own, with its reason."""
    try:
        with log.transaction():
            approval = _allow(_locked(rule), message)
    except Refused as refused:
        with log.transaction():
            _keep_refused(_locked(rule), message, sentence_of(refused))
        return WorkerAnswer(200, {"answer": "no", "round": message.round})
    ends = approval.standing_until or approval.created_at
    until = min(clock.now() + timedelta(seconds=timing.WORKER_ALLOWED), ends)
    yes = {"answer": "yes", "round": message.round, "approval": approval.pk, "until": int(until.timestamp())}
    return WorkerAnswer(200, yes)


def _allow(rule: WorkerRule, message: WorkerAsk) -> ApprovalRequest:
    """Check every condition, and begin the round with its run at the first question. Raises Refused."""
    approval = conditions.approval_for(rule, message.approval)
    if message.rule != script.rule_in_script(rule)["digest"]:
        raise WorkerRefused(_("The deployed Worker carries another rule than the approved one. Deploy the new script."))
    conditions.insist_alone(rule)
    mine = rule.rounds.select_related("run").filter(token=message.round).first()
    if mine is None:
        conditions.insist_hours(rule)
        return _begin(rule, message, approval)
    if mine.run is None or mine.ended or mine.reason or not mine.run.is_open or mine.run.stop_requested_by:
        raise WorkerRefused(_("The round is over. The next due time begins another one."))
    if mine.approval_id != approval.pk:
        raise WorkerRefused(_("The round began under another approval. The next due time begins another one."))
    standing.insist_standing(approval)
    WorkerRound.objects.filter(pk=mine.pk).update(heard_at=Now())
    return approval


def _begin(rule: WorkerRule, message: WorkerAsk, approval: ApprovalRequest) -> ApprovalRequest:
    digest = rules.rule_digest(rule, approval)
    carried = standing.carry(approval, kind=rules.KIND, digest=digest, actor=SYSTEM)
    run = run_driver.create(
        Run.Kind.WORKER_ROUND,
        subject=rule.subject,
        label=str(rule)[:300],
        actor=SYSTEM,
        environment=rule.namespace.environment,
        approval=carried,
    )
    made = WorkerRound.objects.create(
        rule=rule, token=message.round, approval=carried, run=run, scope_digest=rules.scope_digest(rule)
    )
    begun = procedures.begun("worker_expiry", rule.namespace.binding, [rule.family.pattern])
    record(Action.WORKER_ALLOWED, rule, SYSTEM, {"round": made.pk, "run": run.pk, **begun}, digest=carried.digest)
    return carried


def _keep_refused(rule: WorkerRule, message: WorkerAsk, why: Sentence) -> None:
    mine = rule.rounds.select_related("run").filter(token=message.round).first()
    if mine is None:
        mine = keep_without_run(rule, why, token=message.round)
    elif mine.run is not None and mine.run.is_open and not mine.ended and not mine.reason:
        WorkerRound.objects.filter(pk=mine.pk).update(**columns("reason", why))
        _wake(mine)
        record(Action.WORKER_REFUSED, rule, SYSTEM, {"round": mine.pk, "reason": str(why)[:500]})


def keep_without_run(rule: WorkerRule, why: Sentence, **values: object) -> WorkerRound:
    """A round that was refused or is missing, with its reason; the team is notified, within the open transaction."""
    made = WorkerRound.objects.create(rule=rule, reason=str(why)[:1000], reason_sentence=kept(why), **values)
    record(Action.WORKER_REFUSED, rule, SYSTEM, {"round": made.pk, "reason": str(why)[:500]})
    announcements.tell_stopped(rule, why, f"round {made.pk}")
    return made


# The report


def reported(rule: WorkerRule, message: WorkerTold, body: bytes) -> WorkerAnswer:
    """Keep a report once. A report that does not fit the rule is kept, too, and fails the run with the reason."""
    if rollback.why_read_only():
        return WorkerAnswer(503, {"answer": "later"})
    digest = sha256(body).hexdigest()
    with log.transaction():
        found = _locked(rule).rounds.select_related("run", "approval").filter(token=message.round)
        mine = found.exclude(run=None).first()
        before = mine.reports.filter(part=message.part).first() if mine else None
        if mine is not None and before is None and not mine.ended:
            _keep(mine, message, digest)
        elif before is None or before.sha256 != digest:
            return WorkerAnswer(409, {"answer": "unknown"})
    return WorkerAnswer(200, {"answer": "kept", "round": message.round, "part": message.part})


def _keep(mine: WorkerRound, message: WorkerTold, digest: str) -> None:
    assert mine.approval is not None  # noqa: S101  (by constraint, a round with a run has an approval)
    shown = json.loads(mine.approval.evidence)
    given, failed = len(message.given), len(message.failed)
    report = WorkerReport.objects.create(round=mine, part=message.part, given=given, failed=failed, sha256=digest)
    by = clock.now() + timedelta(seconds=shown["ttl"])
    names = [(name, True) for name in message.given] + [(name, False) for name in message.failed]
    # A row explains the end of a key later, so there is none beyond the rule.
    room = max(0, int(shown["cap"]) - mine.given - mine.failed)
    of_rule = _of_rule(mine.rule, names)
    explained = of_rule[:room]
    WorkerKey.objects.bulk_create(
        (WorkerKey(report=report, name=name, certain=certain, expires_at=by) for name, certain in explained),
        batch_size=1_000,
    )
    mine.given += given
    mine.failed += failed
    values = {"given": mine.given, "failed": mine.failed, "heard_at": Now()}
    if message.ended:
        counts = {"listed": message.counts["listed"], "skipped": message.counts["skipped"]}
        values |= {"ended": message.ended, **counts}
    if not mine.reason and (why := _problem(mine, message, shown, foreign=len(names) - len(of_rule))):
        values |= columns("reason", why)
    WorkerRound.objects.filter(pk=mine.pk).update(**values)
    facts = {"round": mine.pk, "part": message.part, "approval": mine.approval.pk, "given": given, "failed": failed}
    facts["left_out"] = len(names) - len(explained)
    sha = archive.names_sha256(name for name, _certain in sorted(names))
    record(Action.WORKER_REPORTED, mine.rule, SYSTEM, {**facts, "names_sha256": sha}, digest=mine.approval.digest)
    if message.ended:
        totals = {"given": mine.given, "failed": mine.failed, **message.counts}
        ended = {"round": mine.pk, "run": mine.run_id, "end": message.ended, **totals}
        record(Action.WORKER_ENDED, mine.rule, SYSTEM, ended, digest=mine.approval.digest)
    _wake(mine)


def _problem(mine: WorkerRound, message: WorkerTold, shown: dict[str, object], *, foreign: int) -> str:
    """The reason why a report does not fit the approved rule; empty if it does."""
    if foreign:
        return say(_("A report has keys of other families: %(n)s."), n=foreign)
    if message.approval != mine.approval_id:
        return say(_("The Worker reported under approval %(number)s."), number=message.approval)
    if mine.given + mine.failed > int(str(shown["cap"])):
        return say(_("The Worker reported more keys than the cap of the rule."))
    if message.ended and (message.counts["given"], message.counts["failed"]) != (mine.given, mine.failed):
        return say(_("The counts of the last report are not those of the reports before: a report is missing."))
    if message.ended == "refused":
        return say(_("The Worker ended its round early: it got no answer, or a no."))
    return ""


def _of_rule(rule: WorkerRule, names: Sequence[tuple[str, bool]]) -> Sequence[tuple[str, bool]]:
    """Those of the names that are of the rule's family."""
    family, others = rule.family, script.others(rule.family)
    return [one for one in names if family.matches(one[0]) and not any(other.matches(one[0]) for other in others)]


def _wake(mine: WorkerRound) -> None:
    """Let the run look at its round now."""
    if mine.run_id is not None and Run.objects.open().filter(pk=mine.run_id).update(wake_at=None):
        queue.enqueue("kvops.tasks.step", mine.run_id)


# The acceptance


def accept(round_: WorkerRound, *, note: str, by: Person) -> None:
    """Record a person's test of the application after a round. Raises WorkerRefused."""
    with log.transaction():
        if not by.holds(Role.OPERATOR):
            raise WorkerRefused(_("Only an operator can do this."))
        insist_explained(note, WorkerRefused, _("Describe your test of the application and its result."))
        mine = WorkerRound.objects.select_for_update(of=("self",)).select_related("run").get(pk=round_.pk)
        if mine.state != "given":
            raise WorkerRefused(_("Only a reported round that gave expirations can be accepted."))
        accepted = {"accepted_by": by, "accepted_at": Now(), "accepted_note": note.strip()}
        if WorkerRound.objects.filter(pk=mine.pk, accepted_at=None).update(**accepted) != 1:
            raise WorkerRefused(_("The round is accepted already."))
        details = {"note": note.strip()[:1000]}
        rule = _locked(mine.rule)
        record(Action.WORKER_ACCEPTED, rule, by.actor, {"round": mine.pk, **details}, digest=mine.scope_digest)


def _locked(rule: WorkerRule) -> WorkerRule:
    """The rule as it is now, locked until the open transaction ends, so that calls are taken one after the other."""
    found = WorkerRule.objects.select_for_update(of=("self",), no_key=True)
    return found.select_related("namespace__environment", "family").get(pk=rule.pk)
