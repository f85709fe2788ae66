"""The alarms about keys: unexplained changes, unclassified keys, and keys that lack the expiry of their family."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.urls import reverse
from django.utils.translation import gettext as _, ngettext

from kvops.help import pages as help_pages
from kvops.models import Environment, Scan
from kvops.names import visible
from kvops.overview.estate import Estate, Holdings
from kvops.wording import spelled

NAMED = 5
"""Things. An alarm names at most this many."""
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Alarm:
    """A problem that a person must look at, with its page, and the code of its help (`kvops.help`).

    `also` are the other environments that it is about. The overview makes one line of alarms that have the same code
    and `group`: of the same thing in several environments. `together` is the title of that line, for the sum of `n`,
    and `shared` its text if those of the alarms are not enough.
    """

    level: str
    code: str
    title: str
    text: str
    url: str = ""
    action: str = ""
    since: datetime | None = None
    environment: Environment | None = None
    also: Sequence[Environment] = ()
    group: str = ""
    n: int = 0
    together: Callable[[int], str] | None = None
    shared: str = ""

    @property
    def help(self) -> str:
        """The address of its help."""
        return help_pages.address(self.code)


def in_order(alarms: Iterable[Alarm]) -> list[Alarm]:
    """Red alarms before amber ones, each from the oldest to the newest; those without a known time come last."""
    return sorted(alarms, key=lambda one: (one.level != "danger", one.since is None, one.since or NEVER))


def first_of(names: Sequence[str]) -> str:
    """The first names in one line, and the number of the others."""
    more = [f"+{len(names) - NAMED}"] if len(names) > NAMED else []
    return ", ".join([*names[:NAMED], *more])


def unexplained(scans: Iterable[Scan]) -> list[Alarm]:
    """Alarms for each of these scans with unexplained deletions or unexpected keys that nobody acknowledged."""
    found = []
    for scan in scans:
        if scan.unexpected and not scan.acknowledged_at:
            found.append(_unexpected(scan))
        if scan.unexplained and not scan.acknowledged_at:
            found.append(_deleted(scan))
    return found


def _deleted(scan: Scan) -> Alarm:
    title = ngettext(
        "%(namespace)s: %(count)s unexplained deletion",
        "%(namespace)s: %(count)s unexplained deletions",
        scan.unexplained,
    ) % {"namespace": scan.namespace, "count": spelled(scan.unexplained)}
    return Alarm(
        "danger",
        "deletion.unexplained",
        title,
        ngettext(
            "KVOps did not delete it, and it had not expired. It may have been deleted without an approval.",
            "KVOps did not delete them, and they had not expired. They may have been deleted without an approval.",
            scan.unexplained,
        ),
        reverse("unexplained-scan", args=[scan.pk]),
        _("See details"),
        scan.completed_at,
        scan.namespace.environment,
        group="all",
        n=scan.unexplained,
        together=lambda n: ngettext("%(n)s unexplained deletion", "%(n)s unexplained deletions", n) % {"n": spelled(n)},
    )


def _unexpected(scan: Scan) -> Alarm:
    title = ngettext(
        "%(namespace)s: %(count)s unexpected key", "%(namespace)s: %(count)s unexpected keys", scan.unexpected
    ) % {"namespace": scan.namespace, "count": spelled(scan.unexpected)}
    return Alarm(
        "danger",
        "key.unexpected",
        title,
        _("A legacy family, or a prefix that a clean-up emptied, must get no new key. Find out who wrote it."),
        f"{reverse('unexplained-scan', args=[scan.pk])}?show=new",
        _("See details"),
        scan.completed_at,
        scan.namespace.environment,
        group="all",
        n=scan.unexpected,
        together=lambda n: ngettext("%(n)s unexpected key", "%(n)s unexpected keys", n) % {"n": spelled(n)},
    )


def unclassified(holdings: Iterable[Holdings]) -> list[Alarm]:
    """One alarm for each namespace with keys that belong to no family."""
    found = []
    for held in holdings:
        if not held.unclassified:
            continue
        text = ngettext(
            "%(count)s key is treated like a setting until it has a family.",
            "%(count)s keys are treated like settings until they have a family.",
            held.unclassified,
        ) % {"count": spelled(held.unclassified)}
        found.append(
            Alarm(
                "warning",
                "key.unclassified",
                _("%(namespace)s has unclassified keys") % {"namespace": held.namespace},
                text,
                f"{held.keys_url}?category=unclassified",
                _("See details"),
                held.scanned_at,
                held.namespace.environment,
                group="all",
                n=held.unclassified,
                together=lambda n: ngettext("%(n)s unclassified key", "%(n)s unclassified keys", n) % {"n": spelled(n)},
                shared=_("They are treated like settings until they have a family."),
            )
        )
    return found


def lacking(estate: Estate) -> list[Alarm]:
    """One alarm for each namespace with keys that lack the expiry of their family, while the newest scan has any."""
    found = []
    for held in estate.holdings:
        counts = [(one, held.count(one)) for one in estate.families if one.binding == held.namespace.binding]
        families = [(count.lacking, family) for family, count in counts if count and count.lacking]
        if not families:
            continue
        n = sum(keys for keys, _family in families)
        title = ngettext(
            "%(namespace)s: %(count)s key lacks the expiry of its family",
            "%(namespace)s: %(count)s keys lack the expiry of their family",
            n,
        ) % {"namespace": held.namespace, "count": spelled(n)}
        most = sorted(families, key=lambda one: -one[0])[:NAMED]
        named = ", ".join(visible(str(family)) for _keys, family in most)
        found.append(
            Alarm(
                "warning",
                "key.lacks_expiry",
                title,
                _("Their families are designed to expire, but these keys never do: %(families)s.")
                % {"families": named},
                reverse("expiry"),
                _("See details"),
                held.scanned_at,
                held.namespace.environment,
                group="all",
                n=n,
                together=lambda n: (
                    ngettext(
                        "%(n)s key lacks the expiry of its family", "%(n)s keys lack the expiry of their family", n
                    )
                    % {"n": spelled(n)}
                ),
            )
        )
    return found
