"""The deployed code of an environment, and a look at it now."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kvops.models import DeployedCode, Environment, StillRead, TraceQuery
from kvops.people.signin import person_of
from kvops.references import deployed, look as code_look, scripts, traces
from kvops.references.deployed_forms import TracesForm, UseAnswerForm
from kvops.web.acting import On, refusals_shown


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the code that binds each namespace of the environment, by the newest look, and the traced calls."""
    return _page(request, get_object_or_404(Environment, slug=environment))


def _page(request: HttpRequest, found: Environment, form: TracesForm | None = None, status: int = 200) -> HttpResponse:
    namespaces = list(found.namespaces.select_related("environment").order_by("binding"))
    known = deployed.Deployed(found.pk)
    context = {
        "environment": found,
        "look": known.looks.get(found.pk),
        "not_known": deployed.not_known(found, known),
        "namespaces": [(one, deployed.using(one, known)) for one in namespaces],
        "looking": code_look.under_way(found),
        "trace_queries": TraceQuery.objects.filter(namespace__environment=found)
        .select_related("namespace__environment")
        .prefetch_related("reads__answered_by")
        .order_by("namespace__binding", "prefix"),
        "form": form or TracesForm(found),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "references/deployed.html", context, status=status)


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


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def ask_traces(request: HttpRequest, environment: str) -> HttpResponse:
    """Ask the traces whether keys are still used."""
    found = get_object_or_404(Environment, slug=environment)
    form = TracesForm(found, request.POST)
    if not form.is_valid():
        return _page(request, found, form, 422)
    with refusals_shown(request, On(found, f"environment:{found.pk}", found.name)):
        traces.ask(form.cleaned_data["namespace"], form.cleaned_data["beginning"], by=person_of(request))
        messages.success(request, _("The traces were asked."))
    return redirect("deployed-code", found.slug)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def answer_read(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Answer a traced use of keys with a reason."""
    found = get_object_or_404(Environment, slug=environment)
    reads = StillRead.objects.filter(query__namespace__environment=found)
    read = get_object_or_404(reads.select_related("query__namespace__environment"), pk=pk)
    namespace, form = read.query.namespace, UseAnswerForm(request.POST)
    if not form.is_valid():
        messages.error(request, str(form.errors["reason"][0]))
        return redirect("deployed-code", found.slug)
    with refusals_shown(request, On(found, f"namespace:{namespace.pk}", str(namespace))):
        traces.answer(read, reason=form.cleaned_data["reason"], by=person_of(request))
        messages.success(request, _("The use of the keys is answered."))
    return redirect("deployed-code", found.slug)
