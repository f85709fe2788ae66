"""A dataset against D1: by its newest backup, or by KV as it is now. Both costs are shown before the start."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.integrity import live
from backups.integrity.live_side import MOST
from backups.models import Dataset
from kvops.models import Namespace
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown


@require_safe
@permission_required("kvops.view", raise_exception=True)
def choose(request: HttpRequest, dataset: str, environment: str) -> HttpResponse:
    """Show what a check of the dataset can read in this environment, with its requests and its cost."""
    found, namespace = _place(dataset, environment)
    context = {
        "plan": live.plan(found, namespace),
        "environment": namespace.environment,
        "most": MOST,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "integrity/live.html", context)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def start(request: HttpRequest, dataset: str, environment: str) -> HttpResponse:
    """Read the keys now and compare them with D1."""
    found, namespace = _place(dataset, environment)
    person = person_of(request)
    with refusals_shown(request, On(namespace.environment, f"dataset:{found.name}")):
        started = live.start_live_check(found, namespace, actor=person.actor, person=person)
        messages.success(request, _("The check is under way."))
        return redirect("backups:check", started.pk)
    return redirect("backups:dataset_check", dataset, environment)


def _place(dataset: str, environment: str) -> tuple[Dataset, Namespace]:
    found = get_object_or_404(Dataset, name=dataset)
    namespaces = Namespace.objects.select_related("environment")
    return found, get_object_or_404(namespaces, environment__slug=environment, binding=found.binding)
