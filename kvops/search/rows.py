"""The rows of this app that a search finds: requests, runs and people."""

from typing import Any

from django.db.models import Q, QuerySet, TextChoices
from django.utils.functional import Promise

from kvops.models import ApprovalRequest, Person, Run
from kvops.search.matching import FoundRow, SearchText, matched, shown


def _kinds(kinds: type[TextChoices]) -> list[tuple[Q, str | Promise]]:
    return [(Q(kind=value), label) for value, label in kinds.choices]


def approvals(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Requests for an approval by number, title or kind."""
    rows = matched(ApprovalRequest.objects.all(), wanted, "title", called=_kinds(ApprovalRequest.Kind))
    return shown(rows, "approval", "title", environment="environment", most=most)


def runs(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Runs by number, label or kind."""
    rows = matched(Run.objects.all(), wanted, "label", called=_kinds(Run.Kind))
    return shown(rows, "run", "label", environment="environment", most=most)


def people(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """People by name or address, with a login or a role, now or earlier."""
    return shown(matched(Person.objects.known(), wanted, "name", "email"), "person", "name", most=most)
