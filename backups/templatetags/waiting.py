"""Work that waits for an operator on pages of several features: `{% load waiting %}`."""

from collections.abc import Sequence

from django import template
from django.db.models import Exists, OuterRef

from backups.cleanup import references
from backups.cleanup.references import BEFORE_SUBMIT, RESTING_ON_ANSWERS, StageReferences
from backups.models import CleanupStage
from kvops.models import Environment
from kvops.references import store
from kvops.references.deployed import Deployed

register = template.Library()

SHOWN = 20
"""Rows. A page lists at most this many."""


@register.inclusion_tag("cleanup/_to_answer.html")
def stages_to_answer(environment: Environment, may_operate: bool) -> dict[str, object]:
    """The stages of open clean-ups of an environment on whose pages its code references can be answered."""
    resting = CleanupStage.objects.filter(request=OuterRef("request"), state__in=RESTING_ON_ANSWERS)
    stages = (
        CleanupStage.objects.filter(~Exists(resting), environment=environment, state__in=BEFORE_SUBMIT)
        .filter(request__ended_at=None, request__completed_at=None, scheduled=False)
        .select_related("request__family", "environment", "namespace")
        .order_by("pk")[:SHOWN]
    )
    return {"stages": _with_references(environment, list(stages)), "may_operate": may_operate}


def _with_references(
    environment: Environment, stages: Sequence[CleanupStage]
) -> list[tuple[CleanupStage, StageReferences]]:
    """Stages of one environment before their submit, as `StageReferences.of`: they share searches and deployed code."""
    if not stages:
        return []
    search, known = store.newest(environment), Deployed(environment.pk)
    searches = references.with_others(search)
    return [
        (
            stage,
            StageReferences(
                search,
                references.hits_of(stage, searches, known),
                references.missing(stage, search),
                searches,
                known,
            ),
        )
        for stage in stages
    ]
