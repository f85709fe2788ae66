"""The things to do, as lines in one order: the person's own steps and the alarms, the worst first.

Alarms of one kind that differ only by environment are one line. Its button leads to production's page, and the badge
of each environment to its own.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum

from django.utils.translation import gettext as _, ngettext

from kvops.models import Environment
from kvops.overview.key_alarms import NEVER, Alarm

MOST = 20
"""Rows. The overview has at most this many lines of one kind."""
SHOWN = 4
"""Lines. The others fold, so that the families are on the first screen, too."""
OWN_STEPS = 2
"""Lines. So many of the person's own steps are among those shown, however many alarms there are."""


class Urgency(IntEnum):
    """The order of the lines."""

    RED = 0
    STEP = 1
    AMBER = 2
    KNOWN = 3


@dataclass(frozen=True)
class Line:
    """One thing to do. `at` is a moment that `label` explains, such as a deadline; `since` only orders.

    `places` has the environments that it is about, each with the address of its page. Alarms of the same `kind` fold
    behind the first of them; `alike` is the number of those that did.
    """

    urgency: Urgency
    title: str
    text: str
    url: str
    action: str
    places: Sequence[tuple[Environment, str]] = ()
    since: datetime | None = None
    label: str = ""
    at: datetime | None = None
    help: str = ""
    kind: str = ""
    alike: int = 0

    @property
    def environments(self) -> Sequence[Environment]:
        """The environments that it is about."""
        return [environment for environment, _address in self.places]

    @property
    def of_production(self) -> bool:
        """Whether it is about production."""
        return any(environment.production for environment in self.environments)

    @property
    def look(self) -> str:
        """The name of its mark in the template."""
        return self.urgency.name.lower()


def step(
    environment: Environment,
    title: str,
    text: str,
    url: str,
    *,
    since: datetime | None = None,
    by: datetime | None = None,
) -> Line:
    """A next step. `by` is the last moment at which the approval can be used."""
    label = _("Approval ends") if by else ""
    return Line(Urgency.STEP, title, text, url, _("Open"), [(environment, url)], since, label, by)


def from_alarms(alarms: Iterable[Alarm]) -> list[Line]:
    """A line for each alarm, and one for those of a group."""
    groups: dict[object, list[Alarm]] = {}
    for at, alarm in enumerate(alarms):
        key = (alarm.code, alarm.level, alarm.group) if alarm.group else at
        groups.setdefault(key, []).append(alarm)
    return [_line(group) for group in groups.values()]


def _line(group: Sequence[Alarm]) -> Line:
    ordered = sorted(group, key=lambda one: not (one.environment and one.environment.production))
    first = ordered[0]
    title = first.title
    if len(group) > 1 and first.together:
        title = first.together(sum(one.n for one in group))
    texts = dict.fromkeys(one.text for one in ordered)
    since = [one.since for one in group if one.since]
    places = [(each, one.url) for one in ordered for each in (one.environment, *one.also) if each]
    return Line(
        Urgency.RED if first.level == "danger" else Urgency.AMBER,
        title,
        (len(group) > 1 and first.shared) or " · ".join(texts),
        first.url,
        first.action,
        tuple({environment.pk: (environment, url) for environment, url in places}.values()),
        min(since, default=None),
        help=first.help,
        kind=first.code,
    )


def in_order(lines: Iterable[Line]) -> list[Line]:
    """Red lines first, then the person's own steps, then amber ones; each from the oldest, without a time last.

    Alarms of production come before other alarms of their colour. Steps with the same words and the same page are one
    line.
    """
    merged: dict[object, Line] = {}
    for at, line in enumerate(lines):
        key = (line.title, line.url) if line.urgency == Urgency.STEP and line.url else at
        earlier = merged.get(key)
        if earlier:
            places = {environment.pk: (environment, url) for environment, url in (*earlier.places, *line.places)}
            text = " · ".join(dict.fromkeys((earlier.text, line.text)))
            merged[key] = replace(earlier, places=tuple(places.values()), text=text)
        else:
            merged[key] = line
    return sorted(merged.values(), key=_place)


def _place(line: Line) -> tuple[int, bool, bool, datetime]:
    elsewhere = line.urgency != Urgency.STEP and not line.of_production
    return (line.urgency, elsewhere, line.since is None, line.since or NEVER)


def folded(lines: Sequence[Line]) -> tuple[Sequence[Line], Sequence[Line]]:
    """The lines that are shown and those that fold, both in their order.

    The first alarm of each kind is shown before a second one of any kind, and the first of the person's own steps
    are shown in any case. The worst line is always the first.
    """
    if len(lines) <= SHOWN:
        return lines, []
    seen: set[str] = set()
    firsts, alike = list[int](), list[int]()
    for at, line in enumerate(lines):
        (alike if line.kind in seen else firsts).append(at)
        seen |= {line.kind} - {""}
    steps = [at for at in firsts if lines[at].urgency == Urgency.STEP][:OWN_STEPS]
    others = [at for at in (*firsts, *alike) if at not in steps]
    chosen = {*steps, *others[: SHOWN - len(steps)]}
    more = [line for at, line in enumerate(lines) if at not in chosen]
    left = Counter(line.kind for line in more if line.kind)
    shown = [replace(lines[at], alike=left.pop(lines[at].kind, 0)) for at in sorted(chosen)]
    return shown, more


@dataclass(frozen=True)
class Verdict:
    """The first sentence of the page, how bad it is (danger, warning or success), and how many lines it leaves out."""

    sentence: str
    level: str
    others: int = 0


def verdict(lines: Sequence[Line], *, restorable: int, families: int, oldest: str, may_operate: bool) -> Verdict:
    """The sentence about the lines, those of production first; without lines, about the families.

    `oldest` is the time to which even the family with the oldest backup can be restored.
    """
    if lines:
        level = "danger" if lines[0].urgency == Urgency.RED else "warning"
        mine, environment = _of_one(lines)
        things = _things(len(mine), may_operate=may_operate)
        if environment:
            things = _("%(environment)s: %(things)s") % {"environment": environment.name, "things": things}
        return Verdict(things, level, len(lines) - len(mine))
    if not families:
        return Verdict(_("Nothing waits"), "success")
    if restorable == families:
        sentence = ngettext(
            "%(n)s family can be restored to %(oldest)s; nothing waits",
            "All %(n)s families can be restored to %(oldest)s; nothing waits",
            families,
        )
        return Verdict(sentence % {"n": families, "oldest": oldest}, "success")
    sentence = ngettext(
        "%(restorable)s of %(n)s family can be restored; nothing waits",
        "%(restorable)s of %(n)s families can be restored; nothing waits",
        families,
    )
    return Verdict(sentence % {"restorable": restorable, "n": families}, "warning")


def _of_one(lines: Sequence[Line]) -> tuple[Sequence[Line], Environment | None]:
    """The lines of production; if it has none, all lines, and their environment if it is the same for all."""
    for line in lines:
        for environment in line.environments:
            if environment.production:
                return [one for one in lines if one.of_production], environment
    found = {environment.pk: environment for line in lines for environment in line.environments}
    of_one = len(found) == 1 and all(line.environments for line in lines)
    return lines, next(iter(found.values())) if of_one else None


def _things(n: int, *, may_operate: bool) -> str:
    if may_operate:
        return ngettext("%(n)s thing to do", "%(n)s things to do", n) % {"n": n}
    return ngettext("%(n)s thing to look at", "%(n)s things to look at", n) % {"n": n}
