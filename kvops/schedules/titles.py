"""The titles of schedules in the reader's language; the kinds of subjects name the function."""

from collections.abc import Collection

from kvops.models import Schedule
from kvops.schedules import jobs
from kvops.wording import labelled


def of_schedules(keys: Collection[int]) -> dict[int, str]:
    """The titles of these schedules by key, in one query: the job, and the environment if it has one."""
    found = Schedule.objects.filter(pk__in=keys).select_related("environment")
    return {one.pk: _title(one) for one in found}


def _title(schedule: Schedule) -> str:
    job = str(jobs.job_label(schedule.job))
    return labelled(schedule.environment.name, job) if schedule.environment else job
