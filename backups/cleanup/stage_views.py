"""One stage of a clean-up: its details, its names as a file, and the steps of a person."""

import json
from collections.abc import Sequence
from operator import attrgetter
from statistics import median
from urllib.parse import urlsplit, urlunsplit

from django.contrib.auth.decorators import permission_required
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from backups.cleanup import (
    cards,
    completion,
    evidence as cleanup_evidence,
    preparation,
    requests as cleanup_requests,
    sharing,
)
from backups.cleanup.cards import ShareAndSubmitForm
from backups.cleanup.forms import AcceptForm, BeginForm, DeletionStartForm, LeftoversForm, ListForm, OthersForm
from backups.cleanup.pages import presses
from backups.cleanup.pages.summary import summary_of
from backups.cleanup.references import StageReferences
from backups.cleanup.stages import CleanupRefused, busy_run, run_of
from backups.cleanup.views import take_on_page
from backups.models import CleanupEntry, CleanupStage
from kvops.models import Person
from kvops.people.signin import person_of
from kvops.runs import driver as run_driver
from kvops.web.acting import On, Step
from kvops.web.files import streamed
from kvops.web.pages import page_of

PAGE = 50


def _resume(stage: CleanupStage, *, by: Person) -> None:
    """Resume a deletion, or its proof, after a failure or a stop."""
    run = run_of(stage)
    if run is None:
        raise CleanupRefused(_("There is no run to resume."))
    run_driver.resume(run, actor=by.actor)


def _stop(stage: CleanupStage, *, by: Person) -> None:
    """Ask the run that works for the stage to stop at its next checkpoint."""
    run = busy_run(stage)
    if run is None:
        raise CleanupRefused(_("No run works for this stage now."))
    run_driver.request_stop(run, actor=by.actor)


STEPS: dict[str, Step[CleanupStage]] = {
    "begin": Step(
        presses.begin, _("The list of keys is fixed, and the next step is under way."), BeginForm, ("leave_out",)
    ),
    "freeze": Step(preparation.freeze_stage, _("The list of keys is fixed.")),
    "prepare": Step(preparation.prepare_stage, _("The work is under way.")),
    "share": Step(
        sharing.state,
        _("The place where the backup was shared is recorded."),
        fields=("place",),
        form_of=lambda data, stage: ShareAndSubmitForm(data, stage=stage),
    ),
    "submit": Step(
        presses.submit,
        _("Another person is asked to approve exactly this set."),
        fields=("place", "ticked"),
        form_of=lambda data, stage: ShareAndSubmitForm(
            data, stage=stage, from_elsewhere=StageReferences.of(stage).from_elsewhere
        ),
    ),
    "start": Step(
        cleanup_requests.start_deletion,
        _("The deletion has begun."),
        form_of=lambda data, stage: DeletionStartForm(data, stage=stage),
    ),
    "stop": Step(_stop, _("The run stops at its next checkpoint.")),
    "again": Step(_resume, _("The run resumes where it stopped.")),
    "leftovers": Step(completion.explain_leftovers, _("Your explanation is recorded."), LeftoversForm, ("note",)),
    "others": Step(completion.explain_others, _("Your explanation is recorded."), OthersForm, ("note",)),
    "accept": Step(
        presses.accept,
        _("The stage is accepted."),
        fields=("note", "go_on"),
        form_of=lambda data, stage: AcceptForm(data, stage=stage),
    ),
}


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one stage with its evidence, its chunks and its exceptions."""
    facts = cards.facts_or_404(pk, may_operate=request.user.has_perm("kvops.operate"))
    stage = facts.stage
    show, after = ListForm(request.GET).chosen()
    found, following = _listed(stage, show, after)
    gaps = [gap for gap in stage.chunks.values_list("gap_ms", flat=True) if gap is not None]
    context = {
        "stage": stage,
        "environment": stage.environment,
        "card": cards.card(facts, person_of(request), {}),
        "summary": summary_of(facts),
        "show": show,
        "found": found,
        "after": following,
        "exceptions": stage.exceptions.exists(),
        "reappeared": stage.reappearances.count(),
        "gap_median": round(median(gaps)) if gaps else None,
        "gap_most": max(gaps, default=None),
        "cost": cleanup_evidence.shown_cost(stage, stage.generation) if stage.generation and stage.names else None,
    }
    return render(request, "cleanup/stage.html", context)


def _listed(stage: CleanupStage, show: str, after: int | None) -> tuple[Sequence[Model], int | None]:
    """A page of the list, and the position to continue after."""
    start = -1 if after is None else after
    if show == "chunks":
        return page_of(stage.chunks.filter(number__gt=start).order_by("number"), PAGE, attrgetter("number"))
    if show == "others":
        return page_of(stage.other_names.filter(pk__gt=start).order_by("pk"), PAGE, attrgetter("pk"))
    if show == "left_out":
        kept = [(index, name) for index, name in enumerate(stage.left_out) if index > start]
        return page_of((CleanupEntry(index=index, name=name) for index, name in kept), PAGE, attrgetter("index"))
    rows = {
        "exceptions": stage.exceptions.select_related("chunk"),
        "reappeared": stage.reappearances.select_related("acknowledged_by"),
    }.get(show, stage.entries.all())
    return page_of(rows.filter(index__gt=start).order_by("index"), PAGE, attrgetter("index"))


@require_safe
@permission_required("kvops.view", raise_exception=True)
def all_names(_request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """All frozen names, one JSON string per line, in the order of their digest."""
    stage = cards.stage_or_404(pk)
    names = stage.entries.order_by("index").values_list("name", flat=True).iterator(10_000)
    lines = (f"{json.dumps(name, ensure_ascii=False)}\n" for name in names)
    return streamed(lines, f"stage-{pk}-names.jsonl", "application/jsonl")


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The card of the stage, refreshed while a run works for it; after its end with the next action.

    Once the stage has another state or run, the header lets the rest of the page follow in place.
    """
    facts = cards.facts_or_404(pk, may_operate=request.user.has_perm("kvops.operate"))
    page = _page_of(request, facts.stage)
    card = cards.card(facts, person_of(request), {}, request.GET.get("seen", "") if page else "")
    response = render(request, "cleanup/_stage.html", {"card": card})
    if card.is_newer:
        all_of_it = {"target": "#main", "select": "#main", "swap": "outerMorph", "push": "false"}
        response["HX-Location"] = json.dumps({"path": page, "source": f"#stage-{pk}", **all_of_it})
    return response


def _page_of(request: HttpRequest, stage: CleanupStage) -> str:
    """The address of the reader's page; empty after a refused form, whose address is no page."""
    at = urlsplit(request.headers.get("HX-Current-URL", ""))
    pages = {reverse("backups:stage", args=[stage.pk]), reverse("backups:cleanup", args=[stage.request_id])}
    return urlunsplit(("", "", at.path, at.query, "")) if at.path in pages else ""


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Take a step of the stage."""
    return take_on_stage(request, pk, STEPS[step])


def take_on_stage(request: HttpRequest, pk: int, step: Step[CleanupStage], form_name: str = "stage") -> HttpResponse:
    """Take a step of a stage on the page of its clean-up."""
    stage = cards.stage_or_404(pk)
    on = On(stage.environment, f"stage:{pk}", label=str(stage)[:600])
    return take_on_page(request, step, stage, stage.request_id, on=on, form_name=f"{form_name}-{pk}")
