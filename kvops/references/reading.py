"""The facts of stored searches for the pages: counts, differences between two searches, answers, deployed code."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from django.db.models import Case, Count, Exists, IntegerField, OuterRef, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Concat

from kvops.models import Category, Environment, Family, Namespace, ReferenceAnswer, ReferenceHit, ReferenceSearch
from kvops.references import deployed
from kvops.references.deployed import DeployedState
from kvops.references.store import DIFFERENCE, by_urgency, contradict, later_policies

Access, Certainty = ReferenceHit.Access, ReferenceHit.Certainty
CHANGING = (Access.WRITE, Access.DELETE)
PLACE = ("fingerprint", "file", "line", "column", "family", "access", "certainty")


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
    others: Sequence[ReferenceSearch] = ()
    """The searches that contradict it: their places count too."""
    states: Sequence[tuple[str, DeployedState]] = ()
    counts: Sequence[tuple[str, Sequence[int]]] = field(default_factory=list)


@dataclass(frozen=True)
class SearchFigures:
    """The figures of a search: the families of its hits, their counts, and how many are new and gone since before."""

    families: Sequence[str]
    counts: Sequence[tuple[str, Sequence[int]]]
    new: int
    gone: int
    older_than_policy: bool
    """Whether the policy changed after the search, so that the search may not know a family."""


def environments() -> list[EnvironmentSearches]:
    """Every environment in the order of clean-up."""
    found = list(Environment.objects.order_by("order"))
    searches, namespaces = newest_of_each(*found), list(_namespaces(*found))
    known = deployed.Deployed(*(one.pk for one in found))
    newest = {one.pk: newest_of(one, searches) for one in found}
    others = {pk: contradicting(search, searches) for pk, search in newest.items() if search}
    hits = _hits([one for search in newest.values() if search for one in (search, *others[search.environment_id])])
    return [
        EnvironmentSearches(
            one, search, others[one.pk], states(search, searches, namespaces, known), _lines(hits[one.pk])
        )
        if (search := newest[one.pk])
        else EnvironmentSearches(one, None)
        for one in found
    ]


def states(
    search: ReferenceSearch,
    searches: Iterable[ReferenceSearch],
    namespaces: Iterable[Namespace] | None = None,
    known: deployed.Deployed | None = None,
) -> list[tuple[str, DeployedState]]:
    """For each namespace of the search's environment, whether the newest searches cover the code that runs.

    `searches` are those of `newest_of_each`; `namespaces` and the deployed code are those of at least this environment.
    """
    mine = [one for one in namespaces or _namespaces(search.environment) if one.environment_id == search.environment_id]
    others = [one for one in searches if one.pk != search.pk and (one.worker or one.commit != search.commit)]
    known = known or deployed.Deployed(search.environment_id)
    return [(one.binding, deployed.state(search, one, *others, known=known)) for one in mine]


def _namespaces(*environments: Environment) -> QuerySet[Namespace]:
    return Namespace.objects.filter(environment__in=environments).select_related("environment").order_by("binding")


def newest_of_each(*environments: Environment) -> list[ReferenceSearch]:
    """The newest search of each deployed script of these environments, and the newest of a checkout of each.

    With them come those of the same commit: the newest of each content, as `store.newest_of_each_code` has them.
    """
    found = ReferenceSearch.objects.filter(environment__in=environments)
    return list(_newest_of_each(found).select_related("environment", "fewer_than"))


def with_newest_of_each(environment: str, pk: int) -> list[ReferenceSearch]:
    """The same for the environment of this name, with the search of this number: one query."""
    found = ReferenceSearch.objects.filter(environment__slug=environment)
    shown = found.filter(Q(pk=pk) | Q(pk__in=_newest_of_each(found).values("pk")))
    return list(shown.select_related("environment", "fewer_than"))


def _newest_of_each(found: QuerySet[ReferenceSearch]) -> QuerySet[ReferenceSearch]:
    newest = found.order_by("environment", "worker", "-searched_at", "-pk").distinct("environment", "worker")
    of_newest = ReferenceSearch.objects.filter(
        pk__in=newest.values("pk"), environment=OuterRef("environment"), commit=OuterRef("commit")
    )
    code = ("environment", "commit", *DIFFERENCE)
    same_commit = found.exclude(commit="").filter(Exists(of_newest))
    differing = same_commit.order_by(*code, "-searched_at", "-pk").distinct(*code)
    every = ReferenceSearch.objects.filter(Q(pk__in=newest.values("pk")) | Q(pk__in=differing.values("pk")))
    return every.order_by("environment", "worker", "-searched_at", "-pk")


def contradicting(search: ReferenceSearch, searches: Iterable[ReferenceSearch]) -> list[ReferenceSearch]:
    """Those of these searches that contradict the search, so that their places count too."""
    return [one for one in searches if contradict(one, search)]


def hits_that_count(searches: Collection[ReferenceSearch]) -> QuerySet[ReferenceHit]:
    """The hits of these searches; a place that several of an environment found is there once."""
    found = ReferenceHit.objects.filter(search__in=[one.pk for one in searches])
    if len({one.environment_id for one in searches}) == len(searches):
        return found
    place = {name: OuterRef(name) for name in ("search__environment", *PLACE)}
    return found.filter(~Exists(found.filter(pk__lt=OuterRef("pk"), **place)))


def newest_of(environment: Environment, searches: Iterable[ReferenceSearch]) -> ReferenceSearch | None:
    """The newest search of an environment, as `store.newest` finds it, from those of `newest_of_each`."""
    mine = (one for one in searches if one.environment_id == environment.pk)
    return max(mine, key=lambda one: (one.searched_at, one.pk), default=None)


def figures(search: ReferenceSearch, before: ReferenceSearch | None, hits: QuerySet[ReferenceHit]) -> SearchFigures:
    """The figures of the hits that count with a search, and of its difference to the search before."""
    by_kind = hits.order_by("family").values_list("family", "access", "certainty").annotate(Count("pk"))
    families, table = dict[str, None](), Counter[tuple[str, str]]()
    for family, access, certainty, number in by_kind:
        families[family] = None
        table[access, certainty] += number
    new, gone = (new_hits(search, before).count(), gone_hits(search, before).count()) if before else (0, 0)
    return SearchFigures(list(families), _lines(table), new, gone, later_policies(search).exists())


def _hits(searches: Collection[ReferenceSearch]) -> Mapping[int, Mapping[tuple[str, str], int]]:
    """The number of hits of each environment of these searches by access and certainty."""
    found: dict[int, dict[tuple[str, str], int]] = {one.environment_id: {} for one in searches}
    rows = hits_that_count(searches).order_by().values_list("search__environment", "access", "certainty")
    for environment, access, certainty, number in rows.annotate(Count("pk")):
        found[environment][access, certainty] = number
    return found


def _lines(table: Mapping[tuple[str, str], int]) -> list[tuple[str, list[int]]]:
    """For each kind of access: the number of certain, possible and unknown hits. Accesses without hits are left out."""
    order = (*CHANGING, Access.LIST, Access.READ, Access.UNKNOWN)
    lines = [(str(access.label), [table.get((access.value, one.value), 0) for one in Certainty]) for access in order]
    return [(label, numbers) for label, numbers in lines if any(numbers)]


def beside(search: ReferenceSearch, most: int) -> tuple[ReferenceSearch | None, list[ReferenceSearch]]:
    """The search of the same code before this one, and the newest other searches of its environment: one query."""
    newest = ReferenceSearch.objects.filter(environment=search.environment_id).order_by("-searched_at", "-pk")
    others = newest.exclude(pk=search.pk)
    earlier = others.filter(worker=search.worker, searched_at__lt=search.searched_at)
    found = list(newest.filter(Q(pk__in=others.values("pk")[:most]) | Q(pk__in=earlier.values("pk")[:1])))
    same_code = (one for one in found if one.worker == search.worker and one.searched_at < search.searched_at)
    return next(same_code, None), found[:most]


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
    """The hits with their newest answers."""
    hits = list(hits)
    newest_first = (
        ReferenceAnswer.objects.filter(fingerprint__in={hit.fingerprint for hit in hits})
        .select_related("family", "owner", "by", "hit__search__environment")
        .order_by("family", "fingerprint", "-pk")
        .distinct("family", "fingerprint")
    )
    answers: dict[str, list[ReferenceAnswer]] = {}
    for answer in newest_first:
        answers.setdefault(answer.fingerprint, []).append(answer)
    legacy = set(_legacy())
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


def _legacy() -> QuerySet[Family, Any]:
    """The legacy families as hits name them."""
    star = Case(When(exact=True, then=Value("")), default=Value("*"))
    named = Concat("binding", Value(" "), "pattern", star, output_field=TextField())
    return Family.objects.filter(category=Category.LEGACY).values_list(named, flat=True)
