"""Notifications: messages with their recipients, undelivered ones, and another try."""

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from audit import log
from audit.actions import Action
from kvops.models import Environment, Notification
from kvops.notifications import outbox
from kvops.notifications.forms import NotificationFilter
from kvops.people.signin import person_of
from kvops.web.pages import listed
from kvops.wording import english, reason_of

PAGE = 50


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List notifications, newest first; filters and page come from the address."""
    form = NotificationFilter(request.GET)
    context = {
        **listed(request, form, "found", form.notifications(), PAGE),
        "silent": Environment.objects.filter(slack="").order_by("order"),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "notifications/list.html", context)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Send a failed notification again."""
    return _act(request, pk, outbox.try_again, _("The notification is sent again."))


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def drop(request: HttpRequest, pk: int) -> HttpResponse:
    """Give up a failed notification."""
    return _act(request, pk, outbox.drop, _("The notification is given up."))


def _act(request: HttpRequest, pk: int, act: Callable[..., None], done: str) -> HttpResponse:
    mine, actor = get_object_or_404(Notification.objects.newest_first(), pk=pk), person_of(request).actor
    try:
        act(mine, actor=actor)
    except outbox.NotFailed as refused:
        messages.error(request, reason_of(refused))
        reason = f"notification {pk}: {english(refused)}"
        log.refusal(Action.REFUSED, actor=actor, subject=mine.subject, details={"reason": reason})
    else:
        messages.success(request, done)
    return redirect("notifications")
