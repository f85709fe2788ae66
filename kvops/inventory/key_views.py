"""One key: its state, the backups that hold it, its value on request, and the reveal of a masked value."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from kvops import timing
from kvops.cloudflare import CloudflareError
from kvops.inventory import reveal as key_reveal, story as key_story, value as key_value
from kvops.inventory.families import Families
from kvops.inventory.forms import KeyForm, LayoutForm, RevealForm
from kvops.inventory.story import KeyEventKind
from kvops.inventory.views import named
from kvops.models import Category, Family, Key, Namespace, Scan
from kvops.people.signin import insist_fresh, person_of
from kvops.web.acting import On, refusals_shown
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


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def reveal(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """Show the same page with a masked value, for a minute. A GET, as after a password sent twice, shows the keys.

    allauth sends this request again after asking for the password, so everything is checked again.
    """
    namespace = named(environment, binding)
    if request.method != "POST":
        return redirect("keys", environment, binding)
    insist_fresh(request)
    form = RevealForm(request.POST)
    valid = form.is_valid()
    if "name" not in form.cleaned_data:
        raise Http404
    name: str = form.cleaned_data["name"]
    return _reveal(request, namespace, name, form) if valid else _page(request, namespace, name, form=form, status=422)


def _reveal(request: HttpRequest, namespace: Namespace, name: str, form: RevealForm) -> HttpResponse:
    asked = {"reason": form.cleaned_data["reason"], "formatted": bool(form.cleaned_data["layout"])}
    on = On(namespace.environment, f"namespace:{namespace.pk}", str(namespace))
    with refusals_shown(request, on, form=form):
        try:
            live = key_reveal.reveal(namespace, name, by=person_of(request), **asked)
        except CloudflareError as error:
            return _page(request, namespace, name, form=form, failure=str(error))
        if live is None:
            return _page(request, namespace, name, form=form, failure=_("The key does not exist any more."))
        page = _page(request, namespace, name, live=live, revealed=timing.REVEALED)
        # Works without scripts; kvops.js hides the value at the same time, also in a page that is kept for "back".
        page["Refresh"] = f"{timing.REVEALED}; url={_address(namespace, name)}"
        return page
    return _page(request, namespace, name, form=form, status=409)


def _address(namespace: Namespace, name: str) -> str:
    page = reverse("key", args=[namespace.environment.slug, namespace.binding])
    return f"{page}?{urlencode({'name': name})}"


def _asked(form: KeyForm | LayoutForm, field: str) -> str:
    if not form.is_valid():
        raise Http404
    return str(form.cleaned_data[field])


def _page(
    request: HttpRequest,
    namespace: Namespace,
    name: str,
    *,
    live: key_value.Live | None = None,
    failure: str = "",
    revealed: int = 0,
    form: RevealForm | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page; `live` is the value, `revealed` the seconds for which a masked one is shown."""
    facts = facts_of(namespace, name)
    key, scan = facts.key, facts.scan
    family, edited = facts.family, key_value.why_policy_edited()
    category = Category(family.category) if family and not edited else Category.UNCLASSIFIED
    story = key_story.of_key(namespace, name)
    fate = key_story.fate(story, listed_at=scan.created_at if key and scan else None)
    context = {
        "namespace": namespace,
        "environment": namespace.environment,
        "name": name,
        "key": key,
        "others": facts.others,
        "family": family,
        "category": category,
        "edited": edited,
        "scan": scan,
        "story": story,
        "fate": fate,
        "is_deleted": live is None and fate is not None and fate.kind == KeyEventKind.DELETED,
        "command": key_value.fetch_command(namespace, name),
        "may_view": request.user.has_perm("kvops.view_values"),
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_reveal": category.sensitive and not edited and _may_reveal(request, namespace, name),
        "live": live,
        "failure": failure,
        "revealed": revealed,
        "address": _address(namespace, name),
        "form": form or RevealForm(initial={"name": name}),
    }
    known = status != 200 or key or live or story
    return render(request, "keys/detail.html", context, status=status if known else 404)


def _may_reveal(request: HttpRequest, namespace: Namespace, name: str) -> bool:
    operates = request.user.has_perm("kvops.operate")
    return operates or key_reveal.request_about(namespace, name, by=person_of(request)) is not None


@dataclass(frozen=True)
class KeyFacts:
    """The key if the inventory has it, the newest scan that covers its name, its family, and the other namespaces.

    `others` are the namespaces of the same binding in the other environments.
    """

    key: Key | None
    scan: Scan | None
    family: Family | None
    others: Sequence[Namespace]


def facts_of(namespace: Namespace, name: str) -> KeyFacts:
    """The facts of a key for its page."""
    same = Namespace.objects.filter(binding=namespace.binding).exclude(pk=namespace.pk)
    covering = Scan.objects.complete().covering(name).filter(namespace=namespace)
    return KeyFacts(
        key=namespace.key_set.filter(name=name).select_related("first_seen").first(),
        scan=covering.order_by("-completed_at", "-pk").first(),
        family=Families.of(namespace.binding).family(name),
        others=list(same.select_related("environment").order_by("environment__order")),
    )
