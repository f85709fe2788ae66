"""The reasons to stop a round before its first call.

Each is derived again right before the list of keys is fixed and before the deletion. Those of the rule and of its
approval are derived before each chunk, too. Allowed hours and other work stop no deletion that has begun.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from backups import policy
from backups.cleanup.references import search_page
from backups.cleanup.stages import BULK
from backups.clearing import references as clearing_references, rules
from backups.clearing.rules import ClearingRefused
from backups.models import CleanupStage, Clearing, ClearingRound, Restore
from kvops import clock
from kvops.approvals.standing import LONGEST
from kvops.environments import hours
from kvops.inventory import browse, families as key_families
from kvops.models import ApprovalRequest, Category, Environment, PolicyVersion, Scan
from kvops.wording import moment, say

State = CleanupStage.State
BY_HAND = (State.SUBMITTED, State.APPROVED, State.DELETING, State.DELETED)
"""States of a stage of a clean-up by hand that wait for, or have, a deletion of the same family."""


def insist_rule(clearing: Clearing) -> None:
    """Raise ClearingRefused unless the rule is in force, and its keys are a cache by the approved policy."""
    if Clearing.objects.exclude(retired_at=None).filter(pk=clearing.pk).exists():
        raise ClearingRefused(_("The rule is retired."))
    try:
        policy.shown()
    except PolicyVersion.DoesNotExist as none:
        raise ClearingRefused(_("There is no policy in force, so nothing may be deleted. Apply one first.")) from none
    except policy.PolicyEdited as edited:
        raise ClearingRefused(*edited.args) from edited
    owner = key_families.family_of(clearing.namespace.binding, clearing.prefix)
    if owner != clearing.family or owner is None or owner.category != Category.CACHE:
        sentence = _("%(family)s is no longer the cache family of these keys. Retire the rule.")
        raise ClearingRefused(say(sentence, family=clearing.family))


def insist_approved(clearing: Clearing, approval: ApprovalRequest) -> None:
    """Raise ClearingRefused unless the rule is the approved one, accepted in QA, and no new code writes its keys.

    A search that is smaller than the one before it cannot tell that no new code does.
    """
    if rules.rule_digest(clearing, approval) != approval.digest:
        raise ClearingRefused(_("The rule is no longer the one that was approved. Ask again."))
    if why := not_accepted(clearing):
        raise ClearingRefused(why)
    since = approval.decided_at or approval.created_at
    if small := clearing_references.smaller_since(clearing, since):
        sentence = _(
            "Search %(pk)s came after the approval and has fewer files or places than search %(larger)s."
            " Search the whole checkout, or have the rule approved again: %(page)s"
        )
        page = search_page(clearing.namespace.environment.slug)
        raise ClearingRefused(say(sentence, pk=small.pk, larger=small.fewer_than_id, page=page))
    if new := clearing_references.unanswered_since(clearing, since):
        raise ClearingRefused(
            say(
                _(
                    "%(place)s writes or deletes these keys, is newer than the approval and has no answer; such places:"
                    " %(n)s. Answer them on the page of the rule: %(page)s"
                ),
                place=new[0].place,
                n=len(new),
                page=reverse("backups:clearing", args=[clearing.pk]),
            )
        )


def insist_time(clearing: Clearing) -> None:
    """Raise ClearingRefused outside the allowed hours, without a fresh scan, or while other work has the keys."""
    environment, now = clearing.namespace.environment, clock.now()
    if opens := hours.next_opening(environment, now):
        sentence = _("In %(name)s a deletion starts only within the allowed hours. The next time is %(time)s.")
        raise ClearingRefused(say(sentence, name=environment.name, time=moment(opens)))
    fresh_scan(clearing)
    if under_way := rounds_under_way(clearing).first():
        sentence = _("Round %(pk)s is not over. Look at its run: resume it, or end it.")
        raise ClearingRefused(say(sentence, pk=under_way.pk))
    by_hand = CleanupStage.objects.filter(
        scheduled=False,
        namespace=clearing.namespace,
        request__family=clearing.family,
        request__ended_at=None,
        request__completed_at=None,
        state__in=BY_HAND,
    ).first()
    if by_hand is not None:
        sentence = _("A clean-up of the same family is under way: %(page)s")
        raise ClearingRefused(say(sentence, page=reverse("backups:stage", args=[by_hand.pk])))
    bulk = Restore.objects.bulk_writing(clearing.namespace, clearing.family).first()
    if bulk is not None:
        raise ClearingRefused(say(BULK, page=reverse("backups:bulk_change", args=[bulk.pk])))


def fresh_scan(clearing: Clearing) -> Scan:
    """The newest complete scan with all keys of the rule. Raises ClearingRefused if it is older than a day."""
    scan = browse.covering_scan(clearing.namespace, clearing.prefix)
    if scan is None or not browse.is_fresh(scan):
        sentence = _("%(namespace)s was not scanned within a day. Scan it first.")
        raise ClearingRefused(say(sentence, namespace=clearing.namespace))
    return scan


def rounds_under_way(clearing: Clearing) -> QuerySet[ClearingRound]:
    """The rounds of the rule that may have sent keys and are not proven yet."""
    return clearing.rounds.filter(stage__state__in=[State.DELETING, State.DELETED])


def earlier_environments(clearing: Clearing) -> QuerySet[Environment]:
    """The environments with the binding in which the same rule must be accepted before."""
    mine = clearing.namespace.environment
    found = Environment.objects.filter(order__lt=mine.order, namespaces__binding=clearing.namespace.binding)
    return found.order_by("order")


def accepted_round(clearing: Clearing, environment: Environment) -> ClearingRound | None:
    """The newest accepted round of the same scope in the environment, at most 90 days ago and not undone since."""
    restored = Restore.objects.filter(deletions=OuterRef("stage"))
    undone = Restore.objects.filter(stage=OuterRef("stage"))
    found = ClearingRound.objects.filter(
        clearing__namespace__environment=environment,
        scope_digest=rules.scope_digest(clearing),
        accepted_at__gte=Now() - timedelta(days=LONGEST),
    )
    kept = found.exclude(Exists(restored)).exclude(Exists(undone))
    return kept.select_related("accepted_by", "stage").order_by("-accepted_at").first()


type Accepted = Sequence[tuple[Environment, ClearingRound | None]]
"""Each earlier environment with its accepted round."""


def accepted_rounds(clearing: Clearing) -> Accepted:
    """The accepted round in each earlier environment."""
    return [(one, accepted_round(clearing, one)) for one in earlier_environments(clearing)]


def not_accepted(clearing: Clearing, accepted: Accepted | None = None) -> str:
    """The reason why the rule may not run here yet: it was not accepted in an earlier environment; else empty.

    A page that shows the accepted rounds gives them.
    """
    rounds = accepted_rounds(clearing) if accepted is None else accepted
    if clearing.namespace.environment.production and all(one.production for one, _round in rounds):
        sentence = _("A rule runs in production only after it ran in another environment. None has %(binding)s.")
        return say(sentence, binding=clearing.namespace.binding)
    for environment, found in rounds:
        if found is None:
            sentence = _(
                "The same rule is not accepted in %(name)s. Let it run there, try the application, accept the round."
            )
            return say(sentence, name=environment.name)
    return ""
