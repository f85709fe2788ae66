"""Comparisons of a backup: the other side, the differing names, and one key on both sides."""

from collections.abc import Iterator
from operator import attrgetter

from django.contrib.auth.decorators import permission_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from backups.comparisons import start as comparison_start, values as comparison_values
from backups.comparisons.forms import ComparisonFilter, ComparisonForm
from backups.models import Comparison, ComparisonEntry, Generation
from kvops.models import Namespace
from kvops.people.signin import person_of
from kvops.web import files as web_files
from kvops.web.acting import On, refusals_shown
from kvops.web.files import as_file
from kvops.web.pages import listed, live_part
from kvops.wording import stepped

Kind = ComparisonEntry.Kind
PAGE = 50
MADE = 20
COLUMNS = ("name", "difference", "size", "other_size")


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest, pk: int) -> HttpResponse:
    """Choose the other side for the backup, and show its earlier comparisons."""
    generation = _generation(pk)
    return _choose(request, generation, ComparisonForm(generation=generation, asked=request.GET.get("with", "")))


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
def start(request: HttpRequest, pk: int) -> HttpResponse:
    """Compare the backup with the chosen side."""
    generation, person = _generation(pk), person_of(request)
    form = ComparisonForm(request.POST, generation=generation)
    if not form.is_valid():
        return _choose(request, generation, form, status=422)
    against, actor = form.cleaned_data["against"], person.actor
    with refusals_shown(request, On(generation.environment, f"generation:{pk}"), form=form):
        if isinstance(against, Namespace):
            made = comparison_start.with_kv(generation, against, actor=actor, person=person)
        else:
            made = comparison_start.of_backups(generation, against, actor=actor, person=person)
        return redirect("backups:comparison", made.generation_id, made.pk)
    return _choose(request, generation, form, status=409)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int, comparison: int) -> HttpResponse:
    """Show one comparison: counts first, then the differing names."""
    made, form = _comparison(pk, comparison), ComparisonFilter(request.GET)
    unseen = _unseen(made)
    context = {
        **listed(request, form, "entries", form.entries(made), PAGE, place=attrgetter("name")),
        "comparison": made,
        "environment": made.namespace.environment,
        "run": made.run,
        "counts": [(kind, kind.label, made.found.get(kind, 0), kind in unseen) for kind in Kind],
        "unseen": unseen,
        "may_view_values": request.user.has_perm("kvops.view_values"),
    }
    return render(request, "comparisons/detail.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int, comparison: int) -> HttpResponse:
    """The part of the page that is refreshed; after the run ends, the whole page is loaded again."""
    made = _comparison(pk, comparison)
    context = {"comparison": made, "run": made.run}
    return live_part(request, "comparisons/detail.html", context, moving=made.run.is_open)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def download(request: HttpRequest, pk: int, comparison: int) -> StreamingHttpResponse:
    """The names that match the filters of the address, as CSV or JSON."""
    made = _comparison(pk, comparison)
    rows = _rows(made, ComparisonFilter(request.GET).entries(made).iterator(2_000))
    head = {"comparison": made.pk, "backup": made.generation_id, "other_backup": made.other_id, "found": made.found}
    head |= {"environment": made.namespace.environment.slug, "binding": made.namespace.binding}
    return as_file(request, f"comparison-{made.pk}", head, COLUMNS, rows)


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def value(request: HttpRequest, pk: int, comparison: int, entry: int) -> HttpResponse:
    """Show a key on both sides. The values are in this answer and nowhere else."""
    made = _comparison(pk, comparison)
    asked = get_object_or_404(made.entries, pk=entry)
    return difference(request, made.generation, made.other or made.namespace, asked.name, back=_address(made))


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def entry_value(request: HttpRequest, pk: int, index: int) -> HttpResponse:
    """Show an entry of a backup beside its current value in KV."""
    generation = _generation(pk)
    asked = get_object_or_404(generation.entries, index=index)
    return difference(
        request, generation, generation.namespace, asked.name, back=("backups:generation", (generation.pk,))
    )


type Address = tuple[str, tuple[int, ...]]
"""The name of an address and its arguments."""


def difference(
    request: HttpRequest, generation: Generation, other: Generation | Namespace, name: str, *, back: Address
) -> HttpResponse:
    """A key in a backup beside the other side; a refusal leads back to the page of the request."""
    with refusals_shown(request, On(generation.environment, f"generation:{generation.pk}")):
        found = comparison_values.view_difference(generation, other, name, by=person_of(request))
        context = {"found": found, "sides": (found.first, found.second), "environment": other.environment}
        return render(request, "comparisons/value.html", context)
    return redirect(back[0], *back[1])


def _unseen(made: Comparison) -> set[Kind]:
    """The differences that cannot be seen, because a backup of a given list of names tells nothing of other keys."""
    routine, unseen = Generation.Purpose.ROUTINE, set()
    if made.generation.purpose != routine and made.restore_id is None:
        unseen.add(Kind.ADDED)
    if made.other and made.other.purpose != routine:
        unseen.add(Kind.REMOVED)
    return unseen


def _choose(request: HttpRequest, generation: Generation, form: ComparisonForm, *, status: int = 200) -> HttpResponse:
    context = {
        "generation": generation,
        "environment": generation.environment,
        "form": form,
        "comparable": generation.status in comparison_start.COMPARABLE,
        "made": comparison_start.made_with(generation)[:MADE],
        "may_view_values": request.user.has_perm("kvops.view_values"),
    }
    return render(request, "comparisons/list.html", context, status=status)


def _rows(made: Comparison, entries: Iterator[ComparisonEntry]) -> Iterator[list[web_files.Cell]]:
    for entry in entries:
        sizes = [stepped(size, made.encrypted) for size in (entry.size, entry.other_size)]
        yield [entry.name, entry.kind, *sizes]


def _address(made: Comparison) -> Address:
    return "backups:comparison", (made.generation_id, made.pk)


def _generation(pk: int) -> Generation:
    return get_object_or_404(Generation.objects.select_related("environment", "namespace"), pk=pk)


def _comparison(pk: int, comparison: int) -> Comparison:
    """The comparison; the address may name either of its backups."""
    related = ("generation__environment", "generation__namespace", "other__environment", "namespace__environment")
    found = Comparison.objects.select_related(*related, "restore", "run")
    return get_object_or_404(found, Q(generation=pk) | Q(other=pk), pk=comparison)
