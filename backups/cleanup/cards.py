"""The card of a stage: the stepper, the one next action, and the other actions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from django import forms
from django.conf import settings
from django.db.models import Count, Exists, Max, OuterRef, QuerySet, Subquery, prefetch_related_objects
from django.db.models.functions import Now
from django.http import Http404, QueryDict
from django.urls import reverse
from django.utils.translation import ngettext

from backups.cleanup import after_check, completion, sharing
from backups.cleanup.forms import (
    AcceptForm,
    DeletionStartForm,
    LeftoversForm,
    OthersForm,
    ReappearedForm,
    ShareForm,
)
from backups.cleanup.next_action import NextAction, next_action, next_label
from backups.cleanup.pages import presses, result as cleanup_result
from backups.cleanup.pages.facts import ReadStage, StageFacts
from backups.cleanup.pages.groups import NameGroup, groups_of
from backups.cleanup.pages.phases import Phase, phases_of
from backups.cleanup.preparation import Differing, differing
from backups.cleanup.proofs import proofs
from backups.cleanup.stages import busy_runs, left_out_in_words
from backups.models import BackupShare, Check, CleanupRequest, CleanupStage, Generation, Reappearance, Restore
from kvops.models import Environment, Notification, Person, Run, Scan
from kvops.runs import shown
from kvops.wording import moment, spelled

State = CleanupStage.State
BEFORE_SUBMIT = {State.WAITING, State.FROZEN, State.BACKED_UP, State.VERIFIED, State.CHECKED}
SCANNED = {State.WAITING, State.FROZEN}


@dataclass(frozen=True)
class Card:
    """The data of a stage for its template; `run` is the working run, `form` belongs to the action."""

    stage: CleanupStage
    shape: str
    """`done` is one folded line, `ahead` waits for the environment before without steps, `full` has the next action."""
    phases: Sequence[Phase]
    action: NextAction | None
    form: forms.Form | None
    run: Run | None
    differing: Check | None
    leaving_out: Differing | None
    left_out: str
    """The newest check of the backup, if it found differences: a person looks at them before the next check."""
    moves: bool
    """Whether the card is loaded again: a run works, a decision is awaited, or the page is older than the stage."""
    seen: str
    """The state and the run that the page shows. The next poll brings it back."""
    is_newer: bool
    """Whether the stage has another state or run than the rest of the page shows."""
    seconds_left: int | None
    groups: Sequence[NameGroup]
    share_text: str
    following: CleanupStage | None
    scan: Scan | None
    message: Notification | None
    leftovers: int
    reappeared: int
    reappeared_form: forms.Form | None
    after: Sequence[after_check.AfterCheck]
    lacks_dataset: bool
    may_operate: bool
    may_scan: bool
    may_freeze_again: bool
    may_end_early: bool


@dataclass(frozen=True)
class CleanupListRow:
    """A clean-up in a list: its stages, and the next action of the first unfinished one."""

    cleanup: CleanupRequest
    stages: Sequence[CleanupStage]
    current: CleanupStage | None
    waits_for: str
    result: cleanup_result.Result
    remaining: int


def stages() -> QuerySet[ReadStage]:
    """Stages with the rows that their cards and pages show, and what these ask of each stage at the moment it is read.

    These are: whether a run works for it, whether a restore names it, whether no environment is before its own, the
    time, and its reappeared keys without a note. `read` makes a list of them.
    """
    unseen = Reappearance.objects.unseen().filter(stage=OuterRef("pk")).order_by().values("stage")
    found = cleanup_result.counted(CleanupStage.objects.all()).annotate(
        unseen=Subquery(unseen.annotate(found=Count("pk")).values("found")),
        last_unseen=Subquery(unseen.annotate(found=Max("pk")).values("found")),
        is_busy=Exists(busy_runs()),
        is_restored=Exists(Restore.objects.filter(stage=OuterRef("pk")))
        | Exists(Restore.deletions.through.objects.filter(cleanupstage=OuterRef("pk"))),
        is_first=~Exists(Environment.objects.filter(order__lt=OuterRef("environment__order"))),
        read_at=Now(),
    )
    return found.select_related(
        "request__family",
        "request__requested_by",
        "environment",
        "namespace__environment",
        "scan",
        "generation__environment__protection",
        "generation__run",
        "generation__verify_run",
        "generation__share__by",
        "check_passed__dataset",
        "check_after__run",
        "dataset_check_after__run",
        "search",
        "approval__requester",
        "approval__approver",
        "run",
        "confirm_run",
        "late_run",
        "accepted_by",
        "others_by",
    )


def read(found: QuerySet[ReadStage]) -> list[ReadStage]:
    """These of `stages()`, with their undos and restores if there are any. Most have none."""
    stages = list(found)
    prefetch_related_objects([one for one in stages if one.is_restored], "undos", "restores")
    return stages


def of_cleanup_or_404(pk: int) -> list[ReadStage]:
    """The stages of a clean-up in their order; every clean-up has one."""
    found = read(stages().filter(request=pk).order_by("order"))
    if not found:
        raise Http404
    return found


def stage_or_404(pk: int) -> CleanupStage:
    """The stage with the related rows that its card and page show."""
    return facts_or_404(pk).stage


def facts_or_404(pk: int, *, may_operate: bool = False) -> StageFacts:
    """The facts of a stage for its page. The stages of its clean-up were read with it."""
    found = read(stages().filter(request__stages=pk).order_by("order"))
    stage = next((one for one in found if one.pk == pk), None)
    if stage is None:
        raise Http404
    return StageFacts(stage, may_operate=may_operate, stages=found)


def card(facts: StageFacts, person: Person, typed: Mapping[str, forms.Form], seen: str = "") -> Card:
    """The card of a stage for a person; `typed` are submitted forms by name, with the person's input.

    `seen` is what the card of the page said of itself when the page was loaded.
    """
    run = facts.busy or after_check.open_run(facts.stage)  # first: what a run changes before its end is read after it
    moves = run is not None or facts.stage.state == State.SUBMITTED
    moved = not moves and _moved(facts.read)
    if moved:  # the next action is that of the state that the run has just reached
        facts = facts_or_404(facts.stage.pk, may_operate=facts.may_operate)
    stage, may_operate = facts.stage, facts.may_operate
    now = f"{stage.state}.{run.pk if run else ''}"
    is_newer = bool(seen) and seen != now
    action = next_action(stage, person, facts)
    by_hand = not stage.scheduled
    idle = may_operate and run is None
    stopped = stage.state == State.DELETING and stage.run is not None and stage.run.state in Run.RESUMABLE
    may_freeze = stage.state in BEFORE_SUBMIT
    is_freezing = action is not None and action.url_name in {"backups:stage_freeze", "backups:stage_begin"}
    shape = _shape(facts)
    steps = [] if shape == "ahead" else proofs(facts)
    return Card(
        stage=stage,
        shape=shape,
        phases=phases_of(stage, steps),
        action=action,
        form=_still_asked(typed.get(f"stage-{stage.pk}"), _form(facts, action)),
        run=run,
        differing=None if run else facts.differing,
        leaving_out=differing(stage, facts.differing) if idle and by_hand and facts.differing else None,
        left_out=left_out_in_words(stage),
        moves=moves or moved or is_newer,
        seen=seen or now,
        is_newer=is_newer,
        seconds_left=_seconds_left(stage, run),
        groups=groups_of(stage) if stage.state == State.DELETING else [],
        share_text=share_text(stage) if may_freeze else "",
        following=presses.next_stage(stage) if stage.state == State.CONFIRMED else None,
        scan=facts.scan if may_freeze and shape == "full" else None,
        message=sharing.message(stage.generation) if may_freeze and stage.generation else None,
        leftovers=completion.leftovers(stage).count() if stage.state in {State.DELETED, State.CONFIRMED} else 0,
        reappeared=facts.read.unseen or 0,  # of `stages()`; without it the card must not say that there are none
        reappeared_form=_reappeared_form(stage, typed, facts.read.last_unseen) if may_operate else None,
        after=after_check.results(stage),
        lacks_dataset=shape == "full" and facts.lacks_dataset,
        may_operate=may_operate,
        may_scan=idle and by_hand and stage.state in SCANNED and not facts.turn.missing,
        may_freeze_again=idle and by_hand and may_freeze and bool(stage.frozen_at) and not is_freezing,
        may_end_early=idle and stopped and not (action and action.ends_early),
    )


def _moved(stage: ReadStage) -> bool:
    """Whether the run that worked for the stage when it was read has brought it to another state since."""
    return stage.is_busy and not CleanupStage.objects.filter(pk=stage.pk, state=stage.state).exists()


def _shape(facts: StageFacts) -> str:
    if facts.stage.state in {State.ACCEPTED, State.ENDED}:
        return "done"
    waits = facts.stage.state == State.WAITING and facts.turn.missing and not facts.turn.dead_end
    return "ahead" if waits else "full"


def _reappeared_form(stage: CleanupStage, typed: Mapping[str, forms.Form], last: int | None) -> forms.Form | None:
    return typed.get(f"reappeared-{stage.pk}") or (ReappearedForm(initial={"last": last}) if last else None)


def _still_asked(posted: forms.Form | None, now: forms.Form | None) -> forms.Form | None:
    """The form as the person left it, if the stage still asks for it; it may have moved on since the page was shown."""
    return posted if type(posted) is type(now) else now


def _form(facts: StageFacts, action: NextAction | None) -> forms.Form | None:
    """The form of the action."""
    stage = facts.stage
    if action is None or action.disabled_reason:
        return None
    if action.url_name == "backups:stage_start":
        return DeletionStartForm(stage=stage)
    if action.url_name == "backups:stage_accept":
        return AcceptForm(stage=stage)
    if action.url_name == "backups:stage_submit":
        return ShareAndSubmitForm(stage=stage, from_elsewhere=facts.references.from_elsewhere)
    if action.url_name == "backups:stage_others":
        return OthersForm()
    return LeftoversForm() if action.url_name == "backups:stage_leftovers" else None


def _seconds_left(stage: CleanupStage, run: Run | None) -> int | None:
    """As `shown.seconds_left`; None for production's first keys, after which the deletion waits for a person."""
    first = run == stage.run and stage.environment.production and not stage.scheduled
    if run is None or (first and not run.cursor.get("go_on")):
        return None
    return shown.seconds_left(run)


