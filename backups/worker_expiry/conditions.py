"""The reasons for which a Worker gets a no, and for which no approval is asked for."""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from backups import policy
from backups.models import CleanupStage, Restore, WorkerRound, WorkerRule
from backups.worker_expiry import rules
from backups.worker_expiry.refusals import WorkerRefused
from kvops import clock, timing
from kvops.approvals import standing
from kvops.environments import hours
from kvops.models import ApprovalRequest, Category, Environment, Family, Namespace, PolicyVersion, Run
from kvops.wording import moment, say


def designed_ttl(family: Family) -> int:
    """The seconds of a family's design `ttl:<seconds>`; 0 for any other design."""
    kind, _colon, seconds = family.expiry.partition(":")
    return int(seconds) if kind == "ttl" else 0


def insist_rule(rule: WorkerRule) -> None:
    """Raise WorkerRefused unless the rule is in force, and its family is a cache with a ttl by the approved policy."""
    if WorkerRule.objects.exclude(retired_at=None).filter(pk=rule.pk).exists():
        raise WorkerRefused(_("The rule is retired."))
    try:
        policy.shown()
    except PolicyVersion.DoesNotExist as none:
        raise WorkerRefused(_("There is no policy in force. Apply one first.")) from none
    except policy.PolicyEdited as edited:
        raise WorkerRefused(*edited.args) from edited
    family = rule.family
    if family.binding != rule.namespace.binding or family.category != Category.CACHE or not designed_ttl(family):
        sentence = _("%(family)s is no longer a cache family with a ttl. Retire the rule.")
        raise WorkerRefused(say(sentence, family=family))
    if rule.ttl < designed_ttl(family):
        sentence = _("The design of %(family)s is now longer than the expiration of the rule. Change the rule.")
        raise WorkerRefused(say(sentence, family=family))


def approval_for(rule: WorkerRule, asked_under: int) -> ApprovalRequest:
    """The approval that the Worker names, if it stands and the rule is the approved one. Raises WorkerRefused."""
    insist_rule(rule)
    newest = standing.approval_in_force(rules.KIND, rule.subject)
    if newest is None:
        raise WorkerRefused(_("No standing approval is in force. An operator asks for one, a reviewer decides."))
    # An older approval counts until its own end, so that a new one leaves no gap before its files are deployed.
    standing_ones = ApprovalRequest.objects.filter(
        kind=rules.KIND, subject=rule.subject, state=ApprovalRequest.State.APPROVED, standing_until__gt=Now()
    )
    approval = standing_ones.filter(pk=asked_under).first()
    if approval is None:
        raise WorkerRefused(
            say(
                _("The deployed Worker names approval %(old)s, and %(new)s is in force. Deploy the new configuration."),
                old=asked_under,
                new=newest.pk,
            )
        )
    if rules.rule_digest(rule, approval) != approval.digest:
        raise WorkerRefused(_("The rule is no longer the one that was approved. Ask again."))
    if why := not_accepted(rule):
        raise WorkerRefused(why)
    return approval


def insist_hours(rule: WorkerRule) -> None:
    """Raise WorkerRefused outside the allowed hours. A round that began within them goes on."""
    environment = rule.namespace.environment
    if opens := hours.next_opening(environment, clock.now()):
        sentence = _(
            "In %(name)s keys are changed only within the allowed hours (%(hours)s). The next time is %(time)s."
        )
        within = f"{environment.hours} {environment.days}".strip()
        raise WorkerRefused(say(sentence, name=environment.name, hours=within, time=moment(opens)))


def insist_alone(rule: WorkerRule) -> None:
    """Raise WorkerRefused while KVOps deletes or writes keys of the family: a stale read would undo that."""
    # The starts of these take the same lock, so each of both sees the other.
    Namespace.objects.select_for_update(no_key=True).get(pk=rule.namespace_id)
    of_family = CleanupStage.objects.filter(namespace=rule.namespace, request__family=rule.family)
    stage = of_family.filter(state__in=[CleanupStage.State.DELETING, CleanupStage.State.DELETED]).first()
    if stage is not None:
        sentence = _("A deletion of the same family is under way: %(page)s")
        raise WorkerRefused(say(sentence, page=reverse("backups:stage", args=[stage.pk])))
    seen = clock.now() - timedelta(seconds=timing.WORKER_SEES)
    restore = Restore.objects.writing_keys_of(rule.namespace, rule.family, since=seen).first()
    if restore is not None:
        sentence = _("Keys of the same family are written, or were within a minute: %(page)s")
        page = reverse("backups:bulk_change" if restore.is_bulk else "backups:restore", args=[restore.pk])
        raise WorkerRefused(say(sentence, page=page))


def earlier_environments(rule: WorkerRule) -> QuerySet[Environment]:
    """The environments with the binding in which the same rule must be accepted before."""
    mine = rule.namespace.environment
    found = Environment.objects.filter(order__lt=mine.order, namespaces__binding=rule.namespace.binding)
    return found.order_by("order")


def accepted_round(rule: WorkerRule, environment: Environment) -> WorkerRound | None:
    """The newest accepted round of the same scope in the environment, at most 90 days ago."""
    found = WorkerRound.objects.filter(
        rule__namespace__environment=environment,
        scope_digest=rules.scope_digest(rule),
        run__state=Run.State.SUCCEEDED,
        accepted_at__gte=Now() - timedelta(days=standing.LONGEST),
    )
    return found.select_related("accepted_by").order_by("-accepted_at").first()


type Accepted = Sequence[tuple[Environment, WorkerRound | None]]
"""Each earlier environment with its accepted round."""


def accepted_rounds(rule: WorkerRule) -> Accepted:
    """The accepted round in each earlier environment."""
    return [(one, accepted_round(rule, one)) for one in earlier_environments(rule)]


def not_accepted(rule: WorkerRule, accepted: Accepted | None = None) -> str:
    """The reason why the rule may not run here yet: it was not accepted in an earlier environment; else empty.

    A page that shows the accepted rounds gives them.
    """
    rounds = accepted_rounds(rule) if accepted is None else accepted
    if rule.namespace.environment.production and all(one.production for one, _round in rounds):
        sentence = _("A rule runs in production only after it ran in another environment. None has %(binding)s.")
        return say(sentence, binding=rule.namespace.binding)
    for environment, found in rounds:
        if found is None:
            sentence = _(
                "The same rule is not accepted in %(name)s. Let it run there, try the application, accept the round."
            )
            return say(sentence, name=environment.name)
    return ""
