"""The facts of a stage that its page shows in several places, each read once."""

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, cast

from backups.bucket import protection as bucket_protection
from backups.cleanup import after_check, preparation, qa
from backups.cleanup.pages.result import KeyCounts
from backups.cleanup.references import StageReferences
from backups.cleanup.stages import busy_run
from backups.datasets import registry as dataset_registry
from backups.models import BackupShare, BucketProtection, Check, CleanupStage
from kvops import clock
from kvops.models import Run, Scan

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


class StageRead(KeyCounts):
    """What `cards.stages` asks of a stage at the moment it is read."""

    unseen: int | None
    last_unseen: int | None
    is_busy: bool
    is_restored: bool
    is_first: bool
    read_at: datetime


type ReadStage = WithAnnotations[CleanupStage, StageRead]


class StageFacts:
    """The facts of a stage for one page. What acts reads them anew.

    `may_operate` tells whether the reader is an operator. The `stages` of a page share the `policy` in force.
    """

    def __init__(
        self,
        stage: CleanupStage,
        *,
        may_operate: bool = False,
        policy: qa.InForce | None = None,
        stages: Iterable[CleanupStage] | None = None,
    ) -> None:
        self.stage, self.may_operate = stage, may_operate
        self.turn = qa.Turn(stage, policy, stages)

    @property
    def read(self) -> ReadStage:
        """The stage as `cards.stages` reads it. Its annotations fail on any other."""
        return cast("ReadStage", self.stage)

    @cached_property
    def busy(self) -> Run | None:
        """The run that works for the stage. If there was none when `cards.stages` read the stage, nobody asks again."""
        return busy_run(self.stage) if getattr(self.stage, "is_busy", True) else None

    def seconds_until(self, moment: datetime) -> float:
        """Seconds from the time when `cards.stages` read the stage, or else from now, to `moment`."""
        read_at = getattr(self.stage, "read_at", None)
        return (moment - read_at).total_seconds() if read_at else clock.seconds_until(moment)

    @cached_property
    def scan(self) -> Scan | None:
        """The scan from which the list of keys would be fixed."""
        return preparation.scan_of(self.stage)

    @cached_property
    def references(self) -> StageReferences:
        """The code references."""
        return StageReferences.of(self.stage)

    @property
    def protection(self) -> BucketProtection | None:
        """The protection of the backup's bucket. `cards.stages` reads it with the stage; None if that did not."""
        backup, read_at = self.stage.generation, getattr(self.stage, "read_at", None)
        if backup is None or read_at is None:
            return None
        found: BucketProtection | None = getattr(backup.environment, "protection", None)
        age = read_at - found.read_at if found and found.read_at else None
        return bucket_protection.known_by(backup.environment, found, age)

    @cached_property
    def differing(self) -> Check | None:
        """The newest check of the backup, if it found differences."""
        if self.stage.state != CleanupStage.State.VERIFIED or not self.stage.request.needs_check:
            return None
        check = Check.objects.filter(generation=self.stage.generation_id).order_by("pk").last()
        return check if check and check.outcome == Check.Outcome.FAILED else None

    @cached_property
    def lacks_dataset(self) -> bool:
        """Whether the proof with a dataset file, which the policy wants in production, will be missing as things are.

        It is known until the deletion is proven. A backup of master data that is made later proves nothing.
        """
        stage, state = self.stage, CleanupStage.State
        over = stage.state in {state.CONFIRMED, state.ACCEPTED, state.ENDED}
        if over or not stage.environment.production or not stage.request.needs_check:
            return False
        dataset = dataset_registry.dataset_for(stage.request.binding, stage.request.prefix)
        return dataset is not None and after_check.newest_masters(stage, dataset) is None

    @property
    def share(self) -> BackupShare | None:
        """The first share of the backup."""
        return getattr(self.stage.generation, "share", None)
