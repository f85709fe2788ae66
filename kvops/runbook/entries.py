"""The entries of the runbook, from the audit log: operations, reads of values, stated operations, changes outside."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from django.db.models import Q, QuerySet, TextChoices
from django.db.models.functions import Now, TruncDate
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy

from audit.actions import Action
from audit.models import Entry, EntryQuerySet
from kvops.inventory import value as key_value
from kvops.models import Environment, Family, Namespace, RunbookNote, RunbookTodo, StatedOperation
from kvops.operations.parts import Procedure
from kvops.operations.registry import BEGINS, QUIET
from kvops.runbook import procedures, steps as procedure_steps
from kvops.runbook.steps import TickedStep
from kvops.subjects import tree as subject_tree
from kvops.subjects.tree import SubjectTree

_OUTSIDE_SUBJECTS = ("stated", "outside", "unexplained")
"""The kinds of subjects of stated operations and of changes outside: they stand alone."""

_READS = (Action.VALUE_VIEWED, Action.VALUE_REVEALED)
"""Reads of a value: each stands alone, and its subject is the namespace."""

_OUTSIDE = (Action.OUTSIDE_FOUND, Action.MISSING_FOUND, Action.UNEXPECTED_FOUND)
"""Findings of changes outside KVOps."""
_TITLES = {
    Action.VALUE_VIEWED: gettext_lazy("Masked value read"),
    Action.VALUE_REVEALED: gettext_lazy("Masked value revealed"),
    Action.OUTSIDE_FOUND: gettext_lazy("Settings changed outside KVOps"),
    Action.MISSING_FOUND: gettext_lazy("Unexplained deletions"),
    Action.UNEXPECTED_FOUND: gettext_lazy("Unexpected keys"),
}

MOST = 300
"""Entries. A timeline shows at most this many, the newest."""

TAKEN_PART = 1_000
"""Entries. The search by person reads at most this many of the person's entries, the newest."""


class EntryKind(TextChoices):
    """The kind of an entry."""

    OPERATION = "operation", gettext_lazy("operation by KVOps")
    READ = "read", gettext_lazy("masked value read")
    STATED = "stated", gettext_lazy("stated by a person")
    OUTSIDE = "outside", gettext_lazy("changed outside KVOps")


@dataclass(frozen=True)
class RunbookEntry:
    """One entry, by the entry of the audit log that began it."""

    begun: Entry
    environment: Environment | None
    titles: dict[str, str] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Its number, that of the audit log's entry."""
        return self.begun.seq

    @property
    def kind(self) -> EntryKind:
        """Its kind."""
        kinds = {Action.RUNBOOK_STATED: EntryKind.STATED} | dict.fromkeys(_OUTSIDE, EntryKind.OUTSIDE)
        return (kinds | dict.fromkeys(_READS, EntryKind.READ)).get(Action(self.begun.action), EntryKind.OPERATION)

    @property
    def procedure(self) -> Procedure | None:
        """The procedure in its version at that time."""
        return procedures.named(self.begun.details.get("procedure"), self.begun.details.get("version"))

    @property
    def title(self) -> str:
        """The operation in words."""
        if self.begun.action in _TITLES:
            return str(_TITLES[Action(self.begun.action)])
        if self.kind == EntryKind.STATED:
            return capfirst(str(StatedOperation.Verb(self.begun.details["verb"]).label))
        return str(self.procedure.title) if self.procedure else self.begun.title

    @property
    def about(self) -> str:
        """The subject in words: the keys, the prefix or the backup."""
        known = self.titles.get(self.begun.subject, self.begun.subject_label)
        return self.begun.details["key"] if self.kind == EntryKind.READ else known

    @property
    def by(self) -> str:
        """The person or command: for a stated operation the one who did it."""
        return str(self.begun.details.get("person", self.begun.actor))

    @cached_property
    def stated(self) -> StatedOperation | None:
        """The row of a stated operation."""
        if self.kind != EntryKind.STATED:
            return None
        pk = self.begun.subject.partition(":")[2]
        return StatedOperation.objects.select_related("person", "stated_by", "environment").filter(pk=pk).first()

    @property
    def url(self) -> str:
        """Its page."""
        return reverse("runbook-entry", args=[self.number])

    @cached_property
    def command(self) -> str:
        """The command that does the same without KVOps: a read, the put of a change, or what a person typed."""
        if self.stated:
            return self.stated.command
        if self.kind != EntryKind.READ:
            return self._told
        pk = self.begun.subject.partition(":")[2]
        namespace = Namespace.objects.select_related("environment").filter(pk=pk).first()
        return key_value.fetch_command(namespace, self.about) if namespace else ""

    @property
    def _told(self) -> str:
        """The command of a change. A reverse change has it in a later entry: it begins before the old entry is read."""
        if self.begun.action != Action.CHANGE_PREPARED:
            return ""
        same = Entry.objects.filter(subject=self.begun.subject, action=self.begun.action, seq__gte=self.begun.seq)
        with_command = same.filter(details__has_key="command").order_by("seq").first()
        return str(with_command.details["command"]) if with_command else ""

    @cached_property
    def tree(self) -> SubjectTree:
        """Everything that belongs to the operation. A read and a stated operation stand alone."""
        if self.kind == EntryKind.READ:
            return SubjectTree([], more=False)
        return subject_tree.under(self.begun.subject)

    def timeline(self) -> tuple[list[Entry], bool]:
        """What happened, the oldest first; and whether there was more before."""
        if self.kind == EntryKind.READ:
            return [self.begun], False
        found = list(Entry.objects.about(self.tree.subjects).exclude(action__in=QUIET)[: MOST + 1])
        return found[:MOST][::-1], len(found) > MOST

    def steps(self) -> list[TickedStep]:
        """The steps of the procedure, ticked by what happened."""
        if self.procedure is None:
            return []
        found = Entry.objects.about(self.tree.subjects).filter(action__in=procedure_steps.actions(self.procedure))
        return procedure_steps.ticked(self.procedure, found)

    def notes(self) -> QuerySet[RunbookNote]:
        """People's notes, the oldest first."""
        return RunbookNote.objects.filter(entry=self.number).select_related("author").order_by("pk")

    def todos(self) -> QuerySet[RunbookTodo]:
        """The to-dos, the next one first, each with whether it is `overdue`."""
        mine = RunbookTodo.objects.filter(entry=self.number).annotate(overdue=Q(due__lt=TruncDate(Now())))
        return mine.select_related("owner", "done_by").order_by("done_at", "due", "pk")


