"""The likely cause of a difference, from a closed list, with its reason. It is worked out when shown, never stored.

A cause by name comes from Postgres alone: scans, deletions, earlier backups and earlier checks. The cause of a field
needs both values, so the caller has read them.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from backups.datasets.canonical import JSON
from backups.datasets.mapping import Correspondence
from backups.datasets.paths import BadPath, follow, parse
from backups.history import deleted_keys
from backups.integrity import loose
from backups.integrity.d1_rows import FoundRow
from backups.integrity.loose import Looser
from backups.models import Check, Difference, Generation, GenerationEntry
from kvops.models import Key, Namespace, Scan, UnexplainedDeletion
from kvops.names import visible
from kvops.prefixes import common
from kvops.wording import moment, say

EARLIER = 20
"""Backups. The newest ones of the keys that are asked for a key."""
MOST_BACKUPS = 500
"""Backups of the namespace that are looked through for them."""
CHANGED = "updated_at"
"""The column asked for the time of a row's last change, if the dataset ignores none that sounds like it."""

_SOUNDS_CHANGED = re.compile(r"(?i)updat|modif|chang")
_PLAIN = re.compile(r"\w{1,100}", re.ASCII)
_BY_NAME = (Looser.UNICODE, Looser.SPACE, Looser.CASE)

Kind = Difference.Kind

LOOSER: Mapping[Looser, str | Promise] = {
    Looser.UNICODE: _("Unicode form"),
    Looser.SPACE: _("spaces"),
    Looser.EMPTY: _("empty text or NULL"),
    Looser.CASE: _("upper and lower case"),
    Looser.DATE: _("form of the date"),
    Looser.TYPE: _("number or text"),
}


class Cause(TextChoices):
    """The closed list of causes."""

    D1_NEWER = "d1_newer", _("D1 is newer")
    KV_NEWER = "kv_newer", _("KV is newer")
    NEVER_LOADED = "never_loaded", _("the key was never loaded")
    DELETED = "deleted", _("the key was deleted")
    ROW_NOT_LOADED = "row_not_loaded", _("the row was never loaded")
    ROW_DELETED = "row_deleted", _("the row was deleted")
    FORMATTING = "formatting", _("the format differs")
    DATASET = "dataset", _("the dataset does not name the field")
    UNKNOWN = "unknown", _("not known")


@dataclass(frozen=True, slots=True)
class LikelyCause:
    """A cause with its reason, one sentence; empty if there is nothing to say."""

    cause: Cause
    reason: str | Promise = ""
    seen: bool = False
    """Whether KVOps saw it happen, or sees it in the values. Otherwise it is only likely."""


UNKNOWN = LikelyCause(Cause.UNKNOWN)


def changed_column(check: Check) -> str:
    """The column that may have the time of a row's last change."""
    for path in sorted(map(str, check.definition.get("ignore", []))):
        try:
            name = parse(path)[-1]
        except BadPath:
            continue
        if _SOUNDS_CHANGED.search(name) and _PLAIN.fullmatch(name):
            return name
    return CHANGED


def of_field(
    check: Check, rule: Correspondence, field: str, ours: Mapping[str, JSON], row: FoundRow, *, changed: str
) -> LikelyCause:
    """The cause of a field that differs; `changed` names the column of `row.changed`."""
    if field not in rule.fields:
        return UNKNOWN
    value = follow(dict(ours), rule.paths[field])
    if ways := loose.same_if(loose.of_json(value), loose.of_cell(*row.cells[rule.fields[field]])):
        what = ", ".join(str(LOOSER[way]) for way in ways)
        return LikelyCause(Cause.FORMATTING, say(_("Only this differs: %(what)s."), what=what), seen=True)
    return newer_row(check, ours, row, changed=changed) or UNKNOWN


def newer_row(check: Check, ours: Mapping[str, JSON], row: FoundRow, *, changed: str) -> LikelyCause | None:
    """The cause that the row is newer than its value in KV, by the column `changed`; None if it does not say so."""
    at = loose.moment_of(row.changed) if row.changed is not None else None
    if at is None:
        return None
    read_at = read_time(check)
    if at > read_at:
        sentence = _("%(column)s of the row is %(at)s, after KV was read on %(read)s.")
        return LikelyCause(Cause.D1_NEWER, say(sentence, column=changed, at=moment(at), read=moment(read_at)))
    known = loose.moment_of(ours[changed]) if ours.get(changed) is not None else None
    if known and known < at:
        sentence = _("%(column)s is %(at)s in the row and %(known)s in KV.")
        return LikelyCause(Cause.D1_NEWER, say(sentence, column=changed, at=moment(at), known=moment(known)))
    return None


