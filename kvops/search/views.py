"""The search: its page, and the results in the palette of every page."""

from django import forms
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from kvops.models import User
from kvops.search import results
from kvops.search.matching import SearchText, read

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


class SearchForm(forms.Form):
    """One text. A text that cannot be searched for finds nothing."""

    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=512,
        strip=False,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off", "spellcheck": "false"}),
    )

    def wanted(self) -> SearchText:
        """The text to search for; empty if it is not valid."""
        return read(self.cleaned_data["q"]) if self.is_valid() else read("")
