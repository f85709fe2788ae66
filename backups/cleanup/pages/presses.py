"""One press for steps that follow each other. Each step stays a transaction of its own, with all of its conditions."""

from datetime import timedelta

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from backups.cleanup import completion, preparation, requests as cleanup_requests, sharing
from backups.cleanup.references import StageReferences
from backups.cleanup.stages import CleanupRefused
from backups.models import BackupShare, CleanupRequest, CleanupStage
from kvops import timing
from kvops.models import Person, Run

WAITING = CleanupStage.State.WAITING


def begin(stage: CleanupStage, *, by: Person, leave_out: bool = False) -> Run:
    """Fix the list of keys and start the backup. The verification and the check against D1 follow by themselves.

    With `leave_out`, the keys that differ from D1 stay. Raises CleanupRefused, BackupRefused and
    run_driver.AlreadyOpen. If the backup is refused, the list stays fixed.
    """
    preparation.freeze_stage(stage, by=by, leave_out=leave_out)
    return preparation.prepare_stage(stage, by=by)


def begin_first(cleanup: CleanupRequest, *, by: Person) -> CleanupStage:
    """Begin the first stage of a new request and return it. Raises as `begin` does."""
    related = ("request__family", "environment", "namespace")
    stage = cleanup.stages.select_related(*related).earliest("order")
    begin(stage, by=by)
    return stage


def waits_for_answers(stage: CleanupStage) -> bool:
    """Whether the newest search of the code found places for the stage that nobody answered yet."""
    found = StageReferences.of(stage)
    return found.search is not None and not found.missing and found.unanswered > 0


def submit(stage: CleanupStage, *, place: str, by: Person, ticked: bool = False) -> None:
    """Record the place where the backup was shared, if one is given, then submit the stage. Raises CleanupRefused.

    If the submit is refused, the place stays recorded: the backup was shared. A press that is sent twice is no refusal.
    """
    try:
        if place:
            sharing.state(stage, place=place, by=by)
        cleanup_requests.submit(stage, by=by, ticked=ticked)
    except CleanupRefused:
        if not _was_just_submitted(stage, place=place, by=by):
            raise


def _was_just_submitted(stage: CleanupStage, *, place: str, by: Person) -> bool:
    """Whether this person submitted the stage moments ago, with this place if one is given, and nobody decided yet."""
    shared = BackupShare.objects.filter(generation=OuterRef("generation"), by=by, place=place.strip()[:500])
    submitted = CleanupStage.objects.filter(
        pk=stage.pk,
        state=CleanupStage.State.SUBMITTED,
        approval__requester=by,
        approval__created_at__gte=Now() - timedelta(seconds=timing.SENT_TWICE),
    )
    return (submitted.filter(Exists(shared)) if place else submitted).exists()


def accept(stage: CleanupStage, *, note: str, go_on: bool, by: Person) -> None:
    """Accept the stage, then begin the next one if `go_on`. Raises as the two steps do.

    If the next stage is refused, the acceptance stays.
    """
    completion.accept_stage(stage, note=note, by=by)
    following = next_stage(stage)
    if go_on and following is not None:
        begin(following, by=by)


def next_stage(stage: CleanupStage) -> CleanupStage | None:
    """The stage that can begin after this one; None if there is none."""
    later = CleanupStage.objects.filter(request=stage.request_id, order__gt=stage.order, state=WAITING)
    return later.select_related("request__family", "environment", "namespace").order_by("order").first()
