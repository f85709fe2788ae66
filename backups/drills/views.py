"""Restore drills: the state of each environment, and the result of each drill."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.drills import requests as drill_requests
from backups.drills.forms import DrillFilter, RuleForm
from backups.models import Drill
from kvops.models import Environment
from kvops.people.signin import person_of
from kvops.refusals import Refused
from kvops.web.acting import refuse

PAGE = 50
DRILLS = Drill.objects.select_related("environment", "run", "approval")


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show how each environment stands, and the drills, newest first."""
    return _list(request)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one drill, copy by copy."""
    return render(request, "drills/detail.html", _context(get_object_or_404(DRILLS, pk=pk)))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that moves; when the work is over, the whole page is loaded again."""
    drill = get_object_or_404(DRILLS, pk=pk)
    response = render(request, "drills/detail.html#live", _context(drill))
    if not drill.run.is_open:
        response["HX-Refresh"] = "true"
    return response


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def ask(request: HttpRequest, environment: str) -> HttpResponse:
    """Ask a reviewer for an approval that stands."""
    found = get_object_or_404(Environment, slug=environment)
    form = RuleForm(request.POST)
    if not form.is_valid():
        return _list(request, form=form, of=found, status=422)
    try:
        made = drill_requests.ask(
            found, days=form.cleaned_data["days"], cap=form.cleaned_data["cap"], by=person_of(request)
        )
    except Refused as refused:
        return _refused(request, refused, found)
    messages.success(request, _("A reviewer is asked to decide."))
    return redirect("approval", made.pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def start(request: HttpRequest, environment: str) -> HttpResponse:
    """Start a drill."""
    found = get_object_or_404(Environment, slug=environment)
    try:
        drill = drill_requests.start(found, by=person_of(request))
    except Refused as refused:
        return _refused(request, refused, found)
    messages.success(request, _("The drill has begun."))
    return redirect("backups:drill", drill.pk)


def _refused(request: HttpRequest, refused: Exception, environment: Environment) -> HttpResponse:
    messages.error(request, str(refused))
    refuse(request, refused, environment, f"drill:{environment.slug}")
    return redirect("backups:drills")


def _list(
    request: HttpRequest, *, form: RuleForm | None = None, of: Environment | None = None, status: int = 200
) -> HttpResponse:
    asked = DrillFilter(request.GET)
    after = asked.cleaned_data["after"] if asked.is_valid() else 0
    older = DRILLS.filter(pk__lt=after) if after is not None else DRILLS
    found = list(older.order_by("-pk")[: PAGE + 1])
    context = {
        "statuses": [
            (one, form if form and of == one.environment else RuleForm()) for one in drill_requests.all_statuses()
        ],
        "drills": found[:PAGE],
        "after": found[PAGE - 1].pk if len(found) > PAGE else None,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "drills/list.html", context, status=status)


def _context(drill: Drill) -> dict[str, object]:
    backups = drill.backups.select_related("generation__namespace", "generation__environment").order_by("number")
    return {"drill": drill, "environment": drill.environment, "run": drill.run, "backups": backups}
