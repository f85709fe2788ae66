"""The page of the rotation of settings values. It shows names, ages and dates, and no value."""

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backups.rotation.forms import RotationFilter

PAGE = 100


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List the settings keys with age, due date, owner and state."""
    form = RotationFilter(request.GET)
    found, start = form.ages(), form.start
    context = {
        "form": form,
        "values": found[start : start + PAGE],
        "after": start + PAGE if len(found) > start + PAGE else None,
        "total": len(found),
        "filtered": any(request.GET.values()),
        "ruled": any(family.rotate_days for family in form.families),
    }
    return render(request, "rotation/index.html", context)
