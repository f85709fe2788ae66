"""Integrity: the keys that agree with D1, and the differences."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.integrity import overview, staging as check_staging, start as check_start
from backups.integrity.forms import DifferenceFilter
from backups.models import Check, Generation
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown
from kvops.web.live import live_part
from kvops.web.paging import page_of

PAGE = 100


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show every dataset with its newest check of KV per environment, and apart from it the newest of a file."""
    context = {"datasets": overview.agreements(), "may_operate": request.user.has_perm("kvops.operate")}
    return render(request, "integrity/list.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one check with its differences, by key and field."""
    check = _check(pk)
    form = DifferenceFilter(request.GET)
    differences, after = page_of(form.differences(check), PAGE)
    # The number of rows is bounded by the differences that a check stores.
    counts = check.found.values_list("kind").annotate(number=Count("pk")).order_by("kind")
    context = {
        "check": check,
        "environment": check.environment,
        "form": form,
        "differences": differences,
        "after": after,
        "kinds": [(kind, check.label_of(kind), number) for kind, number in counts],
        "stored": check_staging.MAX_STORED if check.differences > check_staging.MAX_STORED else None,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "integrity/detail.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that is refreshed; after the check ends, the whole page is loaded again."""
    check = _check(pk)
    moving = check.run.is_open and check.outcome == Check.Outcome.PENDING
    return live_part(request, "integrity/detail.html", {"check": check}, moving=moving)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Compare the same backup with D1 again."""
    earlier, person = _check(pk), person_of(request)
    if earlier.generation is None:
        raise Http404
    with refusals_shown(request, On(earlier.environment, f"check:{pk}")):
        started = check_start.start_checks(earlier.generation, actor=person.actor, person=person)[0]
        messages.success(request, _("The check is under way."))
        return redirect("backups:check", started.pk)
    return redirect("backups:check", pk)


def _check(pk: int) -> Check:
    return get_object_or_404(
        Check.objects.select_related(
            "environment", "dataset", "generation__namespace", "namespace__environment", "run"
        ),
        pk=pk,
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def check(request: HttpRequest, pk: int) -> HttpResponse:
    """Compare the backup with D1."""
    generation, person = get_object_or_404(Generation, pk=pk), person_of(request)
    with refusals_shown(request, On(generation.environment, f"generation:{pk}")):
        started = check_start.start_checks(generation, actor=person.actor, person=person)
        messages.success(request, _("The check is under way."))
        if len(started) == 1:
            return redirect("backups:check", started[0].pk)
    return redirect("backups:generation", pk)
