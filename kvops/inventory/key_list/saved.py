"""The filters that a person keeps under a name. They are a person's own convenience, so the audit log has no entry."""

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kvops.models import Namespace, Person, SavedFilter
from kvops.refusals import Refused
from kvops.wording import say

MOST = 50
"""Filters of a person for a binding."""


class FilterRefused(Refused):
    """The filter is not saved; the message gives the reason."""


def of_person(person: Person, namespace: Namespace) -> QuerySet[SavedFilter]:
    """The person's filters for the binding of a namespace, by name."""
    return SavedFilter.objects.filter(person=person, binding=namespace.binding).order_by("name")


def save(namespace: Namespace, name: str, query: str, *, by: Person) -> SavedFilter:
    """Keep filters under a name; the same name again replaces them. Raises FilterRefused."""
    mine = SavedFilter.objects.filter(person=by, binding=namespace.binding)
    if mine.exclude(name=name).count() >= MOST:
        raise FilterRefused(say(_("You have %(most)s saved filters here. Delete one first."), most=MOST))
    kept, _new = SavedFilter.objects.update_or_create(
        person=by, binding=namespace.binding, name=name, defaults={"query": query, "saved_at": Now()}
    )
    return kept


def rename(kept: SavedFilter, name: str) -> None:
    """Give saved filters another name. Raises FilterRefused if another of the person's filters has it."""
    others = SavedFilter.objects.filter(person=kept.person_id, binding=kept.binding, name=name).exclude(pk=kept.pk)
    if others.exists():
        raise FilterRefused(_("Another of your filters has this name. Choose another name."))
    SavedFilter.objects.filter(pk=kept.pk).update(name=name)


def delete(kept: SavedFilter) -> None:
    """Forget saved filters."""
    SavedFilter.objects.filter(pk=kept.pk).delete()
