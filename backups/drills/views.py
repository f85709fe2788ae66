"""Restore drills: the state of each environment, and the result of each drill."""

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from backups.drills import requests as drill_requests
from backups.drills.requests import LARGEST
from backups.models import Drill
from kvops.approvals.standing import LONGEST
from kvops.models import Environment
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown
from kvops.web.fields import NewestFirst
from kvops.web.pages import live_part, page_of

PAGE = 50
DRILLS = Drill.objects.select_related("environment", "run", "approval")


class RuleForm(forms.Form):
    """The end of the standing approval, and the number of keys per backup in a drill."""

    days = forms.IntegerField(
        label=gettext_lazy("Days the approval is valid"), min_value=1, max_value=LONGEST, initial=LONGEST
    )
    cap = forms.IntegerField(
        label=gettext_lazy("Keys of each backup, at most"),
        min_value=1,
        max_value=LARGEST,
        initial=10_000,
        help_text=gettext_lazy("A drill uses only the first keys of a larger backup."),
    )


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show the drills of each environment, and all drills, newest first."""
    return _list(request)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one drill, backup by backup."""
    return render(request, "drills/detail.html", _context(get_object_or_404(DRILLS, pk=pk)))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that is refreshed; after the run ends, the whole page is loaded again."""
    drill = get_object_or_404(DRILLS, pk=pk)
    return live_part(request, "drills/detail.html", _context(drill), moving=drill.run.is_open)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def ask(request: HttpRequest, environment: str) -> HttpResponse:
    """Ask a reviewer for a standing approval."""
    found = get_object_or_404(Environment, slug=environment)
    form = RuleForm(request.POST)
    if not form.is_valid():
        return _list(request, form=form, of=found, status=422)
    with refusals_shown(request, On(found, f"drill:{environment}")):
        made = drill_requests.ask(found, **form.cleaned_data, by=person_of(request))
        messages.success(request, _("A reviewer is asked to decide."))
        return redirect("approval", made.pk)
    return redirect("backups:drills")


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def start(request: HttpRequest, environment: str) -> HttpResponse:
    """Start a drill."""
    found = get_object_or_404(Environment, slug=environment)
    with refusals_shown(request, On(found, f"drill:{environment}")):
        drill = drill_requests.start(found, by=person_of(request))
        messages.success(request, _("The drill has begun."))
        return redirect("backups:drill", drill.pk)
    return redirect("backups:drills")


def _list(
    request: HttpRequest, *, form: RuleForm | None = None, of: Environment | None = None, status: int = 200
) -> HttpResponse:
    drills, after = page_of(NewestFirst(request.GET).narrowed(DRILLS), PAGE)
    context = {
        "statuses": [
            (one, form if form and of == one.environment else RuleForm()) for one in drill_requests.all_statuses()
        ],
        "drills": drills,
        "after": after,
        "may_operate": request.user.has_perm("kvops.operate"),
        "person": person_of(request),
    }
    return render(request, "drills/list.html", context, status=status)


def _context(drill: Drill) -> dict[str, object]:
    backups = drill.backups.select_related("generation__namespace", "generation__environment").order_by("number")
    return {"drill": drill, "environment": drill.environment, "run": drill.run, "backups": backups}
