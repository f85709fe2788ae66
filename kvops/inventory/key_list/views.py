"""Beside the list of keys: the ticked keys, and a namespace beside that of another environment."""

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from kvops.inventory import browse
from kvops.inventory.key_list import actions, rows, side_by_side
from kvops.inventory.key_list.actions import TickedRefused
from kvops.inventory.key_list.forms import PairFilter, TickedForm, filters_of, ticked_names
from kvops.inventory.views import PAGE, named
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
    query = filters_of(namespace, request.GET.get("back", ""))
    return redirect(f"{reverse('keys', args=[environment, binding])}{'?' if query else ''}{query}")
