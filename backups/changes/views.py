"""Changes of keys: the list, the editor, and one page with every step of one change."""

from django import forms
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.bucket import protection as bucket_protection
from backups.bucket.store import StoreError
from backups.changes import (
    requests as change_requests,
    reverse as reverse_change,
    shown,
)
from backups.changes.bulk.forms import BulkFilter
from backups.changes.forms import (
    AcceptChangeForm,
    ChangeFilter,
    ChangeStartForm,
    RevealReasonForm,
    SubmitChangeForm,
)
from backups.changes.moves import ChangeRefused
from backups.models import KeyChange
from kvops import clock, timing
from kvops.models import Category, Environment, Family, Person, Run
from kvops.people.signin import insist_fresh, person_of
from kvops.runs import driver as run_driver
from kvops.web.acting import On, Step, act, refusals_shown
from kvops.web.pages import listed, live_part

PAGE = 50
State = KeyChange.State
RELATED = ("environment", "namespace__environment", "asked_by", "approval__approver", "run", "repeats", "reverses")
BACKUP = ("generation__run", "generation__verify_run")
CHANGES = KeyChange.objects.select_related(*RELATED, *BACKUP, "prepare_run", "erase_run", "accepted_by")


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List changes, newest first, and whether each bucket deletes their proposals by itself."""
    form = ChangeFilter(request.GET)
    context = listed(request, form, "changes", form.changes(), PAGE)
    context |= {
        "bulk_open": BulkFilter({"state": "open"}).bulk_changes().count(),
        "buckets": [_bucket(one) for one in Environment.objects.order_by("order")],
        "days": timing.CACHE_RETENTION_DAYS,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "changes/list.html", context)


def _bucket(environment: Environment) -> dict[str, object]:
    protection = bucket_protection.known(environment)
    expires = protection.proposals_expire
    settings = Family.objects.filter(category=Category.SETTINGS).values("binding")
    namespaces = environment.namespaces.filter(binding__in=settings).order_by("binding")
    return {"environment": environment, "protection": protection, "expires": expires, "namespaces": namespaces}


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one change: its proposal, the next action, and the result."""
    return _page(request, _change(pk))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that is refreshed; after the run or the decision, the whole page is loaded again."""
    change = _change(pk)
    run = _shown_run(change)
    context = {"change": change, "run": run}
    moving = change.state == State.SUBMITTED or (run is not None and run.is_open)
    return live_part(request, "changes/detail.html", context, moving=moving)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.view_values", raise_exception=True)
@never_cache
def reveal(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the page with both values, for a minute. allauth sends this request again after asking for the password."""
    change = _change(pk)
    if request.method != "POST":
        return redirect("backups:change", pk)
    insist_fresh(request)
    form = RevealReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, change, reveal=form, status=422)
    on = On(change.environment, change.subject, str(change))
    with refusals_shown(request, on, form=form, also=(StoreError,)):
        values = shown.reveal(change, reason=form.cleaned_data["reason"], by=person_of(request))
        page = _page(request, change, values=values)
        page["Refresh"] = f"{timing.REVEALED}; url={reverse('backups:change', args=[pk])}"
        return page
    return _page(request, change, reveal=form, status=409)


def _resume(change: KeyChange, *, by: Person) -> None:
    """Resume the run after a failure or a stop."""
    run = _run(change)
    if run is None:
        raise ChangeRefused(_("There is no run to resume."))
    run_driver.resume(run, actor=by.actor)


def _end(change: KeyChange, *, by: Person) -> None:
    """Give the change up; if its run was stopped or failed, write nothing more."""
    if change.state == State.WRITING:
        change_requests.end_early(change, by=by)
    else:
        change_requests.give_up(change, by=by)


