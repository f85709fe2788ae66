"""One key: its state, the backups that hold it, and its value on request."""

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from kvops.cloudflare import CloudflareError
from kvops.inventory import families as key_families, story as key_story, value as key_value
from kvops.inventory.forms import KeyForm, LayoutForm
from kvops.inventory.views import named
from kvops.models import Category, Key, Namespace, Scan
from kvops.people.signin import person_of
from kvops.wording import reason_of


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """Show the newest scan's data about a key, its story, and the backups that hold it."""
    return _page(request, named(environment, binding), _asked(KeyForm(request.GET), "name"))


@require_POST
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def value(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """Show the same page with the value that Cloudflare has now.

    The name comes from the address, because a browser changes line breaks in the fields of a form.
    """
    namespace, name = named(environment, binding), _asked(KeyForm(request.GET), "name")
    layout = _asked(LayoutForm(request.POST), "layout")
    try:
        live = key_value.view(namespace, name, by=person_of(request), formatted=bool(layout))
    except CloudflareError as error:
        return _page(request, namespace, name, failure=reason_of(error))
    return _page(request, namespace, name, live=live, failure="" if live else _("The key does not exist any more."))


def _asked(form: KeyForm | LayoutForm, field: str) -> str:
    if not form.is_valid():
        raise Http404
    return str(form.cleaned_data[field])


def _page(
    request: HttpRequest, namespace: Namespace, name: str, *, live: key_value.Live | None = None, failure: str = ""
) -> HttpResponse:
    key = Key.objects.filter(namespace=namespace, name=name).select_related("first_seen").first()
    family = key_families.family_of(namespace.binding, name)
    category = Category(family.category) if family else Category.UNCLASSIFIED
    story, scan = key_story.of_key(namespace, name), Scan.objects.covering(name).newest(namespace)
    context = {
        "namespace": namespace,
        "environment": namespace.environment,
        "name": name,
        "key": key,
        "family": family,
        "category": category,
        "scan": scan,
        "story": story,
        "fate": key_story.fate(story, listed_at=scan.created_at if key and scan else None),
        "command": key_value.fetch_command(namespace, name),
        "may_view": request.user.has_perm("kvops.view_values"),
        "may_operate": request.user.has_perm("kvops.operate"),
        "live": live,
        "failure": failure,
    }
    return render(request, "keys/detail.html", context, status=200 if key or live or story else 404)
