"""Follow-ups that are done: a search of code that runs in their environment no longer finds their place.

Anybody can type a commit, so a search closes them only once Cloudflare names its code as deployed. The triggers of
answers insist on the same.
"""

from collections.abc import Collection

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from kvops.models import DeployedCode, Environment, ReferenceAnswer, ReferenceHit, ReferenceSearch
from kvops.references import deployed
from kvops.references.deployed import Deployed

Kind = ReferenceAnswer.Kind


def close() -> int:
    """Close the open follow-ups that are done, in the caller's transaction; how many.

    A later search of the follow-up's own code is of code that runs in its environment, and all code there that binds
    the namespace was searched. No search that counts has such a hit, in any environment: an answer carries over, so
    the follow-up is the answer there too. A hit whose line moved is still there, and a file that could not be parsed
    says nothing.
    """
    follow_ups = list(
        ReferenceAnswer.objects.filter(kind=Kind.FOLLOW_UP, closed_by=None)
        .select_related("hit__search__environment", "family")
        .select_for_update(of=("self",))
    )
    known = Deployed(*{one.hit.search.environment_id for one in follow_ups})
    found = [(one, _search_that_closes(one, known)) for one in _gone(follow_ups)]
    done = {one.pk: search for one, search in found if search is not None}
    for search in {search.pk: search for search in done.values()}.values():
        mine = [pk for pk, closing in done.items() if closing.pk == search.pk]
        ReferenceAnswer.objects.filter(pk__in=mine).update(closed_by=search, closed_at=Now())
    return len(done)


def _gone(follow_ups: Collection[ReferenceAnswer]) -> list[ReferenceAnswer]:
    """The follow-ups whose hit is in no search that counts."""
    if not follow_ups:
        return []
    counted = list(_counted())
    unparsed = {(one.worker, file) for one in counted for file in one.unparsed}
    hits = ReferenceHit.objects.filter(search__in=counted).order_by()
    fingerprints = set(
        hits.filter(fingerprint__in={one.fingerprint for one in follow_ups}).values_list("fingerprint", flat=True)
    )
    there = hits.filter(file__in={one.hit.file for one in follow_ups})
    places = set(there.values_list("search__worker", "family", "file", "text"))
    return [
        one
        for one in follow_ups
        for hit, worker in [(one.hit, one.hit.search.worker)]
        if one.fingerprint not in fingerprints
        and (worker, hit.family, hit.file, hit.text) not in places
        and (worker, hit.file) not in unparsed
    ]


def _counted() -> QuerySet[ReferenceSearch]:
    """The newest search of each code, all others of its commit, and all searches of code that runs.

    A small file therefore hides nothing that another search of the same commit found.
    """
    in_order = ReferenceSearch.objects.order_by("environment", "worker", "-searched_at", "-pk")
    newest = in_order.distinct("environment", "worker")
    of_newest = ReferenceSearch.objects.filter(
        pk__in=newest.values("pk"), environment=OuterRef("environment"), commit=OuterRef("commit")
    )
    same_commit = ~Q(commit="") & Exists(of_newest)
    return ReferenceSearch.objects.filter(Q(pk__in=newest.values("pk")) | same_commit | Exists(_code_of_search()))


def _code_of_search() -> QuerySet[DeployedCode]:
    """The deployed code that a search of an outer query is of, as `deployed.covers` tells it."""
    commit = ~Q(commit="") & Q(commit=OuterRef("commit"), dirty=False)
    script = Q(
        kind=DeployedCode.Kind.WORKER, name=OuterRef("worker"), version=OuterRef("version"), etag=OuterRef("etag")
    )
    return DeployedCode.objects.filter(commit | script, environment=OuterRef("environment"))


def _search_that_closes(answer: ReferenceAnswer, known: Deployed) -> ReferenceSearch | None:
    """The newest later search of the same code that runs; None if there is none or if not all of it was searched."""
    earlier = answer.hit.search
    environment = earlier.environment
    if deployed.not_known(environment, known) or not _all_searched(environment, answer.family.binding, known):
        return None
    later = ReferenceSearch.objects.filter(
        Exists(_code_of_search()), environment=environment, worker=earlier.worker, searched_at__gt=earlier.searched_at
    )
    # A file that left out files of the search before it is no sign that a place is gone.
    whole = later.exclude(fewer_than__files__gt=F("files"))
    return whole.order_by("-searched_at", "-pk").first()


def _all_searched(environment: Environment, binding: str, known: Deployed) -> bool:
    """Whether each deployed code that binds the namespace was searched."""
    codes = [code for one in environment.namespaces.filter(binding=binding) for code in deployed.using(one, known)]
    searches = list(ReferenceSearch.objects.filter(Exists(_code_of_search()), environment=environment))
    return all(any(deployed.covers(search, code) for search in searches) for code in codes)
