"""Restores of production's keys into another environment: only families with `qa_may_take` in the policy.

A trigger enforces the same. The reviewer is shown the rule. It is derived again at the start, so an approval is stale
once the rule is gone. Settings never cross.
"""

from django.db import connection
from django.utils.translation import gettext_lazy as _

from backups.models import Generation, Restore
from backups.restores.moves import RestoreRefused
from kvops.inventory.families import ASSIGNED, Families
from kvops.models import Environment, Family
from kvops.wording import say


def crosses(generation: Generation, into: Environment) -> bool:
    """Whether keys of production would be written to another environment."""
    return generation.environment.production and not into.production


def allowing(binding: str) -> list[Family]:
    """The families of a binding whose keys may be written to another environment."""
    return list(Family.objects.filter(binding=binding, qa_may_take=True).order_by("pattern"))


def insist_some(generation: Generation, into: Environment) -> None:
    """Raise RestoreRefused if no family of the binding may be written there."""
    if crosses(generation, into) and not allowing(generation.namespace.binding):
        raise RestoreRefused(
            say(
                _(
                    "Production’s keys can be restored into another environment only if the policy allows it: no "
                    "family of %(binding)s has qa_may_take = true."
                ),
                binding=generation.namespace.binding,
            )
        )


def insist_all(restore: Restore) -> None:
    """Raise RestoreRefused unless every frozen name may be written to the target of the restore."""
    if not crosses(restore.generation, restore.environment):
        return
    allowed = {family.pk for family in allowing(restore.namespace.binding)}
    others = [(count, first) for family, count, first in _by_family(restore) if family not in allowed]
    if others:
        raise RestoreRefused(
            say(
                _(
                    "Production keys whose family does not have qa_may_take = true: %(count)s. The first is %(name)s. "
                    "Choose a prefix without them, or change the policy."
                ),
                count=sum(count for count, _first in others),
                name=min(first for _count, first in others),
            )
        )


def crossing_rule(restore: Restore) -> list[str]:
    """The families whose rule allows the restore, for the evidence; empty if it stays in its environment."""
    if not crosses(restore.generation, restore.environment):
        return []
    allowed = {family.pk: f"{family.binding} {family}" for family in allowing(restore.namespace.binding)}
    return sorted({allowed.get(family or 0, "no rule") for family, _count, _first in _by_family(restore)})


def _by_family(restore: Restore) -> list[tuple[int | None, int, str]]:
    """The names of the restore by family: its id, the number of names, and the first name."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {ASSIGNED}, count(*), min(name) FROM backups_restoreentry"  # noqa: S608  (a constant)
            " WHERE restore_id = %(restore)s GROUP BY 1, 2",
            {"restore": restore.pk, **Families.of(restore.namespace.binding).params()},
        )
        return [(family, count, first) for family, _category, count, first in cursor.fetchall()]
