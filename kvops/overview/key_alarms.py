"""The alarms about keys: unexplained changes, unclassified keys, and keys that lack the expiry of their family."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.urls import reverse
from django.utils.translation import gettext as _, ngettext

from kvops.help import alarms as help_alarms
from kvops.inventory import expiry as key_expiry
from kvops.models import Namespace, Scan
from kvops.names import visible
from kvops.wording import spelled

SHOWN = 20
"""Scans. The overview has the alarms of at most this many."""
NAMED = 5
"""Families. An alarm names at most this many."""
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Alarm:
    """A problem that a person must look at, with its page, and the code of its help (`kvops.help.alarms`)."""

    level: str
    code: str
    title: str
    text: str
    url: str = ""
    action: str = ""
    since: datetime | None = None

    @property
    def help(self) -> str:
        """The address of its help."""
        return help_alarms.address(self.code)


def in_order(alarms: Iterable[Alarm]) -> list[Alarm]:
    """Red alarms before amber ones, each from the oldest to the newest; those without a known time come last."""
    return sorted(alarms, key=lambda one: (one.level != "danger", one.since is None, one.since or NEVER))


def alarms(unclassified: Iterable[tuple[Namespace, int, str, Scan | None]]) -> list[Alarm]:
    """All alarms about keys.

    `unclassified` has each namespace with its number of such keys, its page of keys, and its newest scan.
    """
    return [*_unexplained(), *_unclassified(unclassified), *_lacking()]


def _unexplained() -> list[Alarm]:
    """Alarms for each scan with unexplained deletions or unexpected keys, until a person has acknowledged it."""
    found = []
    for scan in Scan.objects.unexplained().select_related("namespace__environment").order_by("-pk")[:SHOWN]:
        if scan.unexpected:
            found.append(_unexpected(scan))
        if not scan.unexplained:
            continue
        title = ngettext(
            "%(namespace)s: %(count)s unexplained deletion",
            "%(namespace)s: %(count)s unexplained deletions",
            scan.unexplained,
        ) % {"namespace": scan.namespace, "count": spelled(scan.unexplained)}
        text = _("KVOps did not delete it, and it had not expired. It may have been deleted without an approval.")
        url = reverse("unexplained-scan", args=[scan.pk])
        found.append(Alarm("danger", "deletion.unexplained", title, text, url, _("See details"), scan.completed_at))
    return found


def _unexpected(scan: Scan) -> Alarm:
    title = ngettext(
        "%(namespace)s: %(count)s unexpected key", "%(namespace)s: %(count)s unexpected keys", scan.unexpected
    ) % {"namespace": scan.namespace, "count": spelled(scan.unexpected)}
    text = _("A legacy family, or a prefix that a clean-up emptied, must get no new key. Find out who wrote it.")
    url = f"{reverse('unexplained-scan', args=[scan.pk])}?show=new"
    return Alarm("danger", "key.unexpected", title, text, url, _("See details"), scan.completed_at)


def _unclassified(counts: Iterable[tuple[Namespace, int, str, Scan | None]]) -> list[Alarm]:
    found = []
    for namespace, count, keys_url, scan in counts:
        if not count:
            continue
        title = _("%(namespace)s has unclassified keys") % {"namespace": namespace}
        text = ngettext(
            "%(count)s key is treated like a setting until it has a family.",
            "%(count)s keys are treated like settings until they have a family.",
            count,
        ) % {"count": spelled(count)}
        since = scan.completed_at if scan else None
        url = f"{keys_url}?category=unclassified"
        found.append(Alarm("warning", "key.unclassified", title, text, url, _("See details"), since))
    return found


def _lacking() -> list[Alarm]:
    """One alarm for each namespace with keys that lack the expiry of their family, while the newest scan has any."""
    found = []
    for scan, count, families in key_expiry.lacking_now():
        title = ngettext(
            "%(namespace)s: %(count)s key lacks the expiry of its family",
            "%(namespace)s: %(count)s keys lack the expiry of their family",
            count,
        ) % {"namespace": scan.namespace, "count": spelled(count)}
        named = ", ".join(map(visible, families[:NAMED]))
        text = _("Their families are designed to expire, but these keys never do: %(families)s.") % {"families": named}
        url, see = reverse("expiry"), _("See details")
        found.append(Alarm("warning", "key.lacks_expiry", title, text, url, see, scan.completed_at))
    return found
