"""The code references of one stage, and a person's answers to them."""

from collections.abc import Sequence
from http import HTTPStatus

from django import forms
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from backups.cleanup import cards, references as code_references
from backups.cleanup.forms import AnswerForm, ListForm
from backups.cleanup.next_action import next_action
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.references import BEFORE_SUBMIT, StageHit, StageReferences
from backups.models import CleanupStage
from kvops.models import ReferenceAnswer, ReferenceHit
from kvops.people.signin import person_of
from kvops.references import deployed
from kvops.references.store import contradict
from kvops.web.acting import On, Step, act
from kvops.web.pages import page_of

PAGE = 50
FIELDS = ("hits", "kind", "reason", "follow_up", "owner", "due")
ANSWER: Step[CleanupStage] = Step(
    code_references.answer,
    _("Your answer is recorded."),
    fields=FIELDS,
    form_of=lambda data, stage: _answer_form(data, StageReferences.of(stage).found),
)


def _answer_form(data: QueryDict, found: Sequence[StageHit]) -> AnswerForm:
    """The form as it was sent. With `all`, it answers each place without an answer; the page offers it if it shows all.

    A place that came since the page was shown is not answered.
    """
    if "all" not in data:
        return AnswerForm(data, found=found)
    chosen, open_ones = data.copy(), {str(one.hit.pk) for one in found if one.answer is None}
    chosen.setlist("hits", [pk for pk in data.getlist("open") if pk in open_ones])
    return AnswerForm(chosen, found=found)


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """List the code references of the stage, unanswered and writers first."""
    return _page(request, cards.stage_or_404(pk), None, 200)


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def answer(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer one or several code references."""
    stage = cards.stage_or_404(pk)
    answered = act(
        request,
        ANSWER,
        stage,
        on=On(stage.environment, f"stage:{pk}", label=str(stage)[:600]),
        to=reverse("backups:stage_references", args=[pk]),
        show=lambda form, status: _page(request, cards.stage_or_404(pk), form, status),
    )
    if answered.status_code == HTTPStatus.FOUND and StageReferences.of(stage).done:
        return redirect("backups:cleanup", stage.request_id)  # the next step is there
    return answered


def _page(request: HttpRequest, stage: CleanupStage, typed: forms.Form | None, status: int) -> HttpResponse:
    facts = StageFacts(stage, may_operate=request.user.has_perm("kvops.operate"))
    references = facts.references
    search, found, searches = references.search, references.found, references.searches
    start = ListForm(request.GET).chosen()[1] or 0
    shown, after = page_of(list(enumerate(found, 1))[start:], PAGE, lambda row: row[0])
    texts = ReferenceHit.objects.in_bulk([one.hit.pk for _number, one in shown])
    earlier = _earlier(stage, [one for _number, one in shown])
    rows = [(one, texts[one.hit.pk], earlier.get(one.hit.fingerprint)) for _number, one in shown]
    context = {
        "stage": stage,
        "environment": stage.environment,
        "references": references,
        "search": search,
        "search_page": code_references.search_page(stage.environment.slug),
        "others": searches[1:],
        "contradicting": search and any(contradict(search, other) for other in searches[1:]),
        "deployed": deployed.state(search, stage.namespace, *searches[1:], known=references.known) if search else None,
        "total": len(found),
        "rows": rows,
        "chosen": typed["hits"].value() if typed else [],
        "open_here": [one.hit.pk for _number, one in shown if one.answer is None],
        "after": after,
        "form": typed or AnswerForm(found=found),
        "may_answer": stage.state in BEFORE_SUBMIT and stage.request.is_open and facts.may_operate,
        "next": next_action(stage, person_of(request), facts),
    }
    return render(request, "cleanup/references.html", context, status=status)


def _earlier(stage: CleanupStage, found: Sequence[StageHit]) -> dict[str, ReferenceAnswer]:
    """The newest answer for another family to each place without an answer, by fingerprint. It answers nothing here."""
    places = {one.hit.fingerprint for one in found if one.answer is None}
    if not places:
        return {}
    given = ReferenceAnswer.objects.filter(fingerprint__in=places).exclude(family=stage.request.family_id)
    return {one.fingerprint: one for one in given.select_related("family", "by", "owner").order_by("pk")}
