"""Stored searches: a report with its hits becomes rows that are never edited.

The newest search of an environment is the one that counts; `hits_of` are those of its hits that concern a clean-up.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import timedelta

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops import clock, timing
from kvops.models import Environment, Person, PolicyVersion, ReferenceHit, ReferenceSearch
from kvops.references import follow_ups
from kvops.references.report import ANY_FAMILY, Report, content_of, dumps
from kvops.refusals import Refused
from kvops.wording import moment, say

BATCH = 2_000
"""Hits in one INSERT."""
DIFFERENCE = ("content", "files", "hit_count")
"""What differs if two searches of one commit contradict each other. Searches of an earlier version have no content."""


class SearchUnusable(Refused):
    """The report is well-formed, but no search that can be relied on."""


def store(
    environment: Environment,
    report: Report,
    *,
    source: str,
    worker: str = "",
    version: str = "",
    etag: str = "",
    deployment: str = "",
    place: str = "",
    by: Person | log.Actor,
) -> ReferenceSearch:
    """Store a report as a search of the environment's code, and close the follow-ups that are done.

    A caller has Cloudflare asked for the deployed code before (`look.ask_when_due`). A report that was stored before is
    not stored again: its search is returned with `seen_before`. The deployment is only noted in the audit log. `place`
    is the searched folder, or the name of the file. Raises SearchUnusable.
    """
    _insist_usable(report, source)
    actor = by.actor if isinstance(by, Person) else by
    search = ReferenceSearch(
        environment=environment,
        source=source,
        commit="" if worker else report.commit,
        worker=worker,
        version=version,
        etag=etag,
        repository=report.repository,
        place=place[:300],
        files=report.files,
        hit_count=len(report.hits),
        content=content_of(report),
        unparsed=list(report.unparsed),
        digest=digest_of(report, worker, version, etag),
        searched_at=report.searched_at,
        by=by if isinstance(by, Person) else None,
        made_by=actor.text,
    )
    with log.transaction():
        # One search after the other, so that each is compared with all others, also of other environments.
        list(Environment.objects.select_for_update(no_key=True).order_by("pk"))
        if found := ReferenceSearch.objects.filter(environment=environment, digest=search.digest).first():
            found.seen_before = True
            return found
        search.fewer_than = _larger_before(search)
        search.save(force_insert=True)
        ReferenceHit.objects.bulk_create(_rows(search, report), batch_size=BATCH)
        closed = follow_ups.close()
        log.record(
            Action.REFERENCES_SEARCHED,
            actor=actor,
            digest=search.digest,
            details={
                "source": source,
                "commit": search.commit,
                "repository": search.repository,
                "place": search.place,
                "worker": worker,
                "version": version,
                "deployment": deployment[:100],
                "files": report.files,
                "unparsed": len(report.unparsed),
                "hits": dict(Counter(hit.certainty for hit in report.hits)),
                "follow_ups_closed": closed,
            },
            **log.subject("search", search.pk, str(search), environment=environment.slug),
        )
    return search


def digest_of(report: Report, worker: str = "", version: str = "", etag: str = "") -> str:
    """The SHA-256 of the report's file; for a deployed script with its name, version and etag."""
    digest = hashlib.sha256(dumps(report))
    if worker:
        digest.update(f"\0{worker}\0{version}\0{etag}".encode())
    return digest.hexdigest()


def newest(environment: Environment) -> ReferenceSearch | None:
    """The newest search of the environment's code, by the time of the search."""
    return ReferenceSearch.objects.filter(environment=environment).order_by("-searched_at", "-pk").first()


def newest_of_each_code(environment: int) -> QuerySet[ReferenceSearch]:
    """The newest recent search of each code of an environment: a search is of one script, or of a checkout.

    With it come the searches of the same commit, however old: the newest of each content, which `contradict` compares.
    """
    all_searches = ReferenceSearch.objects.filter(environment=environment)
    recent = all_searches.filter(searched_at__gte=Now() - timedelta(seconds=timing.REFERENCES_FRESH))
    newest = recent.order_by("worker", "-searched_at", "-pk").distinct("worker")
    same_commit = all_searches.exclude(commit="").filter(commit__in=newest.values("commit"))
    differing = same_commit.order_by("commit", *DIFFERENCE, "-searched_at", "-pk").distinct("commit", *DIFFERENCE)
    found = all_searches.filter(Q(pk__in=newest.values("pk")) | Q(pk__in=differing.values("pk")))
    return found.order_by("worker", "-searched_at", "-pk")


