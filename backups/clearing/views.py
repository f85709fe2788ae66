"""Scheduled clearing: the rules, one rule with its rounds, and the steps that a person takes."""

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backups.clearing import conditions, history, references, requests as clearing_requests, rounds, rules
from backups.clearing.forms import (
    ClearingAskForm,
    ClearingChangeForm,
    ClearingRuleForm,
    RoundAcceptForm,
    RoundStartForm,
    WriterAnswerForm,
)
from backups.models import Clearing, ClearingRound
from kvops import clock
from kvops.approvals import standing
from kvops.models import Scan, Schedule
from kvops.people.signin import person_of
from kvops.schedules import punctuality
from kvops.web.acting import On, Step, act, refusals_shown
from kvops.web.fields import NewestFirst
from kvops.web.pages import live_part, page_of

PAGE = 50
NAMES = 50
CLEARINGS = Clearing.objects.select_related("namespace__environment", "family", "made_by", "retired_by")
ROUNDS = ClearingRound.objects.select_related("run", "stage__generation", "approval__approver", "accepted_by")


def _answer_form(data: QueryDict, clearing: Clearing) -> WriterAnswerForm:
    return WriterAnswerForm(data, found=references.writers(clearing))


def _start_form(data: QueryDict, clearing: Clearing) -> RoundStartForm:
    return RoundStartForm(data, clearing=clearing)


STEPS: dict[str, Step[Clearing]] = {
    "ask": Step(clearing_requests.ask, _("A reviewer is asked to decide."), ClearingAskForm, ("days",)),
    "start": Step(rounds.start, _("The round has begun."), form_of=_start_form),
    "change": Step(
        clearing_requests.change,
        _("The rule is changed. Its approval ended: ask for another one."),
        ClearingChangeForm,
        ("cap", "expression", "zone", "reason"),
    ),
    "retire": Step(clearing_requests.retire, _("The rule is retired.")),
    "answer": Step(
        references.answer, _("Your answer is recorded."), None, ("hits", "kind", "reason"), form_of=_answer_form
    ),
}


@require_safe
@permission_required("kvops.view", raise_exception=True)
def index(request: HttpRequest) -> HttpResponse:
    """List the rules, newest first, with the deletions by hand against the scheduled ones."""
    found, after = page_of(NewestFirst(request.GET).narrowed(CLEARINGS), PAGE)
    context = {
        "rules": [(one, one.newest_round, standing.approval_in_force(rules.KIND, one.subject)) for one in found],
        "after": after,
        "months": history.by_month(),
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "clearing/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("kvops.operate", raise_exception=True)
def new(request: HttpRequest) -> HttpResponse:
    """Make a rule."""
    if request.method != "POST":
        return render(request, "clearing/new.html", {"form": ClearingRuleForm(initial=request.GET.dict())})
    form = ClearingRuleForm(request.POST)
    if form.is_valid():
        fields = ("family", "prefix", "only", "cap", "expression", "zone", "reason")
        chosen = {name: form.cleaned_data[name] for name in fields}
        namespace = form.cleaned_data["namespace"]
        with refusals_shown(request, On(namespace.environment, f"namespace:{namespace.pk}"), form=form):
            made = clearing_requests.create(namespace, by=person_of(request), **chosen)
            messages.success(request, _("The rule is made. It does nothing before a reviewer approved it."))
            return redirect("backups:clearing", made.pk)
    return render(request, "clearing/new.html", {"form": form}, status=422)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a rule: its approval, the keys that it would clear now, the code that writes them, and its rounds."""
    return _page(request, get_object_or_404(CLEARINGS, pk=pk))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that is refreshed; after the round ends, the whole page is loaded again."""
    found = get_object_or_404(CLEARINGS, pk=pk)
    newest = found.newest_round
    context = {"clearing": found, "newest": newest}
    return live_part(request, "clearing/detail.html", context, moving=_moving(newest))


def _moving(newest: ClearingRound | None) -> bool:
    return newest is not None and newest.state in {"running", "proving"}


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Take a step of the rule."""
    found = get_object_or_404(CLEARINGS, pk=pk)
    return act(
        request,
        STEPS[step],
        found,
        on=On(found.namespace.environment, found.subject, str(found)[:200]),
        to=reverse("backups:clearing", args=[pk]),
        show=lambda form, status: _page(request, CLEARINGS.get(pk=pk), typed={step: form}, status=status),
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def accept(request: HttpRequest, pk: int) -> HttpResponse:
    """Record the test of the application after a round."""
    found = get_object_or_404(ROUNDS.select_related("clearing__namespace__environment"), pk=pk)
    rule = found.clearing
    return act(
        request,
        Step(rounds.accept, _("The round is accepted."), RoundAcceptForm, ("note",)),
        found,
        on=On(rule.namespace.environment, rule.subject, str(rule)[:200]),
        to=reverse("backups:clearing", args=[rule.pk]),
        show=lambda form, status: _page(
            request, CLEARINGS.get(pk=rule.pk), typed={f"accept-{pk}": form}, status=status
        ),
    )


def _page(
    request: HttpRequest, found: Clearing, *, typed: dict[str, forms.Form | None] | None = None, status: int = 200
) -> HttpResponse:
    typed, person, now = typed or {}, person_of(request), clock.now()
    schedule = Schedule.objects.get(job=clearing_requests.JOB, subject=found.subject)
    approval, in_force = standing.asked_and_in_force(rules.KIND, found.subject)[found.subject]
    accepted = conditions.accepted_rounds(found)
    past, after = page_of(NewestFirst(request.GET).narrowed(ROUNDS.filter(clearing=found)), PAGE)
    newest = found.newest_round if request.GET.get("after") else next(iter(past), None)
    answer = typed.get("answer")
    writers = references.writers(found)
    timed = {"cap": found.cap, "expression": schedule.expression, "zone": schedule.zone, "reason": found.reason}
    context = {
        "clearing": found,
        "environment": found.namespace.environment,
        "standing": next(punctuality.punctuality_of([schedule], now)),
        "approval": approval,
        "outdated": in_force is not None and rules.rule_digest(found, in_force) != in_force.digest,
        "in_force": in_force,
        "is_approver": in_force is not None and in_force.approver_id == person.pk,
        "not_accepted": conditions.not_accepted(found, accepted) if found.retired_at is None else "",
        "accepted": accepted,
        "dry": rules.dry_run(found, after=request.GET.get("name", ""), limit=NAMES, now=now),
        "scan": Scan.objects.newest(found.namespace),
        "writers": writers,
        "newest": newest,
        "moving": _moving(newest),
        "rounds": [(one, typed.get(f"accept-{one.pk}") or RoundAcceptForm()) for one in past],
        "after": after,
        "ask_form": typed.get("ask") or ClearingAskForm(),
        "start_form": typed.get("start") or RoundStartForm(clearing=found),
        "change_form": typed.get("change") or ClearingChangeForm(initial=timed),
        "answer_form": answer or WriterAnswerForm(found=writers),
        "chosen": answer["hits"].value() if answer else [],
        "may_operate": request.user.has_perm("kvops.operate"),
    }
    return render(request, "clearing/detail.html", context, status=status)
