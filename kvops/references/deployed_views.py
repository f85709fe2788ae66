"""The deployed code of an environment, and a look at it now."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kvops.models import DeployedCode, Environment
from kvops.people.signin import person_of
from kvops.references import deployed, look as code_look, scripts
from kvops.web.acting import On, refusals_shown


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the code that binds each namespace of the environment, by the newest look."""
    found = get_object_or_404(Environment, slug=environment)
    namespaces = list(found.namespaces.select_related("environment").order_by("binding"))
    known = deployed.Deployed(found.pk)
    context = {
        "environment": found,
        "look": known.look(found.pk),
        "not_known": deployed.not_known(found, known),
        "namespaces": [(one, deployed.using(one, known)) for one in namespaces],
        "looking": code_look.under_way(found),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "references/deployed.html", context)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def look(request: HttpRequest, environment: str) -> HttpResponse:
    """Look at the deployed code now."""
    found, person = get_object_or_404(Environment, slug=environment), person_of(request)
    with refusals_shown(request, On(found, f"environment:{found.pk}", found.name)):
        run = code_look.start(found, actor=person.actor, person=person)
        messages.success(request, _("Cloudflare is being asked for the deployed code."))
        return redirect("run", run.pk)
    return redirect("deployed-code", found.slug)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def search(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Search the script of a deployed Worker."""
    found = get_object_or_404(Environment, slug=environment)
    code = get_object_or_404(DeployedCode.objects.select_related("environment"), environment=found, pk=pk)
    with refusals_shown(request, On(found, f"environment:{found.pk}", found.name)):
        run = scripts.start(code, by=person_of(request))
        messages.success(request, _("The deployed script is being searched."))
        return redirect("run", run.pk)
    return redirect("deployed-code", found.slug)