def contradict(one: ReferenceSearch, other: ReferenceSearch) -> bool:
    """Whether two searches of one commit found different files or hits, so that one of them left something out."""
    same = one.environment_id == other.environment_id and one.commit == other.commit != ""
    return same and any(getattr(one, name) != getattr(other, name) for name in DIFFERENCE)


def later_policies(search: ReferenceSearch) -> QuerySet[PolicyVersion]:
    """The versions of the policy after the search, which may not know their families."""
    return PolicyVersion.objects.filter(applied_at__gt=search.searched_at)


def concerns(family: str, binding: str, prefix: str, *, exact: bool = False) -> bool:
    """Whether a hit of this family could be about a key of the binding with this prefix, or with exactly this name.

    A hit names its family as `SETTINGS master:*` or as one key; `SETTINGS *` is any key of the binding, `*` any key.
    """
    if family == ANY_FAMILY:
        return True
    found, _space, pattern = family.partition(" ")
    if found != binding:
        return False
    if not pattern.endswith("*"):
        return pattern == prefix if exact else pattern.startswith(prefix)
    stem = pattern.removesuffix("*")
    return prefix.startswith(stem) or (not exact and stem.startswith(prefix))


def hits_of(
    searches: Iterable[ReferenceSearch], bindings: Collection[str], prefix: str, *, exact: bool = False
) -> QuerySet[ReferenceHit]:
    """The hits of the searches that concern a clean-up of these keys of a namespace with these names; urgent first."""
    hits = ReferenceHit.objects.filter(search__in=[search.pk for search in searches])
    families = hits.order_by().values_list("family", flat=True).distinct()
    concerned = [one for one in families if any(concerns(one, name, prefix, exact=exact) for name in bindings)]
    return by_urgency(hits.filter(family__in=concerned))


def by_urgency(hits: QuerySet[ReferenceHit]) -> QuerySet[ReferenceHit]:
    """The hits with writers and deleters first, then the certain, the possible, and those that cannot be told."""
    access, certainty = ReferenceHit.Access, ReferenceHit.Certainty
    return hits.annotate(
        calm=Case(
            When(access__in=[access.WRITE, access.DELETE], then=Value(0)),
            default=Value(1),
            output_field=IntegerField(),
        ),
        doubt=Case(
            When(certainty=certainty.CERTAIN, then=Value(0)),
            When(certainty=certainty.POSSIBLE, then=Value(1)),
            default=Value(2),
            output_field=IntegerField(),
        ),
    ).order_by("calm", "doubt", "file", "line", "column", "pk")


def _larger_before(search: ReferenceSearch) -> ReferenceSearch | None:
    """The search with more files or hits before one that came as a file; None if there is none.

    It is the search that counted before for the repository, or else for the environment. A search that was too small
    itself is no measure: two small files in a row do not make the second one fit.
    """
    if search.source != ReferenceSearch.Source.FILE:
        return None
    of_checkouts = ReferenceSearch.objects.filter(environment=search.environment_id, worker="")
    counted = of_checkouts.select_related("fewer_than").order_by("-searched_at", "-pk")
    before = counted.filter(repository=search.repository).first() or counted.first()
    larger = before and (before.fewer_than or before)
    fewer = larger and (search.files < larger.files or search.hit_count < larger.hit_count)
    return larger if fewer else None


def _insist_usable(report: Report, source: str) -> None:
    if source != ReferenceSearch.Source.WORKER and not report.commit:
        raise SearchUnusable(_("The search names no commit. Repeat it with --commit and the commit of the checkout."))
    if source != ReferenceSearch.Source.WORKER and not report.repository:
        raise SearchUnusable(_("The search names no repository. Repeat it with scan_references of this version."))
    if report.searched_at > clock.now() + timedelta(seconds=timing.SKEW):
        raise SearchUnusable(
            say(
                _("The search is dated %(at)s, which is still to come. Set the clock of the machine that searched."),
                at=moment(report.searched_at),
            )
        )


def _rows(search: ReferenceSearch, report: Report) -> list[ReferenceHit]:
    return [
        ReferenceHit(
            search=search,
            file=hit.file,
            line=hit.line,
            column=hit.column,
            certainty=hit.certainty,
            access=hit.access,
            family=hit.family,
            text=hit.text,
            context=list(hit.context),
            fingerprint=hit.fingerprint,
        )
        for hit in report.hits
    ]
