"""Whether the settings backups of an environment are in 1Password: kept, due, late, refused, missing or changed.

A line is a namespace with a set of prefixes, as routine backups have them. It is *late* when a verified backup that is
newer than the last one kept was finished more than 26 hours ago. The time counts from the last change of
`environments.toml` at the earliest, so that a vault that was just named is not late at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import TextChoices
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from backups.exports import onepassword as onepassword_documents
from backups.models import Generation, VaultDocument
from backups.vault import documents
from kvops import clock, timing
from kvops.models import Category, Environment, Namespace, Run
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import NEVER, Alarm, first_of
from kvops.wording import reason_of

Document = VaultDocument.State


class Place(TextChoices):
    """Whether the newest settings backup of a line is in 1Password."""

    KEPT = "kept", _("kept")
    DUE = "due", _("waiting for the next due time")
    LATE = "late", _("late")
    REFUSED = "refused", _("could not be kept")
    TOO_LARGE = "too_large", _("too large")
    GONE = "gone", _("missing from 1Password")
    CHANGED = "changed", _("changed in 1Password")

    @property
    def alarming(self) -> bool:
        """Whether the state needs a person's attention."""
        return self not in {Place.KEPT, Place.DUE}


@dataclass(frozen=True)
class VaultLine:
    """The backups of a namespace and set of prefixes: the newest, the one kept last, and those not kept since.

    `failed` are older than the one kept last, and a run could not keep them.
    """

    newest: Generation
    document: VaultDocument | None
    waiting: Sequence[Generation]
    place: Place
    since: datetime | None
    reason: str | Promise = ""
    failed: Sequence[Generation] = ()

    @property
    def namespace(self) -> Namespace:
        """The namespace of the keys."""
        return self.newest.namespace

    @property
    def look(self) -> str:
        """The name of the state in `operations.registry.STATES`."""
        return f"vault_{self.place}"

    @property
    def name(self) -> str:
        """The line for people."""
        return f"{self.namespace} {' '.join(self.newest.shown_prefixes)}"

    @property
    def to_keep(self) -> Sequence[Generation]:
        """The backups that the schedule keeps next. Without an earlier Document it is only the newest."""
        waiting = self.waiting if self.document else self.waiting[-1:]
        return [backup for backup in (*self.failed, *waiting) if not _why_not_keepable(backup)]


def lines(environment: Environment) -> list[VaultLine]:
    """Every line of the environment with a verified settings backup; none without a vault."""
    if not environment.vault:
        return []
    kept = {_key(one.generation): one for one in documents.newest_of_each(environment)}
    by_line: dict[tuple[int, str], list[Generation]] = {}
    backups = Generation.objects.verified().here().filter(environment=environment, category=Category.SETTINGS)
    related = backups.filter(purpose=Generation.Purpose.ROUTINE).select_related("environment", "namespace__environment")
    for backup in related.order_by("namespace__binding", "pk"):
        by_line.setdefault(_key(backup), []).append(backup)
    now = clock.now()
    found = [_line(backups, kept.get(key), environment, now) for key, backups in by_line.items()]
    failed = VaultDocument.objects.filter(vault=environment.vault, state=Document.WAITING, run__state__in=Run.RESUMABLE)
    again = set(failed.values_list("generation", flat=True))
    return [replace(line, failed=_older(by_line[_key(line.newest)], line, again)) for line in found]


def all_lines() -> list[tuple[Environment, list[VaultLine]]]:
    """The lines of every environment, in the order of clean-up."""
    return [(one, lines(one)) for one in Environment.objects.order_by("order")]


def alarms(estate: Estate) -> Iterator[Alarm]:
    """One alarm for the settings backups that are not in 1Password as their environment wants it."""
    wrong = [
        line
        for environment in estate.environments.values()
        if environment.vault
        for line in lines(environment)
        if line.place.alarming
    ]
    if wrong:
        n = len(wrong)
        title = ngettext("%(n)s settings backup is not in 1Password", "%(n)s settings backups are not in 1Password", n)
        text = first_of([f"{line.name} ({line.place.label})" for line in wrong])
        since, url = min(line.since or NEVER for line in wrong), reverse("backups:vault")
        yield Alarm("warning", "vault.lacks", title % {"n": n}, text, url, gettext("See details"), since)


def _key(generation: Generation) -> tuple[int, str]:
    return generation.namespace_id, repr(generation.prefixes)


def _older(backups: Sequence[Generation], line: VaultLine, failed: set[int]) -> list[Generation]:
    waiting = {backup.pk for backup in line.waiting}
    return [backup for backup in backups if backup.pk in failed - waiting]


def _why_not_keepable(backup: Generation) -> str | Promise:
    try:
        onepassword_documents.insist_keepable(backup)
    except onepassword_documents.NotKept as refused:
        return reason_of(refused)
    return ""


def _line(
    backups: Sequence[Generation], document: VaultDocument | None, environment: Environment, now: datetime
) -> VaultLine:
    newest = backups[-1]
    last = document.generation_id if document else 0
    waiting = [backup for backup in backups if backup.pk > last]
    if document and not waiting:
        places = {Document.GONE: Place.GONE, Document.CHANGED: Place.CHANGED}
        lost_at = document.lost_at
        place = places.get(Document(document.state), Place.KEPT)
        return VaultLine(newest, document, [], place, lost_at or document.kept_at)
    since = max(filter(None, [waiting[0].finished_at, environment.updated_at]))
    if too_large := _why_not_keepable(newest):
        return VaultLine(newest, document, waiting, Place.TOO_LARGE, newest.finished_at, too_large)
    tried = newest.documents.filter(vault=environment.vault).select_related("run").first()
    if tried and tried.run and tried.run.state in tried.run.RESUMABLE:
        return VaultLine(newest, document, waiting, Place.REFUSED, tried.run.finished_at, tried.run.shown_error)
    late = now - since > timedelta(seconds=timing.VAULT_LATE)
    return VaultLine(newest, document, waiting, Place.LATE if late else Place.DUE, since)