def read_time(check: Check) -> datetime:
    """The time when the keys were read."""
    return check.generation.started_at if check.generation else check.started_at


def by_name(check: Check, differences: Iterable[Difference]) -> dict[int, LikelyCause]:
    """The causes that need no value, by the differences' primary keys. Those of differing fields are left out."""
    shown = [one for one in differences if one.kind != Kind.FIELD]
    return _ByName(check, shown).causes() if shown else {}


class _ByName:
    """The causes of some differences of one check, from the queries that they need."""

    def __init__(self, check: Check, shown: Sequence[Difference]) -> None:
        self.check, self.shown = check, shown
        self.namespace = namespace_of(check)
        self.passed = self._passed_before()
        self.compared = self._compared()

    def causes(self) -> dict[int, LikelyCause]:
        """The causes by primary key."""
        alike = self._alike()
        gone = self._gone([one.name for one in self.shown if one.kind == Kind.ONLY_IN_D1 and not one.row])
        return {one.pk: self._cause(one, alike, gone) for one in self.shown}

    def _cause(self, one: Difference, alike: Mapping[int, LikelyCause], gone: Mapping[str, LikelyCause]) -> LikelyCause:
        if one.kind == Kind.UNKNOWN_FIELD:
            return LikelyCause(
                Cause.DATASET, _("The policy names neither its column nor that it is ignored."), seen=True
            )
        if one.pk in alike:
            return alike[one.pk]
        if one.kind == Kind.ONLY_IN_D1:
            return UNKNOWN if one.row else gone.get(one.name, UNKNOWN)
        return self._row_missing(one.name) if one.kind == Kind.MISSING_IN_D1 else UNKNOWN

    def _passed_before(self) -> Check | None:
        """The newest earlier check of the dataset that found no difference."""
        earlier = Check.objects.passed().filter(
            dataset=self.check.dataset_id, environment=self.check.environment_id, pk__lt=self.check.pk
        )
        return earlier.order_by("-pk").first()

    def _compared(self) -> set[str]:
        """The names without a row that the passed check compared: a row that never existed was not deleted."""
        if self.passed is None or self.passed.generation_id is None:
            return set()
        wanted = {one.name for one in self.shown if one.kind == Kind.MISSING_IN_D1}
        kept = GenerationEntry.objects.filter(
            generation=self.passed.generation_id, name__in=wanted, outcome=GenerationEntry.Outcome.KEPT
        )
        return set(kept.values_list("name", flat=True))

    def _row_missing(self, name: str) -> LikelyCause:
        if self.passed is None:
            return LikelyCause(Cause.ROW_NOT_LOADED, _("No earlier check of this dataset found D1 complete."))
        if name not in self.compared:
            sentence = _("Check %(pk)s on %(at)s found no difference, but it did not compare this key.")
            why = say(sentence, pk=self.passed.pk, at=moment(self.passed.finished_at))
            return LikelyCause(Cause.ROW_NOT_LOADED, why)
        sentence = _("Check %(pk)s on %(at)s found no difference, so rows have changed since.")
        return LikelyCause(Cause.ROW_DELETED, say(sentence, pk=self.passed.pk, at=moment(self.passed.finished_at)))

    def _alike(self) -> dict[int, LikelyCause]:
        """The differences whose names differ only in form from a name that is missing on the other side."""
        others = {Kind.MISSING_IN_D1: Kind.ONLY_IN_D1, Kind.ONLY_IN_D1: Kind.MISSING_IN_D1}
        found = {}
        for mine, other in others.items():
            wanted = [one for one in self.shown if one.kind == mine]
            if not wanted:
                continue
            places = self.check.found.filter(kind=other).values_list("name", "row")
            by_form = {_form(place): place for place in places}
            for one in wanted:
                if match := by_form.get(_form((one.name, one.row))):
                    found[one.pk] = self._only_in_form(one, match)
        return found

    def _only_in_form(self, one: Difference, match: tuple[str, str]) -> LikelyCause:
        ways = loose.same_if(("t", f"{one.name} {one.row}"), ("t", " ".join(match)), _BY_NAME)
        what = ", ".join(str(LOOSER[way]) for way in ways)
        sentence = _("%(name)s stands on the other side, and only this differs: %(what)s.")
        return LikelyCause(Cause.FORMATTING, say(sentence, name=visible(" ".join(match).strip()), what=what))

    def _gone(self, names: Collection[str]) -> dict[str, LikelyCause]:
        """The causes of names that have a row and no key."""
        if self.namespace is None or not names or not self.check.is_of_kv:
            return {}
        found = dict.fromkeys(names, self._never_seen())
        found |= self._in_earlier_backups(names)
        found |= self._listed(names)
        found |= self._vanished(names)
        return found | self._deleted_by_us(names)

    def _never_seen(self) -> LikelyCause:
        if self.namespace and Scan.objects.complete().filter(namespace=self.namespace).exists():
            return LikelyCause(Cause.NEVER_LOADED, _("No scan and no backup ever held the key."))
        return UNKNOWN

    def _listed(self, names: Collection[str]) -> dict[str, LikelyCause]:
        """The names that the inventory has: written after the keys were read, or gone since the scan before."""
        assert self.namespace is not None  # noqa: S101  (`_gone` looked)
        scan = Scan.objects.newest(self.namespace)
        if scan is None:
            return {}
        at = moment(scan.completed_at)
        if scan.created_at > read_time(self.check):
            cause = LikelyCause(Cause.KV_NEWER, say(_("The scan of %(at)s lists the key, after KV was read."), at=at))
        else:
            cause = LikelyCause(Cause.DELETED, say(_("The scan of %(at)s listed the key, before KV was read."), at=at))
        there = Key.objects.filter(namespace=self.namespace, name__in=names).values_list("name", flat=True)
        return dict.fromkeys(there, cause)

    def _in_earlier_backups(self, names: Collection[str]) -> dict[str, LikelyCause]:
        """The names that one of the newest other backups held. Few backups are asked, each by its own index."""
        backups = Generation.objects.of_kv().filter(namespace=self.namespace, started_at__lt=read_time(self.check))
        pks = [
            one.pk
            for one in backups.order_by("-pk")[:MOST_BACKUPS]
            if common(one.prefixes, [self.check.dataset.prefix])
        ]
        kept = GenerationEntry.objects.filter(
            generation__in=pks[:EARLIER], name__in=names, outcome=GenerationEntry.Outcome.KEPT
        )
        held = dict(kept.order_by("generation").values_list("name", "generation"))
        sentence = _("Backup %(pk)s still held the key.")
        return {name: LikelyCause(Cause.DELETED, say(sentence, pk=pk)) for name, pk in held.items()}

    def _vanished(self, names: Collection[str]) -> dict[str, LikelyCause]:
        rows = UnexplainedDeletion.objects.filter(
            name__in=names, scan__namespace=self.namespace, scan__completed_at__isnull=False
        )
        sentence = _("The scan of %(at)s found it gone without an explanation.")
        return {
            one.name: LikelyCause(Cause.DELETED, say(sentence, at=moment(one.scan.completed_at)), seen=True)
            for one in rows.select_related("scan").order_by("scan")
        }

    def _deleted_by_us(self, names: Collection[str]) -> dict[str, LikelyCause]:
        assert self.namespace is not None  # noqa: S101  (`_gone` looked)
        found, deleted = deleted_keys.deletions(self.namespace)
        sentence = _("KVOps deleted it on %(at)s: %(cleanup)s.")
        return {
            one.name: LikelyCause(Cause.DELETED, say(sentence, at=moment(one.at), cleanup=one.stage.request), seen=True)
            for one in found.filter(deleted, name__in=names).select_related("stage__request").order_by("stage")
        }


def namespace_of(check: Check) -> Namespace | None:
    """The namespace whose keys the check is about; None if the environment has none with this binding."""
    if check.namespace is not None:
        return check.namespace
    if check.generation is not None:
        return check.generation.namespace
    return Namespace.objects.filter(environment=check.environment_id, binding=check.dataset.binding).first()


def _form(place: tuple[str, str]) -> tuple[loose.Plain, ...]:
    return tuple(loose.loosened(("t", text), _BY_NAME) for text in place)