def row(request: CleanupRequest) -> CleanupListRow:
    """The row of a clean-up in a list; its stages were fetched with it, and counted."""
    found = sorted(cast("QuerySet[cleanup_result.CountedStage]", request.stages.all()), key=lambda stage: stage.order)
    over = not request.is_open
    current = None if over else next((one for one in found if one.state != State.ACCEPTED), None)
    waits_for = next_label(current) if current else ""
    return CleanupListRow(request, found, current, waits_for, cleanup_result.Result(request, found), remaining(found))


def remaining(found: Iterable[CleanupStage]) -> int:
    """The keys that the proofs found under the prefix, in all environments."""
    return sum(stage.remaining for stage in found)


def band(stages: Iterable[CleanupStage]) -> Environment | None:
    """The environment in the band of the page: of the stage whose turn it is, else of the last one."""
    found = at_hand(stages)
    return found.environment if found else None


def at_hand(stages: Iterable[CleanupStage]) -> CleanupStage | None:
    """The stage whose turn it is, else the last one."""
    found = list(stages)
    ahead = [stage for stage in found if stage.state != State.ACCEPTED] or found[-1:]
    return ahead[0] if ahead else None


def may_end(request: CleanupRequest, found: Iterable[CleanupStage]) -> bool:
    """Whether the clean-up can be ended: no deletion has begun, or the last one that ended proves nothing."""
    return request.is_open and not completion.begun(found)


