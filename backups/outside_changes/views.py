"""Settings that changed outside KVOps: the searches that found them, the keys, a person's explanation, one key."""

from operator import attrgetter

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.models import OutsideSearch
from backups.outside_changes import acknowledge as outside_acknowledge, announcements, one_key
from backups.outside_changes.forms import ExplanationForm, OutsideFilter, OutsideNamesFilter, SettingForm
from kvops.inventory.past_kvops import CloudflareStatement
from kvops.inventory.views import named
from kvops.people.signin import person_of
from kvops.web.acting import On, refusals_shown
from kvops.web.files import names_file
from kvops.web.pages import listed

PAGE = 50
RELATED = ("namespace__environment", "generation", "earlier", "acknowledged_by")


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List the searches that found a change or could not compare, newest first."""
    form = OutsideFilter(request.GET)
    context = listed(request, form, "searches", form.searches().select_related(*RELATED), PAGE)
    return render(request, "unexplained/settings.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the keys that one search found."""
    return _page(request, _search(pk), ExplanationForm())


@require_safe
@permission_required("kvops.view", raise_exception=True)
def download(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Stream the names that match the filter as a file."""
    search = _search(pk)
    name = f"{search.namespace.environment.slug}-{search.namespace.binding}-outside-{pk}"
    names = OutsideNamesFilter(request.GET).changes(search).values_list("name", flat=True)
    return names_file(request, name, names.iterator(10_000))


@require_POST
@permission_required("kvops.acknowledge", raise_exception=True)
def explain(request: HttpRequest, pk: int) -> HttpResponse:
    """Record a person's explanation."""
    search, form = _search(pk), ExplanationForm(request.POST)
    if not form.is_valid():
        return _page(request, search, form, status=422)
    with refusals_shown(request, On(search.namespace.environment, search.subject), form=form):
        outside_acknowledge.explain(search, by=person_of(request), note=form.cleaned_data["note"])
        messages.success(request, _("Your note is recorded."))
        return redirect("backups:outside", pk)
    return _page(request, _search(pk), form, status=409)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def ask_cloudflare(request: HttpRequest, pk: int) -> HttpResponse:
    """Show Cloudflare's statement about the time between the two backups."""
    search = _search(pk)
    with refusals_shown(request, On(search.namespace.environment, search.subject)):
        statement = outside_acknowledge.ask_cloudflare(search, by=person_of(request))
        return _page(request, search, ExplanationForm(), statement=statement)
    return redirect("backups:outside", pk)


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
def compare_setting(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """Compare a key with the last backup; its page shows the result.

    The name comes from the address, because a browser changes line breaks in the fields of a form.
    """
    namespace, form = named(environment, binding), SettingForm(request.GET)
    if not form.is_valid():
        raise Http404
    name = form.cleaned_data["name"]
    with refusals_shown(request, On(namespace.environment, f"namespace:{namespace.pk}", str(namespace))):
        one_key.compare_setting(namespace, name, by=person_of(request))
        messages.success(request, _("The comparison has started. Load the page again in a moment."))
    page = reverse("key", args=[environment, binding])
    return redirect(f"{page}?{urlencode({'name': name})}#compared")


def _search(pk: int) -> OutsideSearch:
    return get_object_or_404(OutsideSearch.objects.select_related(*RELATED), pk=pk)


def _page(
    request: HttpRequest,
    search: OutsideSearch,
    form: ExplanationForm,
    status: int = 200,
    statement: CloudflareStatement | None = None,
) -> HttpResponse:
    names = OutsideNamesFilter(request.GET)
    context = {
        **listed(request, names, "found", names.changes(search), PAGE, place=attrgetter("name")),
        "search": search,
        "statement": statement,
        "environment": search.namespace.environment,
        "why_not": announcements.not_comparable(search) if search.reason else "",
        "explanation": form,
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_acknowledge": request.user.has_perm("kvops.acknowledge"),
    }
    return render(request, "unexplained/setting_changes.html", context, status=status)
