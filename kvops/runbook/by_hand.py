"""Operations on keys that a person did outside KVOps, as a person states them. Values are refused."""

from collections.abc import Sequence
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops import clock
from kvops.models import Environment, Namespace, Person, StatedOperation
from kvops.names import storable
from kvops.runbook import procedures, secrets
from kvops.runbook.secrets import RunbookRefused, insist_keeper
from kvops.wording import insist_explained, say

MOST = 20
"""Keys. A statement names at most this many."""

LONGEST = 512
"""Bytes. The longest name of a key."""


def state(
    *,
    verb: str,
    person: Person,
    done_at: datetime,
    environment: Environment,
    binding: str,
    command: str,
    names: Sequence[str],
    reason: str,
    by: Person,
) -> StatedOperation:
    """State an operation that a person did outside KVOps. Raises RunbookRefused."""
    _insist_names(names)
    if not Namespace.objects.filter(environment=environment, binding=binding).exists():
        raise RunbookRefused(
            say(_("%(environment)s has no binding %(binding)s."), environment=environment, binding=binding)
        )
    insist_explained(reason, RunbookRefused, _("Give the reason."))
    _insist_no_value(command, reason, names)
    if done_at > clock.now():
        raise RunbookRefused(_("This time is in the future. State what was done, not what is planned."))
    with log.transaction():
        insist_keeper(by)
        made = StatedOperation.objects.create(
            verb=verb,
            person=person,
            done_at=done_at,
            environment=environment,
            binding=binding,
            command=command,
            names=list(names),
            reason=reason,
            stated_by=by,
        )
        begun = procedures.begun("key_change", binding, names)
        log.record(
            Action.RUNBOOK_STATED,
            actor=by.actor,
            **made.audited,
            details={
                **begun,
                "verb": verb,
                "person": str(person),
                "done_at": done_at.isoformat(),
                "binding": binding,
                "keys": list(names),
                "reason": reason[:500],
            },
        )
    return made


def _insist_names(names: Sequence[str]) -> None:
    if not 0 < len(names) <= MOST:
        raise RunbookRefused(say(_("Name at least one key and at most %(most)s, one a line."), most=MOST))
    if any(not storable(name) or len(name.encode()) > LONGEST for name in names):
        raise RunbookRefused(say(_("The name of a key has at most %(longest)s bytes, without NUL."), longest=LONGEST))


def _insist_no_value(command: str, reason: str, names: Sequence[str]) -> None:
    """Refuse a command with a value, and whatever looks like a secret."""
    ids = Namespace.objects.values_list("namespace_id", flat=True)
    places = [one for row in Environment.objects.values_list("account_id", "api_base_url") for one in row]
    known = [*filter(None, (*ids, *places)), *names]
    reasons = (
        secrets.value_in(command),
        secrets.secret_in(command, known),
        secrets.secret_in(reason, known),
        *map(secrets.mark_in, names),
    )
    if why := next(filter(None, reasons), ""):
        raise RunbookRefused(why)
