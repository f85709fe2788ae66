"""The work of a check, step by step: read the backup or KV, page through the table by key, compare both as sets.

D1 may be written to meanwhile; such a change shows as a difference, and the check is repeated. All reads must belong
to one stretch of work, so a check that lay still for a quarter of an hour starts over.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, astuple, dataclass
from typing import Self

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.datasets import registry as dataset_registry
from backups.datasets.mapping import Correspondence
from backups.datasets.paging import MOST_ROWS, Row, TableReader
from backups.datasets.sides import ONLY_IN_D1, DatasetKey, chained
from backups.integrity import cases as difference_cases, staging as check_staging
from backups.integrity.backup_side import (
    FILE_BATCH,
    compared_prefixes,
    insist_whole,
    left_out,
    read_file,
    read_generation,
)
from backups.integrity.live_side import read_now
from backups.integrity.staging import MAX_STORED, Unstaged
from backups.models import Check, Dataset, Generation
from kvops import clock, timing
from kvops.cloudflare import CloudflareError
from kvops.models import Namespace
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError
from kvops.wording import say

MAX_KEYLESS = 1_000
MAX_RESTARTS = 3
PAGES_AT_ONCE = 4  # of D1, for one batch of the backup


@dataclass(slots=True)
class CheckProgress:
    """The progress of a check, kept in the cursor of its run."""

    phase: str = "backup"
    """`backup`, then `d1` until the table is read too, then `compare`."""
    d1_read: bool = False
    parts: int = 0
    keys: int = 0
    kv_rows: int = 0
    rows: int = 0
    staged_keys: int = 0
    staged_rows: int = 0
    found: int = 0
    nameless: int = 0
    looked_for_keyless: bool = False
    after: str = ""
    limit: int = 0
    most: int = 0
    rows_read: int = 0
    rows_sha256: str = ""
    restarts: int = 0
    at: float = 0.0

    @classmethod
    def read(cls, cursor: Mapping[str, object]) -> Self:
        """The progress in a cursor; an empty one is the beginning."""
        return cls(**cursor)  # type: ignore[arg-type]


type Batches = Generator[tuple[int, Sequence[DatasetKey]]]


class CheckComparison:
    """The work of one step on a check, in a run of its own or within another run."""

    def __init__(self, lease: Lease, check: Check, progress: CheckProgress, *, within_another_run: bool) -> None:
        self.lease, self.check, self.progress = lease, check, progress
        self.within_another_run = within_another_run
        self.rule = Correspondence.of(check.definition, check.environment.slug)
        self.blocks = self.rule.only_in_d1 == Dataset.OnlyInD1.BLOCK
        self.prefixes, self.left_out = compared_prefixes(check, self.rule), left_out(check)
        self._calls, self._unstaged = 0, Unstaged()

    @property
    def tired(self) -> bool:
        """Whether the step should end. Only a command reads a file, in its own process, so that needs no steps."""
        return self.lease.tired and not (self.progress.phase == "backup" and self.check.generation is None)

    def step(self) -> bool:
        """Work until the step is over; True if the check is finished. Raises RunError, TryLater, CloudflareError."""
        if self.progress.at and clock.now().timestamp() - self.progress.at > timing.CHECK_PAUSE:
            self._start_over(CheckProgress())
        finished = False
        while not finished:
            if self.progress.phase == "compare":
                finished = self._conclude()
            else:
                self._read_and_count()
            if self.lease.tired:
                break
        return finished

    def _checkpoint(self, then: Again | Done | None = None, *, finished: bool = False) -> AbstractContextManager[None]:
        self.progress.at = clock.now().timestamp()
        place = asdict(self.progress)
        calls, self._calls = self.lease.run.calls + self._calls, 0
        if not self.within_another_run:
            return self.lease.checkpoint(then, cursor=place, calls=calls, done=self.progress.keys + self.progress.rows)
        cursor = {name: value for name, value in self.lease.run.cursor.items() if name != "check"}
        if not finished:
            cursor["check"] = {"id": self.check.pk, "progress": place}
        return self.lease.checkpoint(then, cursor=cursor, calls=calls)

    def _start_over(self, progress: CheckProgress) -> None:
        self.progress = progress
        with self._checkpoint():
            check_staging.clear_sides(self.check, findings=True)
            Check.objects.filter(pk=self.check.pk).update(started_at=Now())

    def _keep(self) -> None:
        """Stage what was read of both sides since the last checkpoint."""
        rows, self._unstaged = self._unstaged, Unstaged()
        self.progress.found += len(rows.findings)
        self.progress.staged_keys += len(rows.backup) + len(rows.unreadable)
        self.progress.staged_rows += len(rows.d1)
        with self._checkpoint():
            check_staging.stage(self.check, rows, self.rule.readings)
            room = MAX_STORED - self.progress.found + len(rows.findings)
            check_staging.note_differences(self.check, rows.findings, room=room)

    def _read_and_count(self) -> None:
        """Read, and keep the number of requests also if the last ones failed: that ends the step."""
        try:
            self._read()
        except (CloudflareError, RunError):
            self.lease.renew(calls=self.lease.run.calls + self._calls)
            raise

    def _read(self) -> None:
        """Read both sides, or as much of them as a step can."""
        if self.check.namespace is not None and self.progress.phase == "backup":
            self._read_kv(self.check.namespace)
            return
        with self._table() as table:
            if self.blocks and not self.progress.looked_for_keyless:
                self._read_keyless(table)
            if self.progress.phase == "backup":
                self._read_backup(table)
                if self.tired:
                    return
            while self.progress.phase == "d1":
                self._read_page(table)
                self._keep()
                if self.tired and not table.asked:
                    return

    # The backup

    def _read_backup(self, table: TableReader) -> None:
        """Read the backup in turn with D1, until the step or the backup ends."""
        generation = self.check.generation
        self._ask(table)
        with closing(self._batches(generation, table)) as batches:
            for part, batch in batches:
                self.progress.parts = part
                self._add_keys(batch)
                self._draw_level(table)
                self._keep()
                if self.tired:
                    return
                self._ask(table)
        if generation is not None:
            insist_whole(generation, self.rule, keys=self.progress.keys, rows=self.progress.kv_rows)
        self._end_of_backup()

    def _batches(self, generation: Generation | None, table: TableReader) -> Batches:
        if generation is not None:
            return read_generation(generation, self.rule, after=self.progress.parts)

        def size() -> int:
            """As many rows as the page of D1 that was asked for, so that the two come together."""
            level = self.progress.rows + table.asked_for - self.progress.kv_rows
            return level if table.asked and level > 0 else FILE_BATCH

        return ((0, batch) for batch in read_file(self.check, self.rule, after=self.progress.keys, size=size))

    def _draw_level(self, table: TableReader) -> None:
        """Read D1 as far as the backup: rows of the two that come together need no digests."""
        for _page in range(PAGES_AT_ONCE):
            if not table.asked:
                return
            try:
                self._read_page(table)
            except (CloudflareError, RunError):
                self._keep()  # what was read before is good
                raise
            if self.progress.rows >= self.progress.kv_rows:
                return
            self.lease.keep()

    def _end_of_backup(self) -> None:
        self.progress.phase = "compare" if self.progress.d1_read else "d1"
        self._keep()

    def _read_kv(self, namespace: Namespace) -> None:
        """Read the keys as they are now, all in one step, so that an interrupted read begins again."""
        if self.progress.keys:
            self._start_over(CheckProgress(restarts=self.progress.restarts))
        with closing(read_now(namespace, self.rule)) as batches:
            for calls, batch in batches:
                self._calls += calls
                self._add_keys(batch)
                self._keep()
        self._end_of_backup()

    def _add_keys(self, batch: Sequence[DatasetKey]) -> None:
        self.progress.keys += len(batch)
        self.progress.kv_rows += self._unstaged.add_keys(batch)

    # D1

    def _table(self) -> TableReader:
        try:
            database = dataset_registry.environment_database(self.check.environment, self.check.dataset)
        except dataset_registry.NoDatabase as error:
            raise RunError("no_database", error) from error
        return TableReader(self.check.environment, database.database_id, self.rule, self.progress)

    def _read_keyless(self, table: TableReader) -> None:
        """Count the rows with a NULL in their key, which correspond to no key; allowed ones are not counted."""
        try:
            rows = table.rows(self.rule.d1.keyless_sql(MAX_KEYLESS + 1))
        finally:
            self._count_calls(table)
        if len(rows) > MAX_KEYLESS:
            sentence = _(
                "More than %(most)s rows of %(table)s have no value in a column of the key: correct the table or the "
                "dataset."
            )
            raise RunError("no_keys", say(sentence, most=MAX_KEYLESS, table=self.rule.table))
        self.progress.looked_for_keyless = True
        self._add_rows(rows)
        self._keep()

    def _read_page(self, table: TableReader) -> None:
        """Add the next page, and ask for the one after it first."""
        try:
            rows, self.progress.d1_read = table.take()
        finally:
            self._count_calls(table)
        self.progress.after, self.progress.limit, self.progress.most = astuple(table.place)
        self._ask(table)
        if self.progress.d1_read and self.progress.phase == "d1":
            self.progress.phase = "compare"
        self._add_rows(rows)

    def _ask(self, table: TableReader) -> None:
        if not (self.progress.d1_read or self.tired):
            table.ask()

    def _count_calls(self, table: TableReader) -> None:
        calls, rows_read = table.spent()
        self._calls += calls
        self.progress.rows_read += rows_read

    def _add_rows(self, rows: Sequence[Row]) -> None:
        found = [row for row in map(self.rule.reader.read, rows) if row.may_be_under(self.prefixes)]
        found = [row for row in found if row.name not in self.left_out] if self.left_out else found
        self._unstaged.newer |= self.rule.newer_rows(rows)
        self.progress.rows_sha256 = chained(self.progress.rows_sha256, found)
        self.progress.rows += len(found)
        self.progress.nameless += self._unstaged.add_rows(found, allowed=not self.blocks)

    # Both

    def _conclude(self) -> bool:
        mine = self.progress
        if check_staging.staged(self.check) != (mine.staged_keys, mine.staged_rows):
            # The staging table is unlogged: a crash of Postgres empties it.
            if mine.restarts >= MAX_RESTARTS:
                raise RunError(
                    "rows_lost", gettext_noop("The rows read so far were lost repeatedly. Start a new check.")
                )
            self._start_over(CheckProgress(restarts=mine.restarts + 1))
            return False
        result: dict[str, JSON] = {}
        with self._checkpoint(None if self.within_another_run else Done(result), finished=True):
            allowed = [] if self.blocks else [ONLY_IN_D1]
            room = MAX_STORED - mine.found
            found = check_staging.find(self.check, self.rule, allowed=allowed, room=room)
            only = found.kinds.pop(ONLY_IN_D1, 0)
            differences = mine.found + found.kinds.total() + (only if self.blocks else 0)
            figures: dict[str, JSON] = {"keys": mine.keys, "rows": mine.rows, "differences": differences}
            figures["only_in_d1"] = only + mine.nameless
            if self.rule.many:
                figures["kv_rows"] = mine.kv_rows
            result |= {"check": self.check.pk, **figures, "rows_read": mine.rows_read}
            self._record({**figures, "newer": found.newer}, found.rules, passed=differences == 0)
            check_staging.clear_sides(self.check)
        return True

    def _record(self, figures: Mapping[str, JSON], by_rule: Mapping[str, int], *, passed: bool) -> None:
        rules: dict[str, JSON] = {rule: by_rule.get(rule, 0) for rule in self.rule.named_rules}
        changed = Check.objects.filter(pk=self.check.pk, outcome=Check.Outcome.PENDING).update(
            outcome=Check.Outcome.PASSED if passed else Check.Outcome.FAILED,
            finished_at=Now(),
            rules=rules,
            **{**figures, "kv_rows": self.progress.kv_rows},
        )
        if changed != 1:
            raise RunError("check_moved", gettext_noop("The check was finished by another worker."))
        read: dict[str, JSON] = {**figures, "rules": rules, "rows_sha256": self.progress.rows_sha256}
        statement, _ = self.rule.d1.page_sql((), MOST_ROWS)
        log.record(
            Action.CHECK_PASSED if passed else Action.CHECK_FAILED,
            actor=self.lease.actor,
            **self.check.audited,
            digest=self.check.definition_digest,
            details={**read, "statement": statement[:2000]},
        )
        if passed:
            difference_cases.check_passed(self.check, self.lease.actor)
