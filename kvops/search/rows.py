"""The rows of this app that a search finds: requests, runs and people."""

from typing import Any

from django.db.models import QuerySet

from kvops.models import ApprovalRequest, Person, Run
from kvops.search.matching import FoundRow, SearchText, matched, shown


def approvals(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Requests for an approval by number or title."""
    rows = matched(ApprovalRequest.objects.all(), wanted, "title")
    return shown(rows, "approval", "title", environment="environment", most=most)


def runs(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """Runs by number or label."""
    return shown(matched(Run.objects.all(), wanted, "label"), "run", "label", environment="environment", most=most)


def people(wanted: SearchText, most: int) -> QuerySet[Any, FoundRow]:
    """People by name or address, with a login or a role, now or earlier."""
    return shown(matched(Person.objects.known(), wanted, "name", "email"), "person", "name", most=most)
