"""The answers to a request that is not allowed."""

from django.http import HttpRequest, HttpResponse
from django.views.defaults import permission_denied

from audit import log
from audit.actions import Action
from kvops.models import User


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Show that the request is not allowed. A refused change is recorded in the audit log."""
    if request.method == "POST" and isinstance(request.user, User):
        log.refusal(Action.REFUSED, actor=request.user.person.actor, details={"address": request.path[:500]})
    return permission_denied(request, exception)
