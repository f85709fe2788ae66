"""The evidence of the earlier environment: stages of the same scope that count for the next one."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups import policy
from backups.models import CleanupException, CleanupRequest, CleanupStage, Reappearance
from kvops import timing
from kvops.approvals import evidence
from kvops.inventory import differences
from kvops.models import Category, Environment, PolicyVersion
from kvops.wording import say

FORMAT = 1
"""The version of the rules that derive and compare evidence. After an increase, older evidence of QA does not count."""
DECISIVE = {"category", "expiry", "read", "encrypt"}
"""The fields of a family that decide what is deleted and how it is protected. Owner, note and retention do not."""
_UNSEEN = Reappearance.objects.filter(stage=OuterRef("pk"), acknowledged_at=None)
_NOTHING_DELETED = Q(names__gt=0, deleted=0)
"""A stage that deleted none of its names, because they changed or were already gone: it tested nothing."""
_BROUGHT_BACK = Q(undos__isnull=False) | Q(restores__isnull=False)
"""A stage whose deleted keys an undo or another restore writes back: it proves nothing any more."""


def scope(request: CleanupRequest, rules: differences.Rules) -> dict[str, object]:
    """The scope of a clean-up under a policy: its keys, and the rules that decide which are deleted and how."""
    return {
        "format": FORMAT,
        "binding": request.binding,
        "category": request.category,
        "prefix": request.prefix,
        "exact": request.exact,
        **({"only": request.only} if request.only else {}),
        "rules": _rules(request, rules),
    }


def scope_digest(stage: CleanupStage) -> str:
    """SHA-256 over the scope under the policy in force; equal in every environment."""
    return _digest(stage.request, policy.rules_of(policy.text_in_force()))


def _digest(request: CleanupRequest, rules: differences.Rules) -> str:
    return sha256(evidence.canonical_evidence(scope(request, rules)).encode()).hexdigest()


def _rules(request: CleanupRequest, rules: differences.Rules) -> differences.Rules:
    """The request's family, the families that own some of its names instead, and its dataset."""
    own = f"family {request.binding} {request.family}"
    found: dict[str, Mapping[str, object]] = {
        own: {field: value for field, value in rules.get(own, {}).items() if field in DECISIVE}
    }
    dataset, longest = "", ""
    for name, fields in rules.items():
        other = name.removeprefix(f"family {request.binding} ")
        if name not in {other, own} and _takes(other, request):
            found[name] = {}
        prefix = str(fields.get("prefix", ""))
        covers = fields.get("binding") == request.binding and request.prefix.startswith(prefix)
        if covers and len(prefix) > len(longest):
            dataset, longest = name, prefix
    return {**found, dataset: rules[dataset]} if dataset else found


def _takes(pattern: str, request: CleanupRequest) -> bool:
    """Whether another family of this pattern owns names of the request that its own family would have."""
    start, names = pattern.removesuffix("*"), request.prefix
    if len(start) < len(request.family.pattern):
        return False
    above = pattern.endswith("*") and names.startswith(start)
    return above or start == names or (not request.exact and start.startswith(names))


def qa_stages(stage: CleanupStage) -> list[CleanupStage]:
    """For each earlier environment with the binding, its newest accepted stage of the same scope, if recent enough.

    A constraint requires a reason for a stage without names; a stage with names must have deleted some. Leftovers need
    their explanation, and reappeared keys a person's note. If one stage of an environment lacks these, no other stage
    replaces it. A stage whose deleted keys were restored does not count.
    """
    unexplained = CleanupException.objects.filter(stage=OuterRef("pk"), outcome__in=CleanupException.LEFTOVERS)
    found: dict[int, CleanupStage] = {}
    candidates = (
        _of_scope(stage)
        .exclude(_BROUGHT_BACK)
        .exclude(Exists(unexplained), leftovers_note="")
        .exclude(_NOTHING_DELETED)
        .select_related("environment", "accepted_by", "others_by", "request", "check_after", "dataset_check_after")
        .order_by("environment__order", "-accepted_at")
    )
    for candidate in candidates:
        found.setdefault(candidate.environment_id, candidate)
    for environment in _of_scope(stage).filter(Exists(_UNSEEN)).values_list("environment", flat=True):
        found.pop(environment, None)
    return list(found.values())


def _of_scope(stage: CleanupStage) -> QuerySet[CleanupStage]:
    """The stages of the same scope that were accepted in earlier environments, if recent enough."""
    return _recently_accepted(stage).filter(scope_digest=scope_digest(stage))


def _recently_accepted(stage: CleanupStage) -> QuerySet[CleanupStage]:
    return CleanupStage.objects.filter(
        state=CleanupStage.State.ACCEPTED,
        environment__order__lt=stage.environment.order,
        accepted_at__gte=Now() - timedelta(seconds=timing.QA_EVIDENCE),
    )