class ShareAndSubmitForm(ShareForm):
    """The submit; also the place where the backup was shared, while none is recorded.

    The place that was recorded in the environment before stands there already, to be corrected. Answers that production
    has from another environment are ticked, all with one tick.
    """

    ticked = forms.BooleanField(required=False)

    def __init__(self, data: QueryDict | None = None, *, stage: CleanupStage, from_elsewhere: int = 0) -> None:
        shares = BackupShare.objects.filter(generation__stages__request=stage.request_id, by__isnull=False)
        place = shares.order_by("-pk").values_list("place", flat=True).first() or ""
        super().__init__(data, initial={"place": place})
        backup = stage.generation
        self.asks = backup is not None and not BackupShare.objects.filter(generation=backup).exists()
        is_verified = backup is not None and backup.status == Generation.Status.VERIFIED
        self.fields["place"].required = self.asks and is_verified
        self.from_elsewhere, tick = from_elsewhere, self.fields["ticked"]
        tick.required = bool(from_elsewhere)
        label = ngettext(
            "The %(n)s answer carried over from another environment holds in %(name)s, too: I have checked it.",
            "The %(n)s answers carried over from another environment hold in %(name)s, too: I have checked them.",
            from_elsewhere,
        )
        tick.label = label % {"n": spelled(from_elsewhere), "name": stage.environment.name}


def share_text(stage: CleanupStage) -> str:
    """A message to the team about the stage's verified backup, to paste; empty without a backup."""
    backup = stage.generation
    if backup is None or backup.finished_at is None:
        return ""
    return ngettext(
        "Backup %(pk)s for a deletion in %(name)s: %(n)s key under %(pattern)s of %(title)s, made %(time)s, verified. "
        "SHA-256 of its manifest: %(digest)s. %(link)s",
        "Backup %(pk)s for a deletion in %(name)s: %(n)s keys under %(pattern)s of %(title)s, made %(time)s, verified. "
        "SHA-256 of its manifest: %(digest)s. %(link)s",
        backup.keys,
    ) % {
        "pk": backup.pk,
        "name": stage.environment.name,
        "n": spelled(backup.keys),
        "pattern": stage.request.pattern,
        "title": stage.namespace.title,
        "time": moment(backup.finished_at),
        "digest": backup.manifest_sha256,
        "link": f"{settings.BASE_URL}{reverse('backups:generation', args=[backup.pk])}",
    }
