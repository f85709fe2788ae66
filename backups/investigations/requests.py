"""Investigations: opened with a question and an end, submitted for a standing approval, closed."""

from datetime import UTC, datetime, timedelta

from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.archive.digests import objects_sha256
from backups.bucket import protection as bucket_protection
from backups.generations import scope, start as generation_start
from backups.models import BucketProtection, Generation, Investigation
from backups.retention import holds
from kvops import clock, timing
from kvops.approvals import evidence, gate as approval_gate, standing
from kvops.models import ApprovalRequest, Category, Environment, Family, Namespace, NotificationEvent, Person, Role, Run
from kvops.notifications import outbox
from kvops.refusals import Refused
from kvops.runbook import procedures
from kvops.runs import driver as run_driver
from kvops.wording import insist_explained, moment, say, sentence_of, translated

FORMAT = 1
KIND = ApprovalRequest.Kind.INVESTIGATION
LONGEST = timing.CACHE_RETENTION_DAYS
"""Days; an investigation lasts this long at most. A constraint has the same limit."""
AFTERWARDS = timedelta(days=30)
"""The approval stays valid for this long after the end, in case KVOps is down at the end."""


class InvestigationRefused(Refused):
    """The step is not possible now; the message is one sentence with the reason and the next step."""


def investigation_rule(investigation: Investigation) -> dict[str, object]:
    """The rule that a reviewer approves: the backup and the time of its deletion.

    It is derived from unchangeable fields.
    """
    generation, environment = investigation.generation, investigation.environment
    return {
        "format": FORMAT,
        "action": "delete_investigation_backup",
        "environment": environment.slug,
        "production": environment.production,
        "account_id": environment.account_id,
        "bucket": generation.bucket,
        "binding": generation.namespace.binding,
        "namespace_id": generation.namespace.namespace_id,
        "prefixes": generation.prefixes,
        "generation": generation.pk,
        "name": generation.stem,
        "title": investigation.title,
        "reason": investigation.reason,
        "ends_at": investigation.ends_at.astimezone(UTC).isoformat(),
    }


def rule_digest(investigation: Investigation) -> str:
    """The digest of the rule as derived now."""
    return evidence.digest_of(evidence.canonical_evidence(investigation_rule(investigation)))


def start(namespace: Namespace, *, family: Family, title: str, reason: str, days: int, by: Person) -> Investigation:
    """Back up a cache for an investigation, and ask another person to approve the backup's deletion.

    Raises InvestigationRefused, BackupRefused, ApprovalRefused and AlreadyOpen.
    """
    if not title.strip():
        raise InvestigationRefused(_("Enter a name for the investigation."))
    insist_explained(reason, InvestigationRefused, _("Give the reason for the backup."))
    if not 1 <= days <= LONGEST:
        raise InvestigationRefused(say(_("An investigation lasts 1 to %(days)s days."), days=LONGEST))
    _insist_operator(by)
    _insist_cache(namespace, family)
    _insist_expiry(namespace.environment, days)
    with log.transaction():
        ends_at = clock.now() + timedelta(days=days)
        generation = generation_start.create_backup(
            namespace,
            prefixes=[family.pattern],
            purpose=Generation.Purpose.INVESTIGATION,
            ends_at=ends_at,
            actor=by.actor,
            person=by,
        )
        made = Investigation.objects.create(
            environment=namespace.environment,
            title=title.strip(),
            reason=reason.strip(),
            generation=generation,
            asked_by=by,
            ends_at=ends_at,
        )
        begun = procedures.begun("investigation", namespace.binding, [family.pattern])
        details: dict[str, JSON] = {"reason": made.reason[:500], "ends_at": ends_at.isoformat(), **begun}
        _record(Action.INVESTIGATION_OPENED, made, by.actor, details=details)
        ask(made, by=by)
    return made


def _insist_operator(person: Person) -> None:
    if not person.holds(Role.OPERATOR):
        raise InvestigationRefused(_("Only an operator can do this."))


def _insist_cache(namespace: Namespace, family: Family) -> None:
    """Check that the prefix of the family holds only caches, as far as is known."""
    reached = scope.reached(namespace, [family.pattern])
    others = [each for each in reached if each.category != Category.CACHE]
    if family.binding != namespace.binding or family not in reached:
        raise InvestigationRefused(say(_("%(place)s has no family %(family)s."), family=family, place=namespace))
    if others or scope.secret_in_inventory(namespace, [family.pattern]):
        sentence = _("Not all keys under %(family)s are cache. Only caches are backed up for an investigation.")
        raise InvestigationRefused(say(sentence, family=family))


