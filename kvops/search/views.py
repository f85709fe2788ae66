"""The search: its page, and the results in the palette of every page."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from kvops.models import User
from kvops.search import results
from kvops.search.forms import SearchForm

PAGE = 50
"""Results of each group on the page."""
IN_PALETTE = 8
"""Results of each group in the palette."""


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show the results on a page of their own; the header's form leads here where no script runs."""
    return render(request, "search/index.html", _found(request, PAGE))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def palette(request: HttpRequest) -> HttpResponse:
    """Show the first results of each group, as a fragment for the palette."""
    return render(request, "search/results.html", _found(request, IN_PALETTE))


def _found(request: HttpRequest, most: int) -> dict[str, object]:
    form = SearchForm(request.GET)
    wanted = form.wanted()
    user = request.user
    groups = results.find(wanted, user, most) if isinstance(user, User) else []
    return {
        "form": form,
        "wanted": wanted,
        "groups": groups,
        "found": sum(len(group.items) for group in groups),
        "more": any(group.more for group in groups),
        "typed": request.GET.get("q", ""),
    }
