"""Rules of scheduled clearings: made, changed, submitted for a standing approval, retired."""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.clearing import conditions, rules
from backups.clearing.rounds import end_unbegun, record
from backups.clearing.rules import ClearingRefused
from backups.models import Clearing
from backups.models.clearing import MOST
from kvops import clock
from kvops.approvals import gate as approval_gate, standing
from kvops.inventory import families as key_families
from kvops.inventory.selection import Selection
from kvops.models import ApprovalRequest, Category, Family, Namespace, Person, Role, Schedule
from kvops.operations import registry
from kvops.references import look
from kvops.schedules import cron
from kvops.wording import insist_explained, say, several

if TYPE_CHECKING:
    from audit.chain import JSON

JOB = "clearing"
OPEN = (ApprovalRequest.State.PENDING, ApprovalRequest.State.APPROVED)


def create(
    namespace: Namespace,
    *,
    family: Family,
    prefix: str,
    only: Selection,
    cap: int,
    expression: str,
    zone: str,
    reason: str,
    by: Person,
) -> Clearing:
    """Make a rule and its schedule. It does nothing before it is approved. Raises ClearingRefused."""
    expression = _insist_usable(cap, expression, zone, reason, by)
    only.insist_clear()
    owner = key_families.family_of(namespace.binding, prefix)
    if family.category != Category.CACHE or family.exact:
        raise ClearingRefused(_("Only a cache family, not a single key, is cleared by a schedule."))
    if owner != family or family.binding != namespace.binding:
        raise ClearingRefused(say(_("The keys “%(prefix)s” are not of %(family)s."), prefix=prefix, family=family))
    with log.transaction():
        # Two rules of one scope would each clear up to their cap.
        Namespace.objects.select_for_update(no_key=True).get(pk=namespace.pk)
        same = Clearing.objects.filter(namespace=namespace, prefix=prefix, only=only.as_data(), retired_at=None)
        if same.exists():
            raise ClearingRefused(_("There is a rule for exactly these keys already."))
        made = Clearing.objects.create(
            namespace=namespace,
            family=family,
            prefix=prefix,
            only=only.as_data(),
            cap=cap,
            reason=reason.strip(),
            made_by=by,
        )
        Schedule.objects.create(
            job=JOB,
            environment=namespace.environment,
            subject=made.subject,
            expression=expression,
            zone=zone,
            next_at=cron.following(expression, zone, clock.now()),
        )
        details: dict[str, JSON] = {"prefix": prefix, "only": only.as_data(), "cap": cap, "cron": expression}  # type: ignore[dict-item]
        record(Action.CLEARING_CREATED, made, by.actor, {**details, "zone": zone, "reason": reason.strip()[:500]})
    return made


def change(clearing: Clearing, *, cap: int, expression: str, zone: str, reason: str, by: Person) -> None:
    """Change the cap, the due times or the reason: that ends the standing approval. Raises ClearingRefused."""
    expression = _insist_usable(cap, expression, zone, reason, by)
    with log.transaction():
        _withdraw(clearing, by)
        if Clearing.objects.filter(pk=clearing.pk, retired_at=None).update(cap=cap, reason=reason.strip()) != 1:
            raise ClearingRefused(_("The rule is retired."))
        next_at = cron.following(expression, zone, clock.now())
        Schedule.objects.filter(job=JOB, subject=clearing.subject).update(
            expression=expression, zone=zone, next_at=next_at
        )
        details: dict[str, JSON] = {"cap": cap, "cron": expression, "zone": zone, "reason": reason.strip()[:500]}
        record(Action.CLEARING_CHANGED, clearing, by.actor, details)


def ask(clearing: Clearing, *, days: int, by: Person) -> ApprovalRequest:
    """Ask another person to approve the rule until an end. Cloudflare is asked for the deployed code first.

    Raises ClearingRefused and ApprovalRefused.
    """
    if not 1 <= days <= standing.LONGEST:
        raise ClearingRefused(say(_("An approval lasts 1 to %(days)s days."), days=standing.LONGEST))
    conditions.insist_rule(clearing)
    if why := conditions.not_accepted(clearing):
        raise ClearingRefused(why)
    look.ask_when_due(clearing.namespace.environment)
    with log.transaction():
        until = clock.now() + timedelta(days=days)
        return approval_gate.submit(
            rules.KIND,
            subject=clearing.subject,
            title=f"Clear {clearing} by a schedule for {several(days, 'day')}",
            evidence=rules.clearing_rule(clearing, until=until),
            requester=by,
            environment=clearing.namespace.environment,
            standing_until=until,
        )


def retire(clearing: Clearing, *, by: Person) -> None:
    """End the rule for good, with its approval and its schedule. Raises ClearingRefused."""
    if not by.holds(Role.OPERATOR):
        raise ClearingRefused(_("Only an operator can do this."))
    with log.transaction():
        _withdraw(clearing, by)
        retired = Clearing.objects.filter(pk=clearing.pk, retired_at=None).update(retired_at=Now(), retired_by=by)
        if retired != 1:
            raise ClearingRefused(_("The rule is retired."))
        Schedule.objects.filter(job=JOB, subject=clearing.subject, paused_at=None).update(
            paused_at=Now(), paused_by=by, paused_reason="The rule is retired."
        )
        end_unbegun(clearing, by.actor)
        record(Action.CLEARING_RETIRED, clearing, by.actor, {})


def _withdraw(clearing: Clearing, by: Person) -> None:
    """Withdraw the pending and the standing approval of the rule, in the caller's transaction."""
    for request in ApprovalRequest.objects.filter(kind=rules.KIND, subject=clearing.subject, state__in=OPEN):
        approval_gate.withdraw_within(request, by=by, reason=_("The rule changed."))


def _insist_usable(cap: int, expression: str, zone: str, reason: str, by: Person) -> str:
    """The expression with single spaces. Raises ClearingRefused if a part of the rule cannot be used."""
    if not by.holds(Role.OPERATOR):
        raise ClearingRefused(_("Only an operator can do this."))
    if not 1 <= cap <= MOST:
        raise ClearingRefused(say(_("A round clears 1 to %(most)s keys."), most=f"{MOST:,}"))
    insist_explained(reason, ClearingRefused, _("Give the reason for the rule: the reviewer reads it."))
    expression = " ".join(expression.split())
    try:
        cron.insist_cron(expression, zone)
        cron.insist_apart(expression, registry.JOBS[JOB].apart)
    except cron.NotCron as error:
        raise ClearingRefused(*error.args) from error
    return expression