def earlier_environment(stage: CleanupStage) -> Environment | None:
    """The environment that must be accepted before this stage."""
    earlier = stage.request.stages.filter(order__lt=stage.order).order_by("order")
    if not earlier:
        return None
    proven = {found.environment_id for found in qa_stages(stage)}
    return next((one.environment for one in earlier if one.environment_id not in proven), None)


def only_production(binding: str) -> str:
    """The reason why production's keys stay until another environment was cleaned up first."""
    return say(
        _(
            "Production is cleaned up only after the same clean-up in another environment. No earlier environment has "
            "%(binding)s."
        ),
        binding=binding,
    )


def missing_qa(stage: CleanupStage) -> str:
    """The reason why it is not this stage's turn; empty if it is."""
    if why := _other_category(stage):
        return why
    before = stage.request.stages.filter(order__lt=stage.order, environment__production=False)
    if stage.environment.production and not before.exists():
        return only_production(stage.request.binding)
    earlier = earlier_environment(stage)
    if earlier is None:
        return ""
    if _of_scope(stage).filter(Exists(_UNSEEN), environment=earlier).exists():
        return say(
            _("Keys deleted in %(name)s reappeared. Note your findings there first."),
            name=earlier.name,
        )
    return dead_end(stage) or say(
        _("Clean up %(name)s first: its stage must be accepted, under the same rules, at most 7 days earlier."),
        name=earlier.name,
    )


def dead_end(stage: CleanupStage) -> str:
    """The reason why this clean-up can never go on, so it ends; else empty.

    The earlier stage can never count, or the family has another category now.
    """
    if why := _other_category(stage):
        return why
    earlier = earlier_environment(stage)
    if earlier is None:
        return ""
    accepted = stage.request.stages.filter(environment=earlier, state=CleanupStage.State.ACCEPTED)
    if not accepted.exists():
        return ""
    mine = _of_scope(stage).filter(pk__in=accepted).first()
    if mine is not None and (why := proves_nothing(mine)):
        return why
    if changed := changed_rules(stage):
        return say(
            _(
                "%(name)s was accepted under other rules: %(changes)s. End this clean-up and ask for it again: it "
                "begins in %(name)s."
            ),
            name=earlier.name,
            changes=differences.sentence(changed),
        )
    return ""


def _other_category(stage: CleanupStage) -> str:
    """The reason why the clean-up was asked for under another category than its family's; else empty.

    The category decides whether the backup must equal D1, and which risks the reviewer accepts.
    """
    request = stage.request
    asked, now = Category(request.category), Category(request.family.category)
    if asked == now:
        return ""
    sentence = _(
        "%(family)s is in the category %(now)s, but this clean-up was asked for as %(asked)s. End this clean-up and "
        "ask for it again."
    )
    return say(sentence, family=request.family, now=now.label, asked=asked.label)


def proves_nothing(stage: CleanupStage) -> str:
    """The reason why a proven stage is no evidence: it deleted nothing, or its keys were written back; else empty."""
    name = stage.environment.name
    if stage.names and not stage.deleted:
        sentence = _(
            "No key of this clean-up was deleted in %(name)s, so it proves nothing. End this clean-up and ask for "
            "another one."
        )
        return say(sentence, name=name)
    if (restore := stage.undos.first() or stage.restores.first()) is None:
        return ""
    return say(
        _(
            "Restore %(restore)s wrote deleted keys back in %(name)s, so its clean-up proves nothing any more. End "
            "this clean-up and ask for another one."
        ),
        restore=restore.pk,
        name=name,
    )


def changed_rules(stage: CleanupStage) -> Sequence[differences.RuleChange]:
    """The changes since the same keys were accepted in the earlier environment, if these are why it does not count.

    The rules of that time are those of the policy version that gives the accepted digest.
    """
    earlier = earlier_environment(stage)
    if earlier is None or _of_scope(stage).filter(environment=earlier).exists():
        return []
    request = stage.request
    accepted = (
        _recently_accepted(stage)
        .filter(
            environment=earlier,
            request__binding=request.binding,
            request__prefix=request.prefix,
            request__exact=request.exact,
        )
        .select_related("request__family")
        .order_by("-accepted_at")
        .first()
    )
    if accepted is None:
        return []
    now = _rules(request, policy.rules_of(policy.text_in_force()))
    for version in PolicyVersion.objects.order_by("-number").iterator():
        then = policy.rules_of(version.definition)
        if _digest(accepted.request, then) == accepted.scope_digest:
            return differences.between(_rules(accepted.request, then), now)
    return []
