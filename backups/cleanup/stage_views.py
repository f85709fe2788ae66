"""One stage of a clean-up: its details, its names as a file, and the steps of a person."""

import json
from collections.abc import Iterator, Sequence
from statistics import median

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from backups.cleanup import cards, cost, preparation, requests as cleanup_requests, sharing
from backups.cleanup.forms import AcceptForm, DeletionStartForm, LeftoversForm, ListForm, ShareForm
from backups.cleanup.stages import CleanupRefused, run_of
from backups.cleanup.views import act_on_cleanup
from backups.models import CleanupChunk, CleanupEntry, CleanupException, CleanupStage, Reappearance
from kvops.people.signin import person_of
from kvops.runs import driver as run_driver

PAGE = 50
type _Listed = Sequence[CleanupEntry] | Sequence[CleanupChunk] | Sequence[CleanupException] | Sequence[Reappearance]


@require_safe
@permission_required("kvops.view", raise_exception=True)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one stage with its evidence, its chunks and its exceptions."""
    stage = cards.stage_or_404(pk)
    show, after = ListForm(request.GET).chosen()
    found, following = _listed(stage, show, after)
    gaps = [gap for gap in stage.chunks.values_list("gap_ms", flat=True) if gap is not None]
    context = {
        "stage": stage,
        "environment": stage.environment,
        "card": cards.card(stage, person_of(request), {}),
        "show": show,
        "found": found,
        "after": following,
        "exceptions": stage.exceptions.exists(),
        "reappeared": stage.reappearances.count(),
        "gap_median": round(median(gaps)) if gaps else None,
        "gap_most": max(gaps, default=None),
        "cost": cost.shown(stage, stage.generation) if stage.generation and stage.names else None,
    }
    return render(request, "cleanup/stage.html", context)


def _listed(stage: CleanupStage, show: str, after: int | None) -> tuple[_Listed, int | None]:
    """A page of the list, and the place to go on after."""
    start = -1 if after is None else after
    if show == "chunks":
        chunks = list(stage.chunks.filter(number__gt=start).order_by("number")[: PAGE + 1])
        return chunks[:PAGE], chunks[PAGE - 1].number if len(chunks) > PAGE else None
    if show == "exceptions":
        found = stage.exceptions.filter(index__gt=start).select_related("chunk")
        exceptions = list(found.order_by("index")[: PAGE + 1])
        return exceptions[:PAGE], exceptions[PAGE - 1].index if len(exceptions) > PAGE else None
    if show == "reappeared":
        again_ = stage.reappearances.filter(index__gt=start).select_related("acknowledged_by")
        rows = list(again_.order_by("index")[: PAGE + 1])
        return rows[:PAGE], rows[PAGE - 1].index if len(rows) > PAGE else None
    names = list(stage.entries.filter(index__gt=start).order_by("index")[: PAGE + 1])
    return names[:PAGE], names[PAGE - 1].index if len(names) > PAGE else None


@require_safe
@permission_required("kvops.view", raise_exception=True)
def all_names(_request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """All frozen names, each a line of JSON, in the order of their digest."""
    stage = cards.stage_or_404(pk)

    def lines() -> Iterator[str]:
        found = stage.entries.order_by("index").values_list("name", flat=True)
        return (f"{json.dumps(name, ensure_ascii=False)}\n" for name in found.iterator(10_000))

    response = StreamingHttpResponse(lines(), content_type="application/jsonl; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="stage-{pk}-names.jsonl"'
    return response


@require_safe
@permission_required("kvops.view", raise_exception=True)
def live(request: HttpRequest, pk: int) -> HttpResponse:
    """The card of the stage, for as long as a run works for it; the last time with what can be done then."""
    stage = cards.stage_or_404(pk)
    return render(request, "cleanup/_stage.html", {"card": cards.card(stage, person_of(request), {})})


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def freeze(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the names from the newest scan."""
    stage, person = cards.stage_or_404(pk), person_of(request)
    done = _("The list of keys is fixed.")
    return act_on_cleanup(
        request, stage.request, None, lambda: preparation.freeze_stage(stage, by=person), done=done, stage=stage
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def prepare(request: HttpRequest, pk: int) -> HttpResponse:
    """Start, or try again, what must be true before a submit."""
    stage, person = cards.stage_or_404(pk), person_of(request)
    done = _("The work is under way.")
    return act_on_cleanup(
        request, stage.request, None, lambda: preparation.prepare_stage(stage, by=person), done=done, stage=stage
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def share(request: HttpRequest, pk: int) -> HttpResponse:
    """Record where and with whom the copy was shared."""
    stage, form, person = cards.stage_or_404(pk), ShareForm(request.POST), person_of(request)
    return act_on_cleanup(
        request,
        stage.request,
        form,
        lambda: sharing.state(stage, place=form.cleaned_data["place"], by=person),
        done=_("The place where the backup was shared is recorded."),
        stage=stage,
        typed={f"stage-{pk}": form},
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def submit(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask another person to approve."""
    stage, person = cards.stage_or_404(pk), person_of(request)
    done = _("Another person is asked to approve exactly this set.")
    return act_on_cleanup(
        request, stage.request, None, lambda: cleanup_requests.submit(stage, by=person), done=done, stage=stage
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def start(request: HttpRequest, pk: int) -> HttpResponse:
    """Start the deletion that was approved."""
    stage, person = cards.stage_or_404(pk), person_of(request)
    form = DeletionStartForm(request.POST, stage=stage)
    return act_on_cleanup(
        request,
        stage.request,
        form,
        lambda: cleanup_requests.start_deletion(stage, by=person),
        done=_("The deletion has begun."),
        stage=stage,
        typed={f"stage-{pk}": form},
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def again(request: HttpRequest, pk: int) -> HttpResponse:
    """Let a deletion, or its proof, go on after it failed or was stopped."""
    stage, person = cards.stage_or_404(pk), person_of(request)

    def resume() -> None:
        run = run_of(stage)
        if run is None:
            raise CleanupRefused(_("There is no run to resume."))
        run_driver.resume(run, actor=person.actor)

    return act_on_cleanup(
        request, stage.request, None, resume, done=_("The run resumes where it stopped."), stage=stage
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def leftovers(request: HttpRequest, pk: int) -> HttpResponse:
    """Explain what was not deleted."""
    stage, form, person = cards.stage_or_404(pk), LeftoversForm(request.POST), person_of(request)
    return act_on_cleanup(
        request,
        stage.request,
        form,
        lambda: cleanup_requests.explain_leftovers(stage, note=form.cleaned_data["note"], by=person),
        done=_("Your explanation is recorded."),
        stage=stage,
        typed={f"stage-{pk}": form},
    )


@require_POST
@permission_required("kvops.operate", raise_exception=True)
def accept(request: HttpRequest, pk: int) -> HttpResponse:
    """Accept the stage, with what was tried and seen."""
    stage, person = cards.stage_or_404(pk), person_of(request)
    form = AcceptForm(request.POST, stage=stage)
    return act_on_cleanup(
        request,
        stage.request,
        form,
        lambda: cleanup_requests.accept_stage(stage, note=form.cleaned_data["note"], by=person),
        done=_("The stage is accepted."),
        stage=stage,
        typed={f"stage-{pk}": form},
    )
