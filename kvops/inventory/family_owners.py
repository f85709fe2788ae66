"""The owners of families as known persons, so that notifications about a family also go to its owner.

A policy names an owner as text: the mail address or the name of a person, or a team. A team has no address of its own.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Q, QuerySet

from kvops.inventory import families as key_families
from kvops.models import ApprovalRequest, Family, Person


def owners(families: Iterable[Family]) -> list[Person]:
    """The persons that the families name as their owners, by address or name."""
    named = Q()
    for family in families:
        named |= Q(email__iexact=family.owner) | Q(name__iexact=family.owner)
    return list(Person.objects.filter(named)) if named else []


def people() -> QuerySet[Person, Any]:
    """The address and the name of each person."""
    return Person.objects.values_list("email", "name")


def without_owner(families: Iterable[Family], known_people: Iterable[Sequence[str]] | None = None) -> list[Family]:
    """Families whose owner is not a known person: notices about them go to operators and reviewers only.

    `known_people` are the rows of `people`, if a page read them already.
    """
    known = {name.casefold() for person in (known_people or people()) for name in person}
    return [family for family in families if family.owner.casefold() not in known]


def owners_of_names(binding: str, names: Iterable[str]) -> list[Person]:
    """The owners of the families that these key names belong to."""
    of = key_families.Families.of(binding)
    found = {family.pk: family for name in names if (family := of.family(name))}
    return owners(found.values())


def owners_asked_about(request: ApprovalRequest) -> list[Person]:
    """The owners of the family whose keys a request asks to delete or change. A prefix may hold families of its own."""
    asked = json.loads(request.evidence)
    if "binding" not in asked:  # evidence of another version
        return []
    binding, prefix = asked["binding"], asked["prefix"]
    found = {family.pk: family for family in Family.objects.filter(binding=binding, pattern__startswith=prefix)}
    if asked.get("exact"):
        found = {}
    if family := key_families.family_of(binding, prefix):
        found[family.pk] = family
    return owners(found.values())