def _insist_expiry(environment: Environment, days: int) -> None:
    """Check that R2's lifecycle rule deletes the backup in time and not too early."""
    protection = bucket_protection.known(environment)
    if not protection.known:
        sentence = _("It is unknown whether the bucket of %(environment)s deletes such backups automatically. %(why)s")
        raise InvestigationRefused(say(sentence, environment=environment.name, why=protection.why))
    if not expires(protection):
        sentence = _(
            "The bucket of %(environment)s has no lifecycle rule that deletes investigation backups within %(days)s "
            "days. The investigations page says how to add the rule."
        )
        raise InvestigationRefused(say(sentence, environment=environment.name, days=LONGEST))
    if timedelta(days=days) > timedelta(seconds=protection.expiry or 0):
        sentence = _("R2 deletes investigation backups after %(days)s days. Choose an earlier end.")
        raise InvestigationRefused(say(sentence, days=timedelta(seconds=protection.expiry or 0).days))


def expires(protection: BucketProtection) -> bool:
    """Whether R2 itself deletes investigation backups within the longest time of an investigation."""
    return protection.expiry is not None and protection.expiry <= timedelta(days=LONGEST).total_seconds()


def ask(investigation: Investigation, *, by: Person) -> ApprovalRequest:
    """Ask another person to approve the backup's deletion, in the caller's transaction. Raises ApprovalRefused."""
    return approval_gate.submit(
        KIND,
        subject=investigation.subject,
        title=f"Delete the backup of investigation {investigation.title!r} in {investigation.environment.name}",
        evidence=investigation_rule(investigation),
        requester=by,
        environment=investigation.environment,
        standing_until=max(investigation.ends_at, clock.now()) + AFTERWARDS,
    )


def ask_again(investigation: Investigation, *, by: Person) -> ApprovalRequest:
    """Ask again after a request without an approval. Raises InvestigationRefused and ApprovalRefused."""
    with log.transaction():
        mine = _locked(investigation)
        if mine.over_at is not None:
            raise InvestigationRefused(_("The backup is already deleted."))
        if standing.approval_in_force(KIND, mine.subject):
            raise InvestigationRefused(_("An approval is in force already."))
        return ask(mine, by=by)


def close(investigation: Investigation, *, reason: str, by: Person) -> None:
    """Delete the backup now, or as soon as it is finished and its deletion approved.

    Raises InvestigationRefused and ApprovalRefused.
    """
    _insist_operator(by)
    insist_explained(reason, InvestigationRefused, _("Describe the findings, so that the backup can be deleted."))
    with log.transaction():
        mine = _locked(investigation)
        if mine.closed_at is not None or mine.over_at is not None:
            raise InvestigationRefused(_("The investigation is over already."))
        approval = standing.approval_in_force(KIND, mine.subject)
        if approval is not None and approval.approver_id == by.pk:
            raise InvestigationRefused(_("You approved this; another person must do it."))
        closed = Investigation.objects.filter(pk=mine.pk, closed_at=None, over_at=None)
        if closed.update(closed_at=Now(), closed_by=by, closed_because=reason.strip()) != 1:
            raise InvestigationRefused(_("The investigation is over already."))
        _record(Action.INVESTIGATION_CLOSED, mine, by.actor, details={"reason": reason.strip()[:500]})
    if mine.generation.run.is_open:
        run_driver.request_stop(mine.generation.run, actor=by.actor)
    end(mine, actor=by.actor)


def insist_open(run: Run, _actor: log.Actor) -> None:
    """The backup of an investigation that is over cannot be resumed. Raises run_driver.NotResumable."""
    mine = Investigation.objects.filter(generation__run=run)
    if mine.exclude(closed_at=None, over_at=None).exists():
        raise run_driver.NotResumable(_("The investigation is over. Its backup is no longer made."))


def insist_current(run: Run, _actor: log.Actor) -> None:
    """A run cannot be resumed once another run deletes the backup. Raises run_driver.NotResumable."""
    if not Investigation.objects.filter(run=run).exists():
        raise run_driver.NotResumable(_("Another run is already doing this."))


