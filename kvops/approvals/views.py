"""The approval pages: the inbox, the evidence, the decision."""

import json
from datetime import datetime
from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from audit.actions import Action
from audit.models import Entry
from kvops import clock
from kvops.approvals import gate as approval_gate, prepared_changes, risks
from kvops.approvals.forms import DecidedFilter, DecisionForm
from kvops.cloudflare import CloudflareError
from kvops.models import ApprovalRequest, Environment, Person, PreparedChange
from kvops.operations import registry
from kvops.people.signin import insist_fresh, insist_typed_for_this, person_of
from kvops.web.acting import On, refusals_shown
from kvops.web.fields import OptionalReasonForm
from kvops.web.pages import listed

PAGE = 50
SHOWN = 100
"""Rows. The most open requests and timeline entries on a page; in practice there are fewer."""

State = ApprovalRequest.State
_TIMES = {"accepted_at", "at", "ends_at", "finished_at", "locked_until", "searched_at", "until"}
_TEMPLATES: dict[str, str] = dict.fromkeys(
    [ApprovalRequest.Kind.ENVIRONMENT, ApprovalRequest.Kind.POLICY, ApprovalRequest.Kind.FAMILY],
    "approvals/_change.html",
)
"""The templates of the evidence that are not named after the kind."""
REQUESTS = ApprovalRequest.objects.select_related("environment", "requester", "approver", "starter")


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List the requests that wait for the person, those that wait for others, and the decided ones."""
    person = person_of(request)
    form = DecidedFilter(request.GET)
    mine = REQUESTS.waiting_for(person) if request.user.has_perm("kvops.review") else REQUESTS.none()
    context = {
        **listed(
            request, form, "history", form.requests().select_related("environment", "requester", "approver"), PAGE
        ),
        "mine": mine.order_by("decide_by")[:SHOWN],
        "others": REQUESTS.pending().exclude(pk__in=mine.values("pk")).order_by("decide_by")[:SHOWN],
        "prepared": PreparedChange.objects.filter(approval=None, applied_at=None, discarded_at=None),
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_review": request.user.has_perm("kvops.review"),
    }
    return render(request, "approvals/list.html", context)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one request with everything a reviewer needs to decide."""
    approval = get_object_or_404(REQUESTS, pk=pk)
    return _page(request, approval, DecisionForm(approval))


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.review", raise_exception=True)
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Approve or reject. A GET leads to the request: a password sent twice ends here, an address typed by hand too."""
    if request.method == "POST":
        return _decide(request, pk)
    state = get_object_or_404(REQUESTS, pk=pk).get_state_display()
    if urlsplit(request.META.get("HTTP_REFERER", "")).path == reverse("account_reauthenticate"):
        messages.info(
            request, _("Your password was sent twice; it counts once. The request is: %(state)s.") % {"state": state}
        )
    return redirect("approval", pk)


def _decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Decide. allauth sends this request again after asking for the password, so everything is checked again.

    For production the password is asked for at each decision; elsewhere one of the last five minutes counts.
    """
    approval = get_object_or_404(REQUESTS, pk=pk)
    form = DecisionForm(approval, request.POST.dict())
    if not form.is_valid():
        return _page(request, approval, form, status=422)
    if approval.reaches_production:
        insist_typed_for_this(request)
    else:
        insist_fresh(request)
    chosen = form.cleaned_data
    decision = {"by": person_of(request), "shown": chosen["shown"], "reason": chosen["reason"]}
    with refusals_shown(request, _on(approval), action=Action.APPROVAL_REFUSED):
        if chosen["decision"] == "approve":
            approval_gate.approve(approval, **decision, accepted=form.accepted())
        else:
            approval_gate.reject(approval, **decision)
        messages.success(request, _("Your decision is recorded."))
        kind = registry.REQUESTS[approval.kind]
        if approval.state == State.APPROVED and kind.at_once and kind.use:
            kind.use(approval, by=approval.requester)
            messages.success(request, _("The change is in force."))
    return redirect("approval", pk)


