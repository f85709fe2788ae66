"""Messages about approval requests, and their recipients besides those that every notice of its kind has."""

from datetime import timedelta

from django.db.models import CharField, Exists, OuterRef, Q, Value
from django.db.models.functions import Cast, Concat, Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from audit import log
from kvops import timing
from kvops.approvals import titles
from kvops.models import ApprovalRequest, Notification, NotificationEvent, Person, Role
from kvops.notifications import outbox
from kvops.operations import registry
from kvops.wording import moment, say, translated

State = ApprovalRequest.State


def asked(request: ApprovalRequest) -> None:
    """Tell the reviewers, and the owners of what it is about, that a request waits. The requester is not told."""
    owners = registry.REQUESTS[request.kind].owners
    _tell(
        NotificationEvent.APPROVAL_WAITING,
        request,
        title=say(_("Waits for a decision: %(what)s"), what=_what(request)),
        until=say(_("To be decided by %(time)s."), time=moment(request.decide_by)),
        to=[*owners(request)] if owners else [],
        but=request.requester,
    )


def announce_decision(request: ApprovalRequest, by: Person | None = None) -> None:
    """Tell the requester that the request was approved, rejected, withdrawn by another person, or expired."""
    sentences = {
        State.APPROVED: _("Approved by %(name)s: %(what)s"),
        State.REJECTED: _("Rejected by %(name)s: %(what)s"),
        State.WITHDRAWN: _("Withdrawn by %(name)s: %(what)s"),
        State.EXPIRED: _("Expired: %(what)s"),
    }
    until = request.use_by if request.state == State.APPROVED else None
    _tell(
        NotificationEvent.APPROVAL_DECIDED,
        request,
        title=say(sentences[State(request.state)], name=by.name if by else "KVOps", what=_what(request)),
        until=say(_("To be used by %(time)s."), time=moment(until)) if until else translated(request.why),
        occasion=request.state,
        to=[request.requester],
        but=by,
    )


def expiring() -> int:
    """Announce requests that expire soon, once each. Return their number. `sweep` calls it."""
    told = Notification.objects.filter(
        event=NotificationEvent.APPROVAL_EXPIRING,
        occasion=OuterRef("state"),
        subject=Concat(Value("approval:"), Cast(OuterRef("pk"), CharField())),
    )
    soon = Q(state=State.PENDING, decide_by__lt=Now() + timedelta(seconds=timing.DECIDE_SOON)) | Q(
        state=State.APPROVED, use_by__lt=Now() + timedelta(seconds=timing.USE_SOON)
    )
    found = ApprovalRequest.objects.filter(soon, ~Exists(told)).select_related("environment", "requester", "approver")
    for request in found[: outbox.BATCH]:
        pending = request.state == State.PENDING
        sentence = _("To be decided by %(time)s.") if pending else _("To be used by %(time)s.")
        with log.transaction():
            _tell(
                NotificationEvent.APPROVAL_EXPIRING,
                request,
                title=say(_("About to expire: %(what)s"), what=_what(request)),
                until=say(sentence, time=moment(request.decide_by if pending else request.use_by)),
                occasion=request.state,
                roles=[Role.REVIEWER] if pending else [],
                to=[] if pending else [request.requester],
                but=request.requester if pending else None,
            )
    return len(found)


def _tell(
    event: NotificationEvent,
    request: ApprovalRequest,
    *,
    title: str,
    until: str,
    occasion: str = "",
    roles: list[Role] | None = None,
    to: list[Person] | None = None,
    but: Person | None = None,
) -> None:
    asked_by = say(_("Asked for by %(name)s."), name=request.requester.name)
    outbox.post(
        event,
        subject=f"approval:{request.pk}",
        occasion=occasion,
        environment=request.environment,
        title=title,
        lines=[line for line in (titles.title_when_read(request), asked_by, until) if line],
        link=reverse("approval", args=[request.pk]),
        roles=roles or [],
        to=to or [],
        but=but,
    )


def _what(request: ApprovalRequest) -> str:
    kind = ApprovalRequest.Kind(request.kind).label
    if request.environment is None:
        return say("%(kind)s", kind=kind)
    return say(_("%(kind)s in %(environment)s"), kind=kind, environment=request.environment.name)