def end_due(environment: Environment) -> None:
    """Delete the backup of every investigation that is closed or past its end; called every few minutes."""
    ended = Investigation.objects.there().filter(Q(closed_at__isnull=False) | Q(ends_at__lte=Now()))
    resting = Q(run=None) | Q(run__state__in=Run.RESUMABLE)
    for investigation in ended.filter(resting, environment=environment).order_by("pk"):
        end(investigation, actor=log.Actor.system("investigations"))


def end(investigation: Investigation, *, actor: log.Actor) -> Run | None:
    """Start to delete the backup of an investigation that is over; if that is not possible, notify people once."""
    with log.transaction():
        mine = _locked(investigation)
        if mine.over_at is not None or not _may_begin(mine):
            return mine.run
        generation = mine.generation
        if generation.status == Generation.Status.WRITING:
            if not generation.run.is_open:
                _never_finished(mine, actor)
            return None
        if holds.holds_of([generation.pk]):
            return None
        try:
            return _delete(mine, actor)
        except run_driver.AlreadyOpen:  # the earlier run was resumed meanwhile
            return mine.run
        except approval_gate.ApprovalRefused as refused:
            because = translated(sentence_of(refused))
    _tell(mine, because)
    return None


def _may_begin(mine: Investigation) -> bool:
    """Whether a run may start to delete the backup: there is none, or its approval is not the current one."""
    run = mine.run
    if run is None:
        return True
    return run.state in Run.RESUMABLE and standing.approval_in_force(KIND, mine.subject) not in {None, run.approval}


def _delete(mine: Investigation, actor: log.Actor) -> Run:
    """The run that deletes the backup under the standing approval. Raises ApprovalRefused."""
    carried = standing.carry_in_force(KIND, mine.subject, derive=lambda _approval: rule_digest(mine), actor=actor)
    objects = mine.generation.every_object()
    run = run_driver.create(
        Run.Kind.PRUNE_INVESTIGATION,
        subject=mine.subject,
        label=mine.generation.stem[:300],
        actor=actor,
        environment=mine.environment,
        approval=carried,
        total=len(objects),
    )
    Investigation.objects.filter(pk=mine.pk).update(run=run)
    _record(Action.INVESTIGATION_ENDING, mine, actor, digest=objects_sha256(objects), details={"objects": len(objects)})
    return run


def _never_finished(mine: Investigation, actor: log.Actor) -> None:
    """End an investigation without a finished backup; R2 itself deletes the objects that were written."""
    over(mine, actor, {"backup": "never finished"})


def over(mine: Investigation, actor: log.Actor, details: dict[str, JSON]) -> None:
    """Mark the investigation as over, in the open transaction: its backup has no objects left."""
    Investigation.objects.filter(pk=mine.pk, over_at=None).update(over_at=Now())
    _record(Action.INVESTIGATION_OVER, mine, actor, details=details)


def _tell(investigation: Investigation, because: str) -> None:
    """Notify once that the backup is past its end and still exists."""
    with log.transaction():
        outbox.post(
            NotificationEvent.GENERATION_PAST_DEADLINE,
            subject=investigation.subject,
            title=say(_("The backup of investigation %(title)s should have been deleted"), title=investigation.title),
            lines=[say(_("The investigation ended on %(at)s."), at=moment(_ended_at(investigation))), because],
            link=reverse("backups:investigation", args=[investigation.pk]),
            environment=investigation.environment,
            occasion="past its end",
            to=[investigation.asked_by],
        )


def past_their_end() -> QuerySet[Investigation]:
    """Investigations closed or past their end for an hour whose backup still exists."""
    ago = Now() - timedelta(hours=1)
    return Investigation.objects.there().filter(Q(closed_at__lt=ago) | Q(ends_at__lt=ago)).order_by("pk")


def _ended_at(investigation: Investigation) -> datetime:
    return min(investigation.closed_at or investigation.ends_at, investigation.ends_at)


def _locked(investigation: Investigation) -> Investigation:
    """The current investigation, locked until the open transaction ends."""
    related = ("environment", "asked_by", "run", "generation__run", "generation__namespace", "generation__environment")
    return Investigation.objects.select_for_update(of=("self",)).select_related(*related).get(pk=investigation.pk)


def _record(
    action: Action, mine: Investigation, actor: log.Actor, *, details: dict[str, JSON], digest: str = ""
) -> None:
    log.record(
        action,
        actor=actor,
        environment=mine.environment.slug,
        subject=mine.subject,
        subject_label=mine.title,
        digest=digest,
        details={"generation": mine.generation_id, **details},
    )
