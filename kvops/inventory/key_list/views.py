"""Beside the list of keys: saved filters, the ticked keys, and a namespace beside that of another environment."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kvops.inventory import browse
from kvops.inventory.key_list import actions, rows, saved, side_by_side
from kvops.inventory.key_list.actions import TickedRefused
from kvops.inventory.key_list.forms import FilterNameForm, PairFilter, SaveFilterForm, TickedForm, ticked_names
from kvops.inventory.key_list.saved import FilterRefused
from kvops.inventory.views import PAGE, named
from kvops.models import SavedFilter
from kvops.people.signin import person_of
from kvops.wording import reason_of


@require_safe
@permission_required("kvops.view", raise_exception=True)
def compare(request: HttpRequest, environment: str, binding: str, other: str) -> HttpResponse:
    """Show the keys of two environments side by side, as their newest scans found them."""
    here, there, form = named(environment, binding), named(other, binding), PairFilter(request.GET)
    if here == there:
        raise Http404
    chosen = form.cleaned_data if form.is_valid() else None
    page = side_by_side.PairPage([], None)
    if chosen is not None:
        filters = {"prefix": chosen["prefix"], "kind": chosen["show"], "after": chosen["after"]}
        page = side_by_side.pairs(here, there, limit=PAGE, **filters)
    context = {
        "namespace": here,
        "environment": here.environment,
        "there": there,
        "form": form,
        "page": page,
        "page_size": PAGE,
        "shared_category": rows.most(row.category for row in page.rows),
        "counts": [] if chosen is None else side_by_side.counts(here, there, chosen["prefix"]),
        "show": chosen["show"] if chosen else None,
        "filtered": any(request.GET.values()),
        "scans": [browse.newest_scan(here), browse.newest_scan(there)],
        "others": side_by_side.others(here),
    }
    return render(request, "keys/compare.html", context)


@require_safe
@permission_required("kvops.operate", raise_exception=True)
def ticked(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """Send the ticked keys to the page that takes exactly these; otherwise say the reason above the list."""
    namespace, form = named(environment, binding), TickedForm(request.GET)
    if not form.is_valid():
        raise Http404
    try:
        return redirect(
            actions.for_ticked(namespace, form.cleaned_data["do"], ticked_names(request.GET.getlist("key")))
        )
    except TickedRefused as refused:
        messages.warning(request, reason_of(refused))
    back = SaveFilterForm({"name": "-", "query": request.GET.get("back", "")})
    query = back.filters_of(namespace) if back.is_valid() else ""
    return redirect(f"{reverse('keys', args=[environment, binding])}{'?' if query else ''}{query}")


@require_POST
@permission_required("kvops.view", raise_exception=True)
def save_filter(request: HttpRequest, environment: str, binding: str) -> HttpResponse:
    """Keep the filters of the list under a name, for the person alone."""
    namespace, form = named(environment, binding), SaveFilterForm(request.POST)
    query = form.filters_of(namespace) if form.is_valid() else ""
    if not query:
        messages.error(request, _("Not saved: give a name of at most 80 characters, and set a filter first."))
        return redirect("keys", environment, binding)
    try:
        saved.save(namespace, form.cleaned_data["name"], query, by=person_of(request))
    except FilterRefused as refused:
        messages.error(request, reason_of(refused))
    else:
        messages.success(request, _("Saved. The filters are in your list on this page."))
    return redirect(f"{reverse('keys', args=[environment, binding])}?{query}")


@require_POST
@permission_required("kvops.view", raise_exception=True)
def change_filter(request: HttpRequest, environment: str, binding: str, pk: int) -> HttpResponse:
    """Rename saved filters of the person, or delete them."""
    named(environment, binding)
    kept = get_object_or_404(SavedFilter, pk=pk, person=person_of(request), binding=binding)
    form = FilterNameForm(request.POST)
    if "delete" in request.POST:
        saved.delete(kept)
        messages.success(request, _("The saved filters are deleted."))
    elif not form.is_valid():
        messages.error(request, _("Give the filters a name of at most 80 characters."))
    else:
        try:
            saved.rename(kept, form.cleaned_data["name"])
        except FilterRefused as refused:
            messages.error(request, reason_of(refused))
        else:
            messages.success(request, _("The saved filters have their new name."))
    return redirect("keys", environment, binding)