@require_POST
@permission_required("kvops.view", raise_exception=True)
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Withdraw the request."""
    approval = get_object_or_404(REQUESTS, pk=pk)
    if not _may_withdraw(approval, person_of(request)):
        raise PermissionDenied
    with refusals_shown(request, _on(approval)):
        approval_gate.withdraw(approval, by=person_of(request), reason=OptionalReasonForm(request.POST).given())
        messages.success(request, _("The request is withdrawn."))
    return redirect("approval", pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def apply(request: HttpRequest, pk: int) -> HttpResponse:
    """Put an approved change of the environments or of the policy in force."""
    approval = get_object_or_404(REQUESTS, pk=pk)
    use = registry.REQUESTS[approval.kind].use
    if use is None:
        raise Http404
    with refusals_shown(request, _on(approval), also=(CloudflareError,)):
        use(approval, by=person_of(request))
        released = approval.kind == ApprovalRequest.Kind.RELEASE_STOP
        done = _("The stop is released. An operator lets each run go on.") if released else _("The change is in force.")
        messages.success(request, done)
    return redirect("approval", pk)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def submit_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask a reviewer to decide on a change that a command prepared."""
    change = get_object_or_404(PreparedChange, pk=pk)
    with refusals_shown(request, On(None, f"change:{pk}")):
        approval = prepared_changes.submit_change(change, by=person_of(request))
        return redirect("approval", approval.pk)
    return redirect("approvals")


def _page(request: HttpRequest, approval: ApprovalRequest, form: DecisionForm, status: int = 200) -> HttpResponse:
    person = person_of(request)
    evidence = json.loads(approval.evidence, object_hook=_with_times)
    context = {
        "approval": approval,
        "environment": approval.environment,
        # A change of the policy or of the environments reaches production too.
        "band": approval.environment or Environment.objects.filter(production=True).last(),
        "evidence": evidence,
        "definition": json.dumps(json.loads(approval.evidence).get("definition"), indent=2, ensure_ascii=False),
        "main": _TEMPLATES.get(approval.kind, f"approvals/_{approval.kind}.html"),
        "subject_id": approval.subject.partition(":")[2],
        "form": form,
        "accepted": [risks.sentence(risk, approval) for risk in approval.accepted],
        "why_not": why_not(approval, person, may_review=request.user.has_perm("kvops.review")),
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_withdraw": _may_withdraw(approval, person),
        "applies_itself": bool(registry.REQUESTS[approval.kind].use),
        "is_approver": approval.approver == person,
        "in_time": approval.use_by is not None and clock.seconds_until(approval.use_by) > 0,
        "entries": Entry.objects.filter(subject=f"approval:{approval.pk}").order_by("seq")[:SHOWN],
    }
    return render(request, "approvals/detail.html", context, status=status)


def _with_times(found: dict[str, object]) -> dict[str, object]:
    """Convert the times in the evidence to datetimes, so that they are shown like all other times."""
    return {name: _time(value) if name in _TIMES else value for name, value in found.items()}


def _time(value: object) -> object:
    """The datetime of a text; a value that is none, as in a rule about a column named `at`, stays as it is."""
    try:
        return datetime.fromisoformat(str(value)) if value else None
    except ValueError:
        return value


def why_not(approval: ApprovalRequest, person: Person, *, may_review: bool) -> str:
    """The reason why the person cannot decide now, in the reader's language; empty if they can."""
    if approval.state != State.PENDING:
        return _("There is nothing to decide any more.")
    if reason := approval_gate.why_not_by(approval, person):
        return str(reason)
    if not may_review:
        return _("Only a reviewer can decide.")
    if clock.seconds_until(approval.decide_by) <= 0:
        return _("The deadline for the decision has passed. An operator can ask again.")
    return ""


def _may_withdraw(approval: ApprovalRequest, person: Person) -> bool:
    return registry.REQUESTS[approval.kind].has_asker(person)


def _on(approval: ApprovalRequest) -> On:
    return On(approval.environment, f"approval:{approval.pk}", approval.title, approval.digest)
