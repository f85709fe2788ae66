"""The first page: the state of every environment, and waiting work by person."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from kvops.overview import status as overview_status
from kvops.people.signin import person_of
from kvops.runbook import todo
from kvops.web.live import live_part


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show every environment, the person's waiting requests, the running work and the alarms."""
    person = person_of(request)
    shown = overview_status.columns()
    context = {
        "columns": shown,
        "waiting": overview_status.waiting_requests(person, person.roles()),
        "todos": todo.open_todos(person)[: overview_status.SHOWN],
        "today": todo.today(),
        "running": overview_status.running(),
        "first_steps": overview_status.first_steps(shown),
        "alarms": overview_status.alarms(shown),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "overview/index.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest) -> HttpResponse:
    """Show the work under way. If there is none, load the whole page again."""
    running = overview_status.running()
    return live_part(request, "overview/index.html", {"running": running}, moving=bool(running))
