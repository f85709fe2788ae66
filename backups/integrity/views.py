"""Integrity: the datasets, their history, one check with its differences, and the start of a check."""

from collections import Counter
from collections.abc import Mapping, Sequence

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.integrity import (
    cases,
    causes,
    import_file,
    next_steps,
    overview,
    staging as check_staging,
    start as check_start,
)
from backups.integrity.causes import Cause, LikelyCause
from backups.integrity.forms import CaseForm, DifferenceFilter, OutcomeForm
from backups.models import Check, Dataset, Difference, Generation
from kvops.people.signin import person_of
from kvops.runbook import todo
from kvops.web.acting import On, refusals_shown
from kvops.web.fields import NewestFirst
from kvops.web.pages import listed, live_part, page_of

PAGE = 100


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show every dataset with its newest check of KV per environment, and apart from it the newest of a file."""
    context = {
        "datasets": overview.agreements(),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "integrity/list.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def history(request: HttpRequest, name: str) -> HttpResponse:
    """Show the checks of a dataset, newest first."""
    dataset = get_object_or_404(Dataset, name=name)
    context = {
        "dataset": dataset,
        **listed(request, NewestFirst(request.GET), "checks", overview.history(dataset), PAGE),
    }
    return render(request, "integrity/history.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one check: the verdict, the next step, and the differences by key and field."""
    return check_page(request, check_of(pk))


def check_page(
    request: HttpRequest,
    check: Check,
    *,
    case_form: CaseForm | None = None,
    outcome_form: OutcomeForm | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page of a check, with a form as the person left it."""
    form = DifferenceFilter(request.GET, check=check)
    differences, after = page_of(form.differences(), PAGE)
    # The number of rows is bounded by the differences that a check stores.
    counts = check.found.values_list("kind").annotate(number=Count("pk")).order_by("kind")
    context = {
        "check": check,
        "run": check.run,
        "environment": check.environment,
        "form": form,
        "filtered": any(request.GET.get(name) for name in ("kind", "field", "key")),
        "differences": differences,
        "after": after,
        "kinds": [(kind, check.label_of(kind), number) for kind, number in counts],
        "stored": check_staging.MAX_STORED if check.differences > check_staging.MAX_STORED else None,
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_view_values": request.user.has_perm("kvops.view_values"),
    }
    if check.outcome == Check.Outcome.FAILED:
        context |= _what_now(request, check, case_form, outcome_form)
        context |= likely(differences, causes.by_name(check, differences))
    return render(request, "integrity/detail.html", context, status=status)


def _what_now(
    request: HttpRequest, check: Check, case_form: CaseForm | None, outcome_form: OutcomeForm | None
) -> dict[str, object]:
    case, later = cases.open_case(check), next_steps.later_check(check)
    return {
        "case": case,
        "settled": None if case else cases.last_closed(check),
        "later": later,
        "advice": next_steps.after_failed(check, case, later),
        "case_form": case_form or CaseForm(case=case, person=person_of(request)),
        "case_typed": case_form is not None,
        "outcome_form": outcome_form or OutcomeForm(),
        "outcome_typed": outcome_form is not None,
        "today": todo.today(),
        "importable": import_file.importable(check),
    }


def likely(differences: Sequence[Difference], found: Mapping[int, LikelyCause]) -> dict[str, object]:
    """The differences with their likely causes for a template, and how often each cause occurs."""
    counts = Counter((one.cause, one.seen) for one in found.values())
    return {
        "explained": [(one, found.get(one.pk)) for one in differences],
        "causes": [
            (LikelyCause(cause, seen=seen), counts[cause, seen], next_steps.AFTER[cause])
            for cause in Cause
            for seen in (True, False)
            if counts[cause, seen]
        ],
        "unasked": len(differences) - len(found),
    }


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that is refreshed; after the check ends, the whole page is loaded again."""
    check = check_of(pk)
    moving = check.run.is_open and check.outcome == Check.Outcome.PENDING
    return live_part(request, "integrity/detail.html", {"check": check}, moving=moving)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Compare the same backup with D1 again."""
    earlier, person = check_of(pk), person_of(request)
    if earlier.generation is None:
        raise Http404
    with refusals_shown(request, On(earlier.environment, f"check:{pk}")):
        started = check_start.start_checks(earlier.generation, actor=person.actor, person=person)[0]
        messages.success(request, _("The check is under way."))
        return redirect("backups:check", started.pk)
    return redirect("backups:check", pk)


def check_of(pk: int) -> Check:
    """The check; an unknown number is a 404."""
    return get_object_or_404(
        Check.objects.select_related(
            "environment", "dataset", "generation__namespace__environment", "namespace__environment", "run"
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
