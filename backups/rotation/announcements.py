"""Notifications of settings values that are due or overdue for rotation, to the owners of their families.

One round of the schedule is one bundle, so an owner of many families gets one message.
"""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, ngettext_lazy

from audit import log
from backups.rotation.ages import RotationState, ValueAge, ruled
from kvops.inventory.family_owners import owners, without_owner
from kvops.models import Environment, Family, NotificationEvent, Role
from kvops.names import visible
from kvops.notifications import outbox
from kvops.schedules.jobs import Begun
from kvops.wording import say

NAMED = 10
"""Keys. A notification names at most this many."""
EVENTS = {
    RotationState.DUE: NotificationEvent.ROTATION_DUE,
    RotationState.OVERDUE: NotificationEvent.ROTATION_OVERDUE,
}


def in_time(environment: Environment, _actor: log.Actor) -> Begun:
    """Notify of each family with values that are due or overdue, again whenever they are other values."""
    found: dict[tuple[int, RotationState], list[ValueAge]] = defaultdict(list)
    for age in ruled(environment):
        if age.state in EVENTS:
            found[age.family.pk, age.state].append(age)
    for (_family, state), values in sorted(found.items()):
        _tell(environment, values[0].family, state, values)
    return Begun()


def _tell(environment: Environment, family: Family, state: RotationState, values: Sequence[ValueAge]) -> None:
    these = sha256(repr(sorted((value.name, str(value.due_at)) for value in values)).encode()).hexdigest()[:16]
    outbox.post(
        EVENTS[state],
        subject=f"family:{family.pk}",
        title=say(_title(state, len(values)), what=f"{environment.slug} {visible(str(family))}", n=len(values)),
        lines=[_line(value) for value in values[:NAMED]],
        link=f"{reverse('backups:rotation')}?family={family.pk}&environment={environment.slug}",
        environment=environment,
        occasion=f"{environment.slug} {state} {these}",
        roles=[Role.OPERATOR] if without_owner([family]) else [],
        to=owners([family]),
    )


def _title(state: RotationState, number: int) -> str | Promise:
    if state == RotationState.OVERDUE:
        return ngettext_lazy(
            "%(what)s: %(n)s value is overdue for rotation", "%(what)s: %(n)s values are overdue for rotation", number
        )
    return ngettext_lazy(
        "%(what)s: %(n)s value is due for rotation", "%(what)s: %(n)s values are due for rotation", number
    )


def _line(value: ValueAge) -> str:
    due = f"{value.due_at:%Y-%m-%d}" if value.due_at else ""
    sentence = _("%(key)s: due on %(date)s, unchanged for %(days)s days.")
    if value.days == 1:
        sentence = _("%(key)s: due on %(date)s, unchanged for %(days)s day.")
    return say(sentence, key=visible(value.name), date=due, days=value.days)
