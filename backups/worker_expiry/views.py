"""Expiry Workers: the rules, one rule with its rounds, its generated files, and the steps that a person takes."""

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.models import WorkerRound, WorkerRule
from backups.worker_expiry import conditions, requests as worker_requests, rounds, rules, script, signing
from backups.worker_expiry.forms import WorkerAcceptForm, WorkerAskForm, WorkerChangeForm, WorkerRuleForm
from kvops.approvals import standing
from kvops.inventory import browse
from kvops.inventory.selection import HOUR
from kvops.people.signin import person_of
from kvops.schedules import cron as crons
from kvops.web.acting import On, Step, act, refusals_shown
from kvops.web.fields import NewestFirst
from kvops.web.paging import page_of

PAGE = 50
NAMES = 50
WORKER_RULES = WorkerRule.objects.select_related("namespace__environment", "family", "made_by", "retired_by")
ROUNDS = WorkerRound.objects.select_related("run", "approval", "accepted_by")
FIELDS = ("ttl", "cap", "cron", "reason")
STEPS: dict[str, Step[WorkerRule]] = {
    "ask": Step(worker_requests.ask, _("A reviewer is asked to decide."), WorkerAskForm, ("days",)),
    "change": Step(
        worker_requests.change,
        _("The rule is changed. Its approval ended: ask for another one, and deploy the new files."),
        WorkerChangeForm,
        FIELDS,
    ),
    "retire": Step(worker_requests.retire, _("The rule is retired. Delete its Worker in Cloudflare.")),
}


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List the rules, newest first."""
    found, after = page_of(NewestFirst(request.GET).narrowed(WORKER_RULES), PAGE)
    context = {
        "rules": [(one, one.newest_round, standing.approval_in_force(rules.KIND, one.subject)) for one in found],
        "after": after,
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "worker_expiry/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def new(request: HttpRequest) -> HttpResponse:
    """Make a rule."""
    if request.method != "POST":
        return render(request, "worker_expiry/new.html", {"form": WorkerRuleForm(initial=request.GET.dict())})
    form = WorkerRuleForm(request.POST)
    if form.is_valid():
        namespace, family = form.cleaned_data["namespace"], form.cleaned_data["family"]
        chosen = {name: form.cleaned_data[name] for name in FIELDS}
        with refusals_shown(request, On(namespace.environment, f"namespace:{namespace.pk}"), form=form):
            made = worker_requests.create(namespace, family=family, by=person_of(request), **chosen)
            messages.success(request, _("The rule is made. It does nothing before it is approved and deployed."))
            return redirect("backups:worker", made.pk)
    return render(request, "worker_expiry/new.html", {"form": form}, status=422)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a rule: its approval, the keys that a round would take now, its files, and its rounds."""
    return _page(request, get_object_or_404(WORKER_RULES, pk=pk))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def module(_request: HttpRequest, pk: int) -> HttpResponse:
    """The generated module as a file."""
    found = get_object_or_404(WORKER_RULES, pk=pk)
    return _file(script.worker_script(found), "worker.js", "text/javascript")


@require_safe
@permission_required("kvops.view", raise_exception=True)
def configuration(_request: HttpRequest, pk: int) -> HttpResponse:
    """The configuration as a file; none without an approval in force."""
    found = get_object_or_404(WORKER_RULES, pk=pk)
    approval = standing.approval_in_force(rules.KIND, found.subject)
    if approval is None:
        raise Http404
    return _file(script.configuration(found, approval), "wrangler.jsonc", "application/json")


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Take a step of the rule."""
    found = get_object_or_404(WORKER_RULES, pk=pk)
    return act(
        request,
        STEPS[step],
        found,
        on=On(found.namespace.environment, found.subject, str(found)[:200]),
        to=reverse("backups:worker", args=[pk]),
        show=lambda form, status: _page(request, WORKER_RULES.get(pk=pk), typed={step: form}, status=status),
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def accept(request: HttpRequest, pk: int) -> HttpResponse:
    """Record the test of the application after a round."""
    found = get_object_or_404(ROUNDS.select_related("rule__namespace__environment", "rule__family"), pk=pk)
    rule = found.rule
    return act(
        request,
        Step(rounds.accept, _("The round is accepted."), WorkerAcceptForm, ("note",)),
        found,
        on=On(rule.namespace.environment, rule.subject, str(rule)[:200]),
        to=reverse("backups:worker", args=[rule.pk]),
        show=lambda form, status: _page(
            request, WORKER_RULES.get(pk=rule.pk), typed={f"accept-{pk}": form}, status=status
        ),
    )


def _file(text: str, name: str, kind: str) -> HttpResponse:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(text, content_type=f"{kind}; charset=utf-8", headers=disposition)


def _page(
    request: HttpRequest, found: WorkerRule, *, typed: dict[str, forms.Form | None] | None = None, status: int = 200
) -> HttpResponse:
    typed = typed or {}
    approval, in_force = standing.asked_and_in_force(rules.KIND, found.subject)[found.subject]
    others, accepted = script.others(found.family), conditions.accepted_rounds(found)
    past, after = page_of(NewestFirst(request.GET).narrowed(ROUNDS.filter(rule=found)), PAGE)
    timed = {"hours": found.ttl // HOUR, "cap": found.cap, "cron": found.cron, "reason": found.reason}
    context = {
        "rule": found,
        "environment": found.namespace.environment,
        "hours": found.ttl // HOUR,
        "words": crons.words(found.cron),
        "others": others,
        "script_sha256": script.script_sha256(found, others),
        "worker_name": script.worker_name(found),
        "secret_name": script.KEY,
        "key_variable": signing.variable(found.pk),
        "has_key": bool(signing.key_of(found.pk)),
        "approval": approval,
        "in_force": in_force,
        "outdated": in_force is not None and rules.rule_digest(found, in_force) != in_force.digest,
        "not_accepted": conditions.not_accepted(found, accepted) if found.retired_at is None else "",
        "accepted": accepted,
        "dry": rules.dry_run(found, after=request.GET.get("name", ""), limit=NAMES),
        "scan": browse.newest_scan(found.namespace),
        "rounds": [(one, typed.get(f"accept-{one.pk}") or WorkerAcceptForm()) for one in past],
        "after": after,
        "ask_form": typed.get("ask") or WorkerAskForm(),
        "change_form": typed.get("change") or WorkerChangeForm(initial=timed),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "worker_expiry/detail.html", context, status=status)
