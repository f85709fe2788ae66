"""Rules of expiry Workers: made, changed, submitted for a standing approval, retired."""

import re
from collections.abc import Mapping
from datetime import timedelta

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.models import WorkerRule
from backups.models.worker_expiry import DAY, LONGEST_TTL, MOST_GIVEN
from backups.worker_expiry import conditions, rules
from backups.worker_expiry.refusals import WorkerRefused
from kvops import clock
from kvops.approvals import gate as approval_gate, standing
from kvops.models import ApprovalRequest, Category, Family, Namespace, Person, Role
from kvops.schedules import cron as crons
from kvops.wording import insist_explained, say, several

OPEN = (ApprovalRequest.State.PENDING, ApprovalRequest.State.APPROVED)
APART = timedelta(hours=1)
"""The least time between two due times of a Worker."""


def create(
    namespace: Namespace, *, family: Family, ttl: int, cap: int, cron: str, reason: str, by: Person
) -> WorkerRule:
    """Make a rule. It does nothing before it is approved and its Worker deployed. Raises WorkerRefused."""
    cron = _insist_usable(family, cap, cron, reason, by, ttl=ttl)
    if family.category != Category.CACHE or not conditions.designed_ttl(family):
        raise WorkerRefused(_("A Worker gives expirations only to a cache family that is designed with a ttl."))
    if family.binding != namespace.binding:
        raise WorkerRefused(say(_("%(family)s is a family of another binding."), family=family))
    with log.transaction():
        Namespace.objects.select_for_update(no_key=True).get(pk=namespace.pk)
        if WorkerRule.objects.filter(namespace=namespace, family=family, retired_at=None).exists():
            raise WorkerRefused(_("There is a rule for this family already."))
        made = WorkerRule.objects.create(
            namespace=namespace, family=family, ttl=ttl, cap=cap, cron=cron, reason=reason.strip(), made_by=by
        )
        details: dict[str, JSON] = {"family": str(family), "ttl": ttl, "cap": cap, "cron": cron}
        record(Action.WORKER_CREATED, made, by.actor, {**details, "reason": reason.strip()[:500]})
    return made


def change(rule: WorkerRule, *, ttl: int, cap: int, cron: str, reason: str, by: Person) -> None:
    """Change the expiration, the cap, the due times or the reason: that ends the approval. Raises WorkerRefused."""
    cron = _insist_usable(rule.family, cap, cron, reason, by, ttl=ttl)
    with log.transaction():
        _withdraw(rule, by)
        values = {"ttl": ttl, "cap": cap, "cron": cron, "reason": reason.strip()}
        if WorkerRule.objects.filter(pk=rule.pk, retired_at=None).update(**values) != 1:
            raise WorkerRefused(_("The rule is retired."))
        details: dict[str, JSON] = {"ttl": ttl, "cap": cap, "cron": cron, "reason": reason.strip()[:500]}
        record(Action.WORKER_CHANGED, rule, by.actor, details)


def ask(rule: WorkerRule, *, days: int, by: Person) -> ApprovalRequest:
    """Ask another person to approve the rule until an end. Raises WorkerRefused and ApprovalRefused."""
    if not 1 <= days <= standing.LONGEST:
        raise WorkerRefused(say(_("An approval lasts 1 to %(days)s days."), days=standing.LONGEST))
    conditions.insist_rule(rule)
    if why := conditions.not_accepted(rule):
        raise WorkerRefused(why)
    with log.transaction():
        until = clock.now() + timedelta(days=days)
        return approval_gate.submit(
            rules.KIND,
            subject=rule.subject,
            title=f"Give expirations to {rule} by a Worker for {several(days, 'day')}",
            evidence=rules.worker_rule(rule, until=until),
            requester=by,
            environment=rule.namespace.environment,
            standing_until=until,
        )


def retire(rule: WorkerRule, *, by: Person) -> None:
    """End the rule for good, with its approval. A deployed Worker then gets a no. Raises WorkerRefused."""
    if not by.holds(Role.OPERATOR):
        raise WorkerRefused(_("Only an operator can do this."))
    with log.transaction():
        _withdraw(rule, by)
        retired = WorkerRule.objects.filter(pk=rule.pk, retired_at=None).update(retired_at=Now(), retired_by=by)
        if retired != 1:
            raise WorkerRefused(_("The rule is retired."))
        record(Action.WORKER_RETIRED, rule, by.actor, {})


def record(
    action: Action, rule: WorkerRule, actor: log.Actor, details: Mapping[str, JSON], *, digest: str = ""
) -> None:
    """One audit entry about a rule, within the open transaction."""
    log.record(
        action,
        actor=actor,
        environment=rule.namespace.environment.slug,
        subject=rule.subject,
        subject_label=str(rule)[:200],
        digest=digest,
        details=details,
    )


def _withdraw(rule: WorkerRule, by: Person) -> None:
    """Withdraw the pending and the standing approval of the rule, in the caller's transaction."""
    for request in ApprovalRequest.objects.filter(kind=rules.KIND, subject=rule.subject, state__in=OPEN):
        approval_gate.withdraw_within(request, by=by, reason=_("The rule changed."))


def _insist_usable(family: Family, cap: int, cron: str, reason: str, by: Person, *, ttl: int) -> str:
    """The expression with single spaces. Raises WorkerRefused if a part of the rule cannot be used."""
    if not by.holds(Role.OPERATOR):
        raise WorkerRefused(_("Only an operator can do this."))
    least = max(DAY, conditions.designed_ttl(family))
    if not least <= ttl <= LONGEST_TTL:
        sentence = _("The expiration is %(least)s to %(most)s seconds: at least a day, and at least the family's ttl.")
        raise WorkerRefused(say(sentence, least=f"{least:,}", most=f"{LONGEST_TTL:,}"))
    if not 1 <= cap <= MOST_GIVEN:
        raise WorkerRefused(say(_("A round takes 1 to %(most)s keys."), most=f"{MOST_GIVEN:,}"))
    insist_explained(reason, WorkerRefused, _("Give the reason for the rule: the reviewer reads it."))
    cron = " ".join(cron.split())
    try:
        crons.insist_cron(cron, "UTC")
        crons.insist_apart(cron, APART)
    except crons.NotCron as error:
        raise WorkerRefused(*error.args) from error
    if re.search(r"\d", cron.split()[4]):
        # 1 is Sunday for Cloudflare, and Monday everywhere else.
        raise WorkerRefused(_("Give weekdays by name, such as MON-FRI: Cloudflare counts them from another day."))
    return cron
