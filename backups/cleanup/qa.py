"""The evidence of the earlier environment: stages of the same scope that count for the next one."""

from datetime import timedelta
from hashlib import sha256

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups.datasets import registry as dataset_registry
from backups.models import CleanupException, CleanupStage, Reappearance
from kvops import timing
from kvops.approvals import evidence
from kvops.inventory import policy
from kvops.models import Environment
from kvops.wording import say

FORMAT = 1
"""The version of the rules that derive and compare evidence. After an increase, older evidence of QA does not count."""
FAMILY = ("binding", "pattern", "exact", "category", "owner", "expiry", "note", "read", "sample", "encrypt")
_UNSEEN = Reappearance.objects.filter(stage=OuterRef("pk"), acknowledged_at=None)
_NOTHING_DELETED = Q(names__gt=0, deleted=0)
"""A stage that deleted none of its names, because they changed or were already gone: it tested nothing."""
_BROUGHT_BACK = Q(undos__isnull=False) | Q(restores__isnull=False)
"""A stage whose deleted keys an undo or another restore writes back: it proves nothing any more."""


def scope_digest(stage: CleanupStage) -> str:
    """SHA-256 over the scope of the clean-up and its rules; equal in every environment."""
    family = stage.request.family
    dataset = dataset_registry.dataset_for(stage.request.binding, stage.request.prefix)
    scope = {
        "format": FORMAT,
        "binding": stage.request.binding,
        "family": {name: getattr(family, name) for name in FAMILY},
        "category": stage.request.category,
        "prefix": stage.request.prefix,
        "exact": stage.request.exact,
        "policy": policy.newest().digest,
        "dataset": dataset_registry.definition_digest(dataset) if dataset else None,
    }
    return sha256(evidence.canonical_evidence(scope).encode()).hexdigest()


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
        .select_related("environment", "accepted_by", "others_by")
        .order_by("environment__order", "-accepted_at")
    )
    for candidate in candidates:
        found.setdefault(candidate.environment_id, candidate)
    for environment in _of_scope(stage).filter(Exists(_UNSEEN)).values_list("environment", flat=True):
        found.pop(environment, None)
    return list(found.values())


def _of_scope(stage: CleanupStage) -> QuerySet[CleanupStage]:
    """The stages of the same scope that were accepted in earlier environments, if recent enough."""
    return CleanupStage.objects.filter(
        state=CleanupStage.State.ACCEPTED,
        scope_digest=scope_digest(stage),
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
    if _of_scope(stage).filter(_NOTHING_DELETED, environment=earlier).exists():
        return say(
            _(
                "No key of this clean-up was deleted in %(name)s, so it proves nothing. End this clean-up and ask for "
                "another one."
            ),
            name=earlier.name,
        )
    undone = _of_scope(stage).filter(_BROUGHT_BACK, environment=earlier).order_by("-pk").first()
    if undone is not None:
        restore = undone.undos.first() or undone.restores.first()
        return say(
            _(
                "Restore %(restore)s wrote deleted keys back in %(name)s, so its clean-up proves nothing any more. End "
                "this clean-up and ask for another one."
            ),
            restore=restore.pk if restore else "",
            name=earlier.name,
        )
    return say(
        _("Clean up %(name)s first: its stage must be accepted, with the same policy, at most 7 days earlier."),
        name=earlier.name,
    )