STEPS: dict[str, Step[KeyChange]] = {
    "submit": Step(
        change_requests.submit,
        gettext_lazy("Another person is asked to approve exactly this."),
        fields=("reason", "repeats", "no_qa_because"),
        form_of=lambda data, change: SubmitChangeForm(data, change=change),
    ),
    "start": Step(
        change_requests.start,
        gettext_lazy("The change has begun."),
        form_of=lambda data, change: ChangeStartForm(data, change=change),
    ),
    "again": Step(_resume, gettext_lazy("The run resumes where it stopped.")),
    "end": Step(_end, gettext_lazy("Nothing more is written.")),
    "accept": Step(
        change_requests.accept, gettext_lazy("It is recorded that the application works."), AcceptChangeForm, ("note",)
    ),
    "reverse": Step(
        reverse_change.prepare,
        gettext_lazy("The reverse change is being prepared. It is the newest one on the list, and needs an approval."),
    ),
}


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Take a step of the change."""
    change = _change(pk)
    return act(
        request,
        STEPS[step],
        change,
        on=On(change.environment, change.subject),
        to=reverse("backups:change", args=[pk]),
        show=lambda form, status: _page(request, _change(pk), form=form, status=status),
    )


def _page(
    request: HttpRequest,
    change: KeyChange,
    *,
    form: forms.Form | None = None,
    reveal: RevealReasonForm | None = None,
    values: shown.RevealedValues | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page of a change; `form` is a submitted form with the person's input, `values` are revealed."""
    person, run, turned = person_of(request), _run(change), change.reversed_by.order_by("-pk").first()
    key = (
        f"{reverse('key', args=[change.environment.slug, change.namespace.binding])}?{urlencode({'name': change.name})}"
    )
    unprepared = _why_unprepared(change)
    context = {
        "change": change,
        "shown_state": "ready" if change.state == State.DRAFT and not unprepared else change.shown_state,
        "environment": change.environment,
        "run": _shown_run(change),
        "form": form or _form(change),
        "reveal_form": reveal or RevealReasonForm(),
        "values": values,
        "revealed": timing.REVEALED,
        "address": reverse("backups:change", args=[change.pk]),
        "key_address": key,
        "why_not": _why_not(change, person),
        "why_not_ready": _why_not_asker(change, person) or unprepared,
        "may_operate": request.user.has_perm("kvops.operate"),
        "may_view": request.user.has_perm("kvops.view_values"),
        "may_reveal": bool(change.object_sha256) and change.is_open and shown.may_reveal(change, person),
        "lies_still": run is not None and run.state in Run.RESUMABLE and change.is_open,
        "reverse": turned,
        "reversed": turned is not None and (turned.is_open or turned.outcome == KeyChange.Outcome.WRITTEN),
    }
    return render(request, "changes/detail.html", context, status=status)


def _form(change: KeyChange) -> forms.Form | None:
    """The form of the next step."""
    match change.state:
        case State.DRAFT:
            return SubmitChangeForm(change=change)
        case State.APPROVED:
            return ChangeStartForm(change=change)
        case State.DONE:
            return AcceptChangeForm()
    return None


def _why_not_asker(change: KeyChange, person: Person) -> str:
    """The reason why this person cannot submit the draft; empty if they can."""
    try:
        change_requests.insist_asker(change, person)
    except ChangeRefused as refused:
        return str(refused)
    return ""


def _why_unprepared(change: KeyChange) -> str:
    """The reason why nobody can submit the draft now; empty if it is prepared, or no draft any more."""
    if change.state != State.DRAFT:
        return ""
    try:
        change_requests.insist_prepared(change)
    except ChangeRefused as refused:
        return str(refused)
    return ""


def _why_not(change: KeyChange, person: Person) -> str:
    """The reason why this person cannot take the next step; empty if they can."""
    approval = change.approval
    if approval is None or change.state not in {State.APPROVED, State.WRITING}:
        return ""
    if approval.approver_id == person.pk:
        return _("You approved this; another person must start it.")
    if change.state == State.APPROVED and approval.use_by and clock.seconds_until(approval.use_by) <= 0:
        return _("The deadline for using the approval has passed. Withdraw it and prepare the change again.")
    return ""


def _run(change: KeyChange) -> Run | None:
    """The current or last run of the change; the erasure of its proposal is shown apart."""
    return change.run or change.prepare_run


def _shown_run(change: KeyChange) -> Run | None:
    """The run that the page follows: the backup of the old value until it is verified, else the run of the change."""
    run, backup = _run(change), change.generation
    if backup is None or change.state != State.DRAFT or (run is not None and run.state != Run.State.SUCCEEDED):
        return run
    return backup.verify_run or backup.run


def _change(pk: int) -> KeyChange:
    return get_object_or_404(CHANGES, pk=pk)