@dataclass(frozen=True)
class RunbookSearch:
    """The filters of the list; an empty one filters nothing."""

    kind: str = ""
    procedure: str = ""
    family: Family | None = None
    environment: Environment | None = None
    person: str = ""
    key: str = ""
    part: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None

    def entries(self, limit: int) -> list[Entry]:
        """The newest beginnings that match, in one query. Each action is read along its own index, for `limit` rows."""
        found = [self._narrowed(rows, action)[:limit] for action, rows in self._sources()]
        if len(found) < 2:  # a union of one cannot be ordered
            return [entry for rows in found for entry in rows]
        return list(found[0].union(*found[1:], all=True).order_by("-seq")[:limit])

    def _sources(self) -> Iterator[tuple[Action, EntryQuerySet]]:
        begun = [(action, Q(details__has_key="procedure"), EntryKind.OPERATION) for action in BEGINS]
        begun += [
            (Action.VALUE_VIEWED, Q(details__masked=True), EntryKind.READ),
            (Action.VALUE_REVEALED, Q(), EntryKind.READ),
            (Action.RUNBOOK_STATED, Q(), EntryKind.STATED),
        ]
        begun += [(action, Q(), EntryKind.OUTSIDE) for action in _OUTSIDE]
        for action, only, kind in begun:
            if self.kind in ("", kind):
                yield action, Entry.objects.newest_first().filter(only, action=action)

    def _narrowed(self, found: EntryQuerySet, action: Action) -> EntryQuerySet:
        read = action in _READS
        if self.procedure:
            found = found.filter(details__procedure=self.procedure)
        if self.family:
            found = found.filter(_of_family(self.family, read=read))
        if self.environment:
            found = found.filter(environment__in=[self.environment.slug, ""])  # a clean-up is of every environment
        if self.person:
            took_part = Q(details__person__icontains=self.person)
            if not read:
                took_part |= Q(subject__in=self._subjects_of_person)
            found = found.filter(took_part | Q(pk__in=found.by(self.person).values("pk")))
        if self.key:
            found = found.filter(details__key=self.key) if read else found.filter(subject__in=self._subjects_of_key)
        if self.part:
            here = Q(details__key__icontains=self.part) | Q(details__keys__icontains=self.part)
            found = found.filter(here if read else here | Q(subject_label__icontains=self.part))
        if self.since:
            found = found.since(self.since)
        if self.until:
            found = found.until(self.until)
        return found if self.before is None else found.older_than(self.before)

    @cached_property
    def _subjects_of_person(self) -> list[str]:
        """The subjects that the person took part in, and everything above them."""
        entries = Entry.objects.by(self.person).exclude(action__in=_READS).newest_first()[:TAKEN_PART]
        return subject_tree.above(dict.fromkeys(entry.subject for entry in entries if entry.subject))

    @cached_property
    def _subjects_of_key(self) -> Sequence[str]:
        return subject_tree.of_key(self.key).subjects


def _of_family(family: Family, *, read: bool) -> Q:
    if not read:
        return Q(details__families__contains=[f"{family.binding} {family}"])
    here = Q(subject_label__endswith=f"/{family.binding}")
    return here & (Q(details__key=family.pattern) if family.exact else Q(details__key__startswith=family.pattern))


def shown(found: Iterable[Entry]) -> list[RunbookEntry]:
    """These beginnings as entries, with titles in the reader's language."""
    entries = list(found)
    environments = {one.slug: one for one in Environment.objects.all()}
    titles = subject_tree.titles(entry.subject for entry in entries)
    return [RunbookEntry(entry, environments.get(entry.environment), titles) for entry in entries]


def entry_of(number: int) -> RunbookEntry | None:
    """The entry with this number; None if there is none."""
    found = Entry.objects.filter(_beginnings(), seq=number).first()
    return shown([found])[0] if found else None


def of_subject(subject: str, *, named: bool = True) -> RunbookEntry | None:
    """The entry of the operation that a subject belongs to; None if it belongs to none.

    A backup belongs to the operation that made it, also after a prune request listed it. `named` also reads its title.
    """
    wanted = Entry.objects.filter(_beginnings(), ~Q(action__in=_READS))
    found = subject_tree.entries_above(subject, wanted, {*BEGINS.values(), *_OUTSIDE_SUBJECTS})
    nearest = min(found, key=lambda one: one.subject != subject and one.subject.startswith("prune:"), default=None)
    return (shown([nearest])[0] if named else RunbookEntry(nearest, None)) if nearest else None


def _beginnings() -> Q:
    return (
        Q(action__in=[*BEGINS], details__has_key="procedure")
        | Q(action=Action.VALUE_VIEWED, details__masked=True)
        | Q(action__in=[Action.VALUE_REVEALED, Action.RUNBOOK_STATED, *_OUTSIDE])
    )
