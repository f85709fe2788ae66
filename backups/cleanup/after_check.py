"""The integrity check after a clean-up (policy 6a): the stage's backup, and the newest dataset, against D1 again.

Both are runs, created in the transaction that confirms the stage, so a crash loses neither. Each has a subject of its
own, so that an undo does not wait for it. The backup of master data is the dataset. A check of the same source that is
made before the acceptance replaces the earlier one.

The result blocks no deletion and undoes none. A difference is an alarm until the stage is accepted. The acceptance
waits only while such a check works, because its note explains the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, gettext_noop, ngettext_lazy

from audit import log
from audit.actions import Action
from backups.cleanup.stages import STAGES
from backups.datasets import registry as dataset_registry
from backups.integrity import start as check_start
from backups.integrity.newer import rows as newer_rows
from backups.integrity.start import CheckRefused
from backups.models import Check, CleanupStage, Dataset, Generation
from kvops.models import NotificationEvent, Person, Run
from kvops.notifications import outbox
from kvops.wording import columns, said, say

State = CleanupStage.State
NO_BACKUP = gettext_noop("There were no keys, so there is no backup to compare.")
NO_DATASET = gettext_noop(
    "There was no dataset file when the deletion was proven: the environment had no verified backup of the master data."
)
NO_KEYS = gettext_noop("There were no keys, so nothing was deleted that a dataset file could tell of.")
NOT_EXPORTED = gettext_noop(
    "There is no dataset file: the policy wants an export of master data in production. The backup was compared here."
)
ACCEPTED = _("The reviewer accepted these rows by name.")
BEFORE_THIS_RULE = gettext_noop("It did not run: the deletion was proven before KVOps did this.")


@dataclass(frozen=True)
class AfterCheck:
    """One comparison after the clean-up: its newest check, or the reason why there is none.

    Without a check, the policy needs one unless `not_applicable`.
    """

    code: str
    title: str | Promise
    check: Check | None
    missing: str = ""
    refused: bool = False
    not_applicable: bool = False
    accepted: bool = False
    """Whether it found no more than the rows newer in D1 that the reviewer accepted."""

    @property
    def differs(self) -> bool:
        """Whether the check found a difference that the reviewer did not accept."""
        return self.check is not None and self.check.outcome == Check.Outcome.FAILED and not self.accepted

    @property
    def unfinished(self) -> bool:
        """Whether the comparison should have a result and has none."""
        return self.refused or (self.check is not None and self.check.outcome == Check.Outcome.PENDING)


def start(stage: CleanupStage, *, actor: log.Actor, person: Person | None) -> dict[str, object]:
    """Create the checks of a stage that is being confirmed, in the caller's transaction; return its new columns."""
    if not stage.request.needs_check:
        return {}
    found: dict[str, object] = {}
    subject = f"stage:{stage.pk}"
    if stage.generation is not None:
        try:
            found["check_after"] = check_start.create_check(
                stage.generation, subject=f"{subject}/check", actor=actor, person=person
            )
        except CheckRefused as refused:
            found |= columns("after_refused", refused)
    dataset = dataset_registry.dataset_for(stage.request.binding, stage.request.prefix)
    masters = newest_masters(stage, dataset) if dataset else None
    if masters is not None:
        found["dataset_check_after"] = check_start.create_check(
            masters, dataset=dataset, subject=f"{subject}/dataset", actor=actor, person=person
        )
    return found


def newest_masters(stage: CleanupStage, dataset: Dataset) -> Generation | None:
    """The newest verified backup of master data with the rows of the dataset."""
    found = Generation.objects.verified().here().filter(purpose=Generation.Purpose.MASTERS)
    mine = found.filter(environment=stage.environment, tables__contains=[{"dataset": dataset.name}])
    return mine.order_by("-pk").first()


def results(stage: CleanupStage) -> Sequence[AfterCheck]:
    """The comparisons of a confirmed stage; none if its category needs no check or it is not proven yet."""
    if not stage.request.needs_check or stage.state not in {State.CONFIRMED, State.ACCEPTED}:
        return []
    backup, dataset = stage.check_after, stage.dataset_check_after
    no_backup = stage.shown_after_refused or said(BEFORE_THIS_RULE if stage.names else NO_BACKUP)
    return [
        AfterCheck(
            "backup",
            _("Compare the backup with D1 again"),
            backup,
            "" if backup else no_backup,
            refused=bool(stage.after_refused) and backup is None,
            not_applicable=backup is None and stage.names == 0 and not stage.after_refused,
            accepted=_is_accepted(stage, backup),
        ),
        _of_dataset(stage, dataset),
    ]


