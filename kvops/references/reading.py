"""The facts of stored searches for the pages: counts, differences between two searches, answers, deployed code."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from django.db.models import Case, Count, Exists, IntegerField, OuterRef, QuerySet, Value, When

from kvops.models import Category, Environment, Family, ReferenceAnswer, ReferenceHit, ReferenceSearch
from kvops.references import deployed
from kvops.references.deployed import DeployedState
from kvops.references.store import by_urgency, newest

Access, Certainty = ReferenceHit.Access, ReferenceHit.Certainty
CHANGING = (Access.WRITE, Access.DELETE)


@dataclass(frozen=True)
class AnsweredHit:
    """A hit with its newest answer for each family. `urgent`: it writes or deletes keys of a legacy family.

    An answer is carried over if it was given to a hit of another search.
    """

    hit: ReferenceHit
    urgent: bool
    answers: Sequence[ReferenceAnswer] = ()


@dataclass(frozen=True)
class HitGroup:
    """The hits of one family that follow each other on a page."""

    urgent: bool
    family: str
    hits: Sequence[AnsweredHit]


@dataclass(frozen=True)
class EnvironmentSearches:
    """An environment with its newest search, if there is one, and its counts."""

    environment: Environment
    search: ReferenceSearch | None
    states: Sequence[tuple[str, DeployedState]] = ()
    counts: Sequence[tuple[str, Sequence[int]]] = field(default_factory=list)


def environments() -> list[EnvironmentSearches]:
    """Every environment in the order of clean-up."""
    found = []
    for environment in Environment.objects.order_by("order"):
        search = newest(environment)
        if search:
            found.append(EnvironmentSearches(environment, search, states(search), counts(search)))
        else:
            found.append(EnvironmentSearches(environment, None))
    return found


def states(search: ReferenceSearch) -> list[tuple[str, DeployedState]]:
    """For each namespace of the search's environment, whether the newest searches cover the code that runs."""
    environment = search.environment
    others = [one for one in newest_of_each(environment) if one.pk != search.pk]
    namespaces = environment.namespaces.select_related("environment").order_by("binding")
    return [(one.binding, deployed.state(search, one, *others)) for one in namespaces]


def newest_of_each(environment: Environment) -> list[ReferenceSearch]:
    """The newest search of each deployed script, and the newest of a checkout."""
    found = ReferenceSearch.objects.filter(environment=environment)
    return list(found.order_by("worker", "-searched_at", "-pk").distinct("worker"))


def counts(search: ReferenceSearch) -> list[tuple[str, list[int]]]:
    """For each kind of access: the number of certain, possible and unknown hits. Accesses without hits are left out."""
    rows = search.hits.order_by().values_list("access", "certainty").annotate(Count("pk"))
    table = {(access, certainty): number for access, certainty, number in rows}
    order = (*CHANGING, Access.LIST, Access.READ, Access.UNKNOWN)
    lines = [(str(access.label), [table.get((access.value, one.value), 0) for one in Certainty]) for access in order]
    return [(label, numbers) for label, numbers in lines if any(numbers)]


def before(search: ReferenceSearch) -> ReferenceSearch | None:
    """The search of the same code in the same environment before this one."""
    earlier = ReferenceSearch.objects.filter(
        environment=search.environment_id, worker=search.worker, searched_at__lt=search.searched_at
    )
    return earlier.order_by("-searched_at", "-pk").first()


def new_hits(search: ReferenceSearch, earlier: ReferenceSearch) -> QuerySet[ReferenceHit]:
    """The hits whose file, text and context the earlier search did not find."""
    return search.hits.exclude(fingerprint__in=earlier.hits.order_by().values("fingerprint"))


def gone_hits(search: ReferenceSearch, earlier: ReferenceSearch) -> QuerySet[ReferenceHit]:
    """The hits of the earlier search that are gone. Nothing is known of a file that could not be parsed now."""
    gone = earlier.hits.exclude(fingerprint__in=search.hits.order_by().values("fingerprint"))
    return gone.exclude(file__in=search.unparsed)


def most_urgent_first(hits: QuerySet[ReferenceHit]) -> QuerySet[ReferenceHit]:
    """The hits that write or delete keys of legacy families, then all others; within that by family and by urgency."""
    ranked = by_urgency(hits)
    rest = ranked.query.order_by
    urgent = When(access__in=CHANGING, family__in=_legacy(), then=Value(0))
    ranked = ranked.annotate(rank=Case(urgent, default=Value(1), output_field=IntegerField()))
    return ranked.order_by("rank", "family", *rest)


def answered(hits: Iterable[ReferenceHit]) -> list[AnsweredHit]:
    """The hits with their newest answers: one query."""
    hits, legacy = list(hits), _legacy()
    newest_first = (
        ReferenceAnswer.objects.filter(fingerprint__in={hit.fingerprint for hit in hits})
        .select_related("family", "owner", "by", "hit__search__environment")
        .order_by("family", "fingerprint", "-pk")
        .distinct("family", "fingerprint")
    )
    answers: dict[str, list[ReferenceAnswer]] = {}
    for answer in newest_first:
        answers.setdefault(answer.fingerprint, []).append(answer)
    return [
        AnsweredHit(hit, hit.access in CHANGING and hit.family in legacy, answers.get(hit.fingerprint, ()))
        for hit in hits
    ]


def grouped(hits: Iterable[ReferenceHit]) -> list[HitGroup]:
    """The hits with their answers, by family, in the order they come in."""
    groups = groupby(answered(hits), key=lambda one: (one.urgent, one.hit.family))
    return [HitGroup(urgent, family, list(found)) for (urgent, family), found in groups]


def open_follow_ups() -> QuerySet[ReferenceAnswer]:
    """The open follow-ups that no newer answer to the same hit replaced, the first due first."""
    newer = ReferenceAnswer.objects.filter(
        family=OuterRef("family"), fingerprint=OuterRef("fingerprint"), pk__gt=OuterRef("pk")
    )
    found = ReferenceAnswer.objects.filter(~Exists(newer), kind=ReferenceAnswer.Kind.FOLLOW_UP, closed_by=None)
    return found.select_related("family", "owner", "hit__search__environment").order_by("due", "pk")


def _legacy() -> list[str]:
    """The legacy families as hits name them."""
    return [f"{family.binding} {family}" for family in Family.objects.filter(category=Category.LEGACY)]
