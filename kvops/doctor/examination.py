"""One examination by the checks of all features."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from django.db import DatabaseError
from django.utils.translation import gettext_lazy as _

from kvops.doctor.findings import Diagnosis, Examined, ok, unknown, wrong
from kvops.operations import registry
from kvops.outages import AWAY
from kvops.wording import say


def examine(examined: Examined, *, outside: bool = True) -> Iterator[Diagnosis]:
    """Run every check and yield its findings. Without `outside`, no service but the database is asked."""
    checks = [check for check in registry.DOCTOR if outside or not check.outside]
    away: list[Exception] = []
    for check in checks:
        if not check.of_environment:
            yield from _asked(partial(check.function, examined), away)
    yield from _asked(partial(_environments, examined), away)
    for environment in [] if away else examined.environments:
        for check in checks:
            if check.of_environment:
                yield from _asked(partial(check.function, environment, examined), away)


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
