"""The evidence of the environment before: stages of the same scope that count for the next one."""

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
"""Raised when code derives or compares otherwise than before: what QA showed by the old rules counts no more."""
FAMILY = ("binding", "pattern", "exact", "category", "owner", "expiry", "note", "read", "sample", "encrypt")
_UNSEEN = Reappearance.objects.filter(stage=OuterRef("pk"), acknowledged_at=None)
_NOTHING_DELETED = Q(names__gt=0, deleted=0)
"""A stage in which all names were left as they were, or were gone already: nothing was tried."""


def scope_digest(stage: CleanupStage) -> str:
    """SHA-256 over what is cleaned up and by which rules, equal in every environment."""
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
    """For each earlier environment with the binding, its newest accepted stage of this very scope, not too old.

    A stage without names has a reason by constraint; of one with names something was deleted, or nothing was tried. One
    with leftovers needs their explanation, keys that are there again a person's note; as long as that is missing for
    one stage of an environment, no other stands in for it.
    """
    unexplained = CleanupException.objects.filter(stage=OuterRef("pk"), outcome__in=CleanupException.LEFTOVERS)
    found: dict[int, CleanupStage] = {}
    candidates = (
        _of_scope(stage)
        .filter(undos=None)  # what was put back again proves nothing
        .exclude(Exists(unexplained), leftovers_note="")
        .exclude(_NOTHING_DELETED)
        .select_related("environment", "accepted_by")
        .order_by("environment__order", "-accepted_at")
    )
    for candidate in candidates:
        found.setdefault(candidate.environment_id, candidate)
    for environment in _of_scope(stage).filter(Exists(_UNSEEN)).values_list("environment", flat=True):
        found.pop(environment, None)
    return list(found.values())


def _of_scope(stage: CleanupStage) -> QuerySet[CleanupStage]:
    """The stages of this very scope that were accepted in earlier environments, not too long ago."""
    return CleanupStage.objects.filter(
        state=CleanupStage.State.ACCEPTED,
        scope_digest=scope_digest(stage),
        environment__order__lt=stage.environment.order,
        accepted_at__gte=Now() - timedelta(seconds=timing.QA_EVIDENCE),
    )


def earlier_environment(stage: CleanupStage) -> Environment | None:
    """The environment that must be cleaned up and accepted before it is this stage's turn."""
    earlier = stage.request.stages.filter(order__lt=stage.order).order_by("order")
    if not earlier:
        return None
    proven = {found.environment_id for found in qa_stages(stage)}
    return next((one.environment for one in earlier if one.environment_id not in proven), None)


def only_production(binding: str) -> str:
    """Why production's keys stay while no other environment has been through the same before it."""
    return say(
        _(
            "Production is cleaned up only after the same clean-up in another environment. No earlier environment has "
            "%(binding)s."
        ),
        binding=binding,
    )


def missing_qa(stage: CleanupStage) -> str:
    """Why it is not this stage's turn, or an empty text."""
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
    return say(
        _("Clean up %(name)s first: its stage must be accepted, with the same policy, at most 7 days earlier."),
        name=earlier.name,
    )
