"""The restore job: a copy of production is put back over what is there now, from its preview to its end.

Of five keys two are gone, two hold another value, which is copied before it is overwritten, and one is as it was; or
one is gone that no bulk call can write, and four are as they were. The answer to the first write gets lost.
"""

from random import Random

from backups.models import Generation, Restore
from backups.restores import requests as restores
from backups.restores import selection as selecting
from kvops.approvals import gate as approvals
from kvops.models import ApprovalRequest, Run
from tests.backups.cleanup import helpers as cleaning
from tests.backups.restores import helpers as restoring
from tests.fakes.cloudflare import FakeCloudflare
from tests.torture.clicks import Stuck
from tests.torture.job import Job
from tests.torture.trial_estate import Bucket, Trial, set_up

State = Restore.State
PURPOSE = Generation.Purpose.ROUTINE
GONE, DIFFERENT = 2, 2
"""Names of production, the first of each kind."""


def lost(cloudflare: FakeCloudflare, bucket: Bucket, random: Random) -> Trial:
    """An estate whose production was copied and then changed past the product."""
    trial = set_up(cloudflare, bucket, random, {"qa": 0, "production": 5})
    estate, names = trial.estate, trial.names["production"]
    restoring.copy(estate.production)
    restoring.wipe(estate, estate.production, *names[:GONE])
    for name in names[GONE : GONE + DIFFERENT]:
        estate.put(estate.production, name, b"written by mistake")
    cloudflare.fault("bulk_put", "effect_then_reset")
    return trial


def lost_alone(cloudflare: FakeCloudflare, bucket: Bucket, random: Random) -> Trial:
    """An estate of whose production a key is gone that is written by itself: its metadata is no object."""
    trial = set_up(cloudflare, bucket, random, {"qa": 0, "production": 5})
    estate, name = trial.estate, trial.names["production"][0]
    estate.put(estate.production, name, cleaning.master(name), metadata="[1]")
    restoring.copy(estate.production)
    restoring.wipe(estate, estate.production, name)
    cloudflare.fault("put_value", "effect_then_reset")
    return trial


def over() -> bool:
    """Whether it was put back, and nothing is left to do."""
    return Restore.objects.filter(state=State.DONE).exists() and not Run.objects.open().exists()


class PutBack(Job):
    """People prepare, submit, approve and start the restore; what would be overwritten is copied by its run."""

    def over(self) -> bool:
        """Whether it was put back."""
        return over()

    def _click(self) -> bool:
        failed = Run.objects.failed().first()
        if failed is not None:
            raise Stuck(f"{failed} failed: {failed.error}")
        restore = Restore.objects.first()
        if restore is None:
            self._prepare()
            return True
        if restore.returned_because:
            raise Stuck(f"{restore} is {restore.state} again: {restore.returned_because}")
        match restore.state:
            case State.PREPARED:
                self._say("submit")
                restores.submit(restore, reason="lost by mistake", by=self._operator)
            case State.SUBMITTED:
                self._say("approve")
                asked = ApprovalRequest.objects.get(subject=f"restore:{restore.pk}")
                approvals.approve(asked, by=self._reviewer, shown=asked.digest)
            case State.APPROVED:
                self._say("claim")
                restores.start(restore, by=self._operator)
            case _:
                return False
        return True

    def _prepare(self) -> None:
        self._say("prepare")
        selecting.prepare(
            Generation.objects.get(purpose=PURPOSE),
            on_conflict=Restore.OnConflict.OVERWRITE,
            actor=self._operator.actor,
            person=self._operator,
        )
