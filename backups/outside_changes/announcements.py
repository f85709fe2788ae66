"""The result of a search: kept, recorded, and announced once, with names of keys and no value.

It is an alarm until a person has explained it.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy as _, ngettext_lazy

from audit import log
from audit.actions import Action
from backups.models import OutsideChange, OutsideSearch
from kvops.inventory import families
from kvops.inventory.families import Families
from kvops.models import NotificationEvent, Person
from kvops.names import visible
from kvops.notifications import outbox
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm
from kvops.overview.lines import MOST
from kvops.wording import say

if TYPE_CHECKING:
    from audit.chain import JSON

SYSTEM = log.Actor.system("outside changes")
NAMED = 5
"""Keys. A message names at most this many of each kind."""
RECORDED = 20
"""Keys. The audit log names at most this many; the rows have all."""
_OWNERS_OF = 1_000
"""Names. The owners of the first families found are told, so that a message stays cheap after a large deletion."""

Kind = OutsideChange.Kind
_LINES = {
    Kind.CHANGED: (_("Changed: %(names)s."), _("Changed: %(names)s and %(more)s more.")),
    Kind.NEW: (_("New: %(names)s."), _("New: %(names)s and %(more)s more.")),
    Kind.GONE: (_("Gone: %(names)s."), _("Gone: %(names)s and %(more)s more.")),
}
ASK = _("No operation of KVOps explains this. Find out who did it and why, and note your findings.")


def keep_search(made: OutsideSearch, changes: Sequence[OutsideChange]) -> None:
    """Keep the result of a search, in the caller's transaction. A change is recorded and announced."""
    log.insist()
    made.save()
    for change in changes:
        change.search = made
    OutsideChange.objects.bulk_create(changes, batch_size=1_000)
    if changes:
        _record(Action.OUTSIDE_FOUND, made, changes)
        _announce(made, changes)
    elif made.outcome == OutsideSearch.Outcome.NOT_COMPARABLE:
        _record(Action.OUTSIDE_NOT_COMPARABLE, made, [])


def title(made: OutsideSearch) -> str:
    """The finding in one sentence."""
    sentence = ngettext_lazy(
        "%(namespace)s: %(n)s setting changed outside KVOps",
        "%(namespace)s: %(n)s settings changed outside KVOps",
        made.found,
    )
    return say(sentence, namespace=made.namespace, n=f"{made.found:,}")


def lines(made: OutsideSearch) -> list[str]:
    """One sentence for each kind of change, with the first names."""
    counts = {Kind.CHANGED: made.changed, Kind.NEW: made.new, Kind.GONE: made.gone}
    found = []
    for kind, count in counts.items():
        if not count:
            continue
        named = made.changes.filter(kind=kind).order_by("name").values_list("name", flat=True)[:NAMED]
        sentence = _LINES[kind][count > NAMED]
        found.append(say(sentence, names=", ".join(map(visible, named)), more=f"{count - NAMED:,}"))
    return found


def not_comparable(made: OutsideSearch) -> Promise:
    """The reason why the backups are not comparable, with the remedy."""
    if made.reason == OutsideSearch.Reason.PARTIAL:
        return _(
            "The backup is partial, so it cannot be compared. The next verified backup is compared with the last "
            "verified one."
        )
    return _(
        "The key of the digests changed between the two backups, and the worker no longer had the older key. A change "
        "in this time cannot be seen here. Before the next rotation, keep the older key below the new one in "
        "KVOPS_DIGEST_KEY until the first backup after it is made."
    )


def alarms(_estate: Estate) -> Iterator[Alarm]:
    """One alarm for each search that found changes or could not compare, until a person has explained it."""
    unexplained = OutsideSearch.objects.unexplained().select_related("namespace__environment").order_by("-pk")
    for search in unexplained[:MOST]:
        url, see = reverse("backups:outside", args=[search.pk]), gettext("See details")
        if search.found:
            text = " ".join([*map(str, lines(search)), str(ASK)])
            yield Alarm("danger", "setting.changed_outside", str(title(search)), text, url, see, search.at)
        else:
            sentence = gettext("%(namespace)s: a backup of settings is not comparable with the one before")
            text = str(not_comparable(search))
            sentence %= {"namespace": search.namespace}
            yield Alarm("warning", "setting.not_comparable", sentence, text, url, see, search.at)


def unexplained(_person: Person) -> QuerySet[OutsideSearch]:
    """The searches that nobody explained, for the menu."""
    return OutsideSearch.objects.unexplained()


def _record(action: Action, made: OutsideSearch, changes: Sequence[OutsideChange]) -> None:
    families = Families.of(made.namespace.binding)
    found = sorted({f"{made.namespace.binding} {family}" for one in changes if (family := families.family(one.name))})
    named: list[JSON] = [*(change.name for change in changes[:RECORDED])]
    in_families: list[JSON] = [*found]
    details: dict[str, JSON] = {"generation": made.generation_id, "earlier": made.earlier_id}
    if changes:
        details |= {"changed": made.changed, "new": made.new, "gone": made.gone, "keys": named, "families": in_families}
    else:
        details["reason"] = made.reason
    log.record(
        action,
        actor=SYSTEM,
        environment=made.namespace.environment.slug,
        subject=made.subject,
        subject_label=str(made)[:200],
        details=details,
    )


def _announce(made: OutsideSearch, changes: Sequence[OutsideChange]) -> None:
    outbox.post(
        NotificationEvent.SETTING_CHANGED_OUTSIDE,
        subject=made.subject,
        title=title(made),
        lines=[*lines(made), say(ASK)],
        link=reverse("backups:outside", args=[made.pk]),
        environment=made.namespace.environment,
        to=families.owners_of_names(made.namespace.binding, [one.name for one in changes[:_OWNERS_OF]]),
    )
