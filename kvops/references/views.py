"""The pages of code references: environments with their newest searches, and the hits of a search."""

from collections.abc import Sequence

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kvops.models import Environment, ReferenceHit, ReferenceSearch
from kvops.people.signin import person_of
from kvops.references import look, reading, store as reference_store
from kvops.references.forms import HitFilter, ReportForm
from kvops.references.report import loads
from kvops.web.acting import On, refusals_shown
from kvops.web.pages import page_of

PAGE = 50
SHOWN = 20
"""Earlier searches, and files that could not be parsed, on the page of a search."""


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show every environment with its newest search, and the number of follow-ups."""
    context = {
        "environments": reading.environments(),
        "open": reading.open_follow_ups().count(),
        "certainties": reading.Certainty.labels,
    }
    return render(request, "references/index.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def environment(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the newest search of an environment."""
    found = _environment(environment)
    return _page(request, found, ReportForm(), reading.newest_of_each(found))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def search(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Show one search of an environment."""
    searches = reading.with_newest_of_each(environment, pk)
    found = next((one for one in searches if one.pk == pk), None)
    if found is None:
        raise Http404
    return _page(request, found.environment, ReportForm(), searches, found)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def by_number(_request: HttpRequest, pk: int) -> HttpResponse:
    """Lead from the number of a search, as the audit log has it, to its page."""
    found = get_object_or_404(ReferenceSearch.objects.select_related("environment"), pk=pk)
    return redirect("references-search", found.environment.slug, pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def take(request: HttpRequest, environment: str) -> HttpResponse:
    """Store the file of a search that was made elsewhere."""
    found, form = _environment(environment), ReportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _page(request, found, form, reading.newest_of_each(found), status=422)
    with refusals_shown(request, On(found, f"environment:{found.pk}", found.name), form=form):
        report = loads(form.cleaned_data["report"].read())
        look.ask_when_due(found)
        stored = reference_store.store(
            found,
            report,
            source=ReferenceSearch.Source.FILE,
            place=form.cleaned_data["report"].name,
            by=person_of(request),
        )
        if stored.seen_before:
            messages.info(request, _("This search was stored before. Nothing was stored twice."))
        else:
            messages.success(request, _("The search is stored."))
        return redirect("references-search", found.slug, stored.pk)
    return _page(request, found, form, reading.newest_of_each(found), status=422)


def _environment(slug: str) -> Environment:
    return get_object_or_404(Environment, slug=slug)


def _page(
    request: HttpRequest,
    environment: Environment,
    form: ReportForm,
    searches: Sequence[ReferenceSearch],
    shown: ReferenceSearch | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    """The page of a search, or of an environment with its newest search."""
    newest = reading.newest_of(environment, searches)
    found = shown or newest
    context: dict[str, object] = {
        "environment": environment,
        "search": found,
        "newest": newest,
        "report_form": form,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    if found:
        others = reading.contradicting(found, searches)
        # The page of an environment has the places of all searches that count, the page of a search has its own.
        hits = reading.hits_that_count([found] if shown else [found, *others])
        context |= {"contradicting": others, **_of_search(request, found, searches, hits)}
    return render(request, "references/environment.html", context, status=status)


def _of_search(
    request: HttpRequest,
    search: ReferenceSearch,
    searches: Sequence[ReferenceSearch],
    counting: QuerySet[ReferenceHit],
) -> dict[str, object]:
    before, others = reading.beside(search, SHOWN)
    figures = reading.figures(search, before, counting)
    hit_filter = HitFilter(request.GET, search=search, before=before, families=figures.families, counting=counting)
    place = hit_filter.place()
    hits, last = page_of(hit_filter.hits()[place : place + PAGE + 1], PAGE)
    return {
        "hit_filter": hit_filter,
        "hits": hits,
        "after": place + PAGE if last else None,
        "filtered": any(request.GET.get(name) for name in hit_filter.fields),
        "counts": figures.counts,
        "grouped": reading.grouped(hits),
        "certainties": reading.Certainty.labels,
        "older_than_policy": figures.older_than_policy,
        "states": reading.states(search, searches),
        "before": before,
        "new": figures.new,
        "gone": figures.gone,
        "unparsed": search.unparsed[:SHOWN],
        "others": others,
    }
