"""Keys without an expiration: per family and namespace, and over time."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from kvops.inventory import expiry as key_expiry
from kvops.inventory.forms import ExpiryFilter


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """Show the keys without an expiration by family, and the trend of the caches or of one family."""
    form = ExpiryFilter(request.GET)
    context = {
        "form": form,
        "family": form.chosen_family,
        "namespaces": key_expiry.by_namespace(),
        "trend": key_expiry.trend(form.chosen_family),
        "days": key_expiry.TREND_DAYS,
    }
    return render(request, "expiry/index.html", context)
