"""The checks of all apps, by name, and one examination."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import DatabaseError
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from kvops.doctor.findings import Diagnosis, Examined, ok, unknown, wrong
from kvops.outages import AWAY
from kvops.wording import say


@dataclass(frozen=True)
class DoctorCheck:
    """A function by its name. It takes the examined process, and an environment first if it is `of_environment`.

    A check that is `outside` asks a service: Cloudflare, R2 or the mail server.
    """

    function: str
    of_environment: bool = False
    outside: bool = False


CHECKS: Sequence[DoctorCheck] = (
    DoctorCheck("kvops.doctor.installation.settings_fit"),
    DoctorCheck("kvops.doctor.database.roles"),
    DoctorCheck("kvops.doctor.database.migrations"),
    DoctorCheck("kvops.doctor.installation.static_files"),
    DoctorCheck("kvops.doctor.installation.translations"),
    DoctorCheck("kvops.doctor.watching.metrics"),
    DoctorCheck("kvops.doctor.files.dump"),
    DoctorCheck("kvops.doctor.files.closed"),
    DoctorCheck("kvops.doctor.work.processes"),
    DoctorCheck("kvops.doctor.watching.heartbeat"),
    DoctorCheck("kvops.doctor.work.people"),
    DoctorCheck("kvops.doctor.delivery.mail", outside=True),
    DoctorCheck("backups.doctor.secrets.recipients_and_identity"),
    DoctorCheck("backups.doctor.offline.identity"),
    DoctorCheck("backups.doctor.secrets.digest_key"),
    DoctorCheck("backups.doctor.secrets.review_identity"),
    DoctorCheck("kvops.doctor.delivery.slack", of_environment=True),
    DoctorCheck("kvops.doctor.tokens.separation", of_environment=True),
    DoctorCheck("kvops.doctor.tokens.budget", of_environment=True),
    DoctorCheck("kvops.doctor.tokens.read_token", of_environment=True, outside=True),
    DoctorCheck("kvops.doctor.tokens.write_token", of_environment=True, outside=True),
    DoctorCheck("backups.doctor.bucket.objects", of_environment=True, outside=True),
    DoctorCheck("backups.doctor.bucket.rules", of_environment=True, outside=True),
)
"""In the order of the report. They are named by string, so that `kvops` does not import the apps above it. A system
check resolves each name."""


def examine(examined: Examined, *, outside: bool = True) -> Iterator[Diagnosis]:
    """Run every check and yield its findings. Without `outside`, no service but the database is asked."""
    checks = [check for check in CHECKS if outside or not check.outside]
    away: list[Exception] = []
    for check in checks:
        if not check.of_environment:
            yield from _asked(partial(import_string(check.function), examined), away)
    yield from _asked(partial(_environments, examined), away)
    for environment in [] if away else examined.environments:
        for check in checks:
            if check.of_environment:
                yield from _asked(partial(import_string(check.function), environment, examined), away)


def _environments(examined: Examined) -> Iterator[Diagnosis]:
    if environments := examined.environments:
        yield ok(_("Environments"), ", ".join(environment.slug for environment in environments))
    else:
        sentence = _("No environment is in force. Run manage.py apply_environments environments.toml.")
        yield wrong(_("Environments"), sentence)


def _asked(check: Callable[[], Iterable[Diagnosis]], away: list[Exception]) -> Iterator[Diagnosis]:
    """The findings of a check. A database that fails on the way ends this check only. Its absence is said once."""
    try:
        yield from check()
    except (DatabaseError, *AWAY) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        if not isinstance(error, AWAY):
            yield unknown(_("Database"), say(_("The database refused a question: %(error)s"), error=first))
            return
        if not away:
            sentence = _("The database does not answer: %(error)s. Correct DATABASE_URL, or start the database.")
            yield wrong(_("Database"), say(sentence, error=first))
        away.append(error)