def _of_dataset(stage: CleanupStage, check: Check | None) -> AfterCheck:
    """The comparison with the newest backup of master data, which the policy wants in production."""
    why = ""
    if check is None and stage.names == 0:
        why = NO_KEYS
    elif check is None and stage.check_after is not None and not stage.environment.production:
        why = NOT_EXPORTED
    missing = "" if check else said(why or NO_DATASET)
    title = _("Compare the dataset with D1 again")
    return AfterCheck("dataset", title, check, missing, not_applicable=bool(why), accepted=_is_accepted(stage, check))


def _is_accepted(stage: CleanupStage, check: Check | None) -> bool:
    """Whether a check that failed found only rows newer in D1 that the reviewer of the stage accepted by name."""
    if check is None or check.outcome != Check.Outcome.FAILED or not check.newer:
        return False
    return newer_rows.agrees(check, newer_rows.accepted_by(stage.approval, stage.check_passed))


def open_run(stage: CleanupStage) -> Run | None:
    """The run of a comparison that still works."""
    checks = [found.check for found in results(stage) if found.check]
    return next((check.run for check in checks if check.run.is_open), None)


def wait_for(run: Run) -> str:
    """The sentence for an acceptance that comes before the result."""
    return say(_("Wait for the comparison with D1 after the deletion (run %(pk)s), or stop it first."), pk=run.pk)


def differences(stage: CleanupStage) -> int:
    """The number of differences that the comparisons found."""
    return sum(found.check.differences for found in results(stage) if found.check and found.differs)


def check_finished(run: Run) -> None:
    """Hook: the result of a check belongs to each confirmed stage whose backup or dataset it compared again."""
    check = Check.objects.select_related("dataset", "environment").get(run=run)
    for column, code in (("check_after", "backup"), ("dataset_check_after", "dataset")):
        same = Q(**{f"{column}__generation": check.generation_id, f"{column}__dataset": check.dataset_id})
        newer = same & Q(state=State.CONFIRMED, **{f"{column}__lt": check.pk})
        for stage in _locked(newer | Q(**{column: check})):
            if stage.state == State.CONFIRMED:
                setattr(stage, column, check)
                after_accepted = not any(found.differs for found in results(stage))
                CleanupStage.objects.filter(pk=stage.pk).update(**{column: check}, after_accepted=after_accepted)
            _tell(stage, check, code, run)


def _locked(which: Q) -> list[CleanupStage]:
    stages = CleanupStage.objects.select_for_update(of=("self",)).select_related("request__family", "environment")
    return list(stages.filter(which).order_by("pk"))


def _tell(stage: CleanupStage, check: Check, code: str, run: Run) -> None:
    """Record the result under the stage; a difference that the reviewer did not accept is also notified."""
    accepted = _is_accepted(stage, check)
    STAGES.record(
        Action.STAGE_CHECKED_AGAIN,
        stage,
        actor=log.Actor(run.started_by_id, run.actor),
        digest=check.definition_digest,
        details={
            "check": check.pk,
            "of": code,
            "outcome": check.outcome,
            "differences": check.differences,
            **({"accepted": True} if accepted else {}),
        },
    )
    if check.outcome != Check.Outcome.FAILED or accepted:
        return
    outbox.post(
        NotificationEvent.STAGE_DIFFERS,
        subject=f"stage:{stage.pk}",
        title=say(
            ngettext_lazy(
                "%(stage)s: %(n)s difference with D1 after the clean-up",
                "%(stage)s: %(n)s differences with D1 after the clean-up",
                check.differences,
            ),
            stage=stage,
            n=f"{check.differences:,}",
        ),
        lines=[
            say(_("Source: %(source)s"), source=check.source),
            say(
                _("The keys stay deleted. See each difference, find its cause, and note it when you accept the stage.")
            ),
        ],
        link=reverse("backups:check", args=[check.pk]),
        environment=stage.environment,
        occasion=f"check {check.pk}",
    )
