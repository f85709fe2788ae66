"""The pages of help."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from kvops.help import alarms, words


@require_safe
@permission_required("kvops.view", raise_exception=True)
def all_alarms(request: HttpRequest) -> HttpResponse:
    """Show each alarm with its meaning and the next step."""
    return render(request, "help/alarms.html", {"groups": alarms.GROUPS})


@require_safe
@permission_required("kvops.view", raise_exception=True)
def all_words(request: HttpRequest) -> HttpResponse:
    """Show each word of the product with its meaning, in both languages."""
    return render(request, "help/words.html", {"groups": words.GROUPS})
