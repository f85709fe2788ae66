"""Backups and clean-up on the pages of other features: `{% load backups %}`."""

from collections.abc import Sequence

from django import template

from backups.datasets.definition import DatasetDefinition
from backups.generations import contents as generation_contents
from backups.history import run_outcomes as history_outcomes, unchanged
from backups.history.unchanged import Unchanged
from backups.models import Comparison, Generation
from kvops.models import Family, Namespace, Run

register = template.Library()


@register.inclusion_tag("runs/products.html")
def run_products(run: Run) -> dict[str, object]:
    """What a run made: a backup, checks, a comparison, or the list of the deployed code."""
    comparison = Comparison.objects.filter(run=run).first()
    return {
        "looked_at": run.environment if run.kind == Run.Kind.LOOK else None,
        "generation": Generation.objects.filter(run=run).first(),
        "checks": run.checks.all(),
        "comparison": comparison,
    }


@register.inclusion_tag("runs/outcomes.html")
def run_outcomes(run: Run) -> dict[str, object]:
    """The file with the outcome of a run for each key, of a run that has one."""
    return {"run": run, "kept": history_outcomes.has_outcomes(run)}


@register.inclusion_tag("backups/holding.html")
def generations_holding(
    namespace: Namespace, name: str, *, sensitive: bool, may_view_values: bool, may_operate: bool
) -> dict[str, object]:
    """The namespace's newest backups with a value of the key, and the actions that the reader may take."""
    return {
        "held": generation_contents.holding(namespace, name),
        "namespace": namespace,
        "name": name,
        "sensitive": sensitive,
        "may_operate": may_operate,
        "may_view_values": may_view_values,
    }


@register.simple_tag
def unchanged_since(namespace: Namespace, name: str) -> Unchanged:
    """Since when the value of a settings key is unchanged, from its backups and from changes made here."""
    return unchanged.of_key(namespace, name)


@register.inclusion_tag("categories/datasets.html")
def datasets_of(family: Family, datasets: Sequence[DatasetDefinition]) -> dict[str, object]:
    """The datasets that relate keys of the family to D1."""
    mine = [one for one in datasets if one.binding == family.binding and family.matches(one.prefix)]
    return {"family": family, "datasets": mine}
