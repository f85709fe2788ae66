"""The work of a check, step by step: read the backup or KV, page through the table by key, compare both as sets.

D1 may be written to meanwhile; such a change shows as a difference, and the check is repeated. All reads must belong
to one stretch of work, so a check that lay still for a quarter of an hour starts over.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, astuple, dataclass
from hashlib import sha256
from typing import Self

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.datasets import registry as dataset_registry
from backups.datasets.mapping import Correspondence
from backups.datasets.paging import MOST_ROWS, Row, TableReader
from backups.datasets.sides import MISSING_IN_D1, ONLY_IN_D1, DatasetKey, DatasetRow, Finding
from backups.integrity import cases as difference_cases, staging as check_staging
from backups.integrity.backup_side import insist_whole, read_file, read_generation
from backups.integrity.live_side import read_now
from backups.integrity.staging import MAX_STORED, Side, Staged
from backups.models import Check, Dataset, Generation
from kvops import clock, timing
from kvops.cloudflare import CloudflareError
from kvops.models import Namespace
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError
from kvops.wording import say

MAX_KEYLESS = 1_000
MAX_RESTARTS = 3


@dataclass(slots=True)
class CheckProgress:
    """The progress of a check, kept in the cursor of its run."""

    phase: str = "backup"
    """`backup` until the backup is read, then `d1` until the table is read too, then `compare`."""
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


class CheckComparison:
    """The work of one step on a check, in a run of its own or within another run."""

    def __init__(self, lease: Lease, check: Check, progress: CheckProgress, *, within_another_run: bool) -> None:
        self.lease, self.check, self.progress = lease, check, progress
        self.within_another_run = within_another_run
        self.rule = Correspondence.of(check.definition)
        self.blocks = self.rule.only_in_d1 == Dataset.OnlyInD1.BLOCK
        # A backup of master data holds several tables, and each check is about one of them.
        whole = check.generation if check.generation and not check.generation.tables else None
        self.prefixes = tuple(whole.prefixes if whole else [self.rule.prefix])
        self._calls = 0

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

    def _keep(self, rows: Mapping[Side, Sequence[Staged]], findings: Sequence[Finding]) -> None:
        room = MAX_STORED - self.progress.found
        self.progress.found += len(findings)
        with self._checkpoint():
            for side, staged in rows.items():
                check_staging.stage(self.check, side, staged)
            check_staging.note_differences(self.check, findings, room=room)

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
                if self.lease.tired:
                    return
            while self.progress.phase == "d1":
                self._read_page(table)
                if self.lease.tired and not table.asked:
                    return

    # The backup

    def _read_backup(self, table: TableReader) -> None:
        """Read the backup in turn with D1, until the step or the backup ends."""
        generation = self.check.generation
        with closing(self._batches(generation)) as batches:
            for part, batch in batches:
                if not (self.progress.d1_read or self.lease.tired):
                    table.ask()
                self.progress.parts = part
                self._keep_backup(batch)
                if table.asked:
                    self._read_page(table)
                # Only a command checks a file, in its own process, so the work needs no steps.
                if self.lease.tired and generation is not None:
                    return
        if generation is not None:
            insist_whole(generation, self.rule, keys=self.progress.keys, rows=self.progress.kv_rows)
        self._end_of_backup()

    def _batches(self, generation: Generation | None) -> Generator[tuple[int, Sequence[DatasetKey]]]:
        if generation is not None:
            return read_generation(generation, self.rule, after=self.progress.parts)
        return ((0, batch) for batch in read_file(self.check, self.rule, after=self.progress.keys))

    def _end_of_backup(self) -> None:
        self.progress.phase = "compare" if self.progress.d1_read else "d1"
        with self._checkpoint():
            pass

    def _read_kv(self, namespace: Namespace) -> None:
        """Read the keys as they are now, all in one step, so that an interrupted read begins again."""
        if self.progress.keys:
            self._start_over(CheckProgress(restarts=self.progress.restarts))
        with closing(read_now(namespace, self.rule)) as batches:
            for calls, batch in batches:
                self._calls += calls
                self._keep_backup(batch)
        self._end_of_backup()

    def _keep_backup(self, batch: Sequence[DatasetKey]) -> None:
        findings = [finding for key in batch for finding in key.findings]
        staged: list[Staged] = []
        unreadable: list[Staged] = []
        for name, rows, _findings in batch:
            if name is None:
                continue
            if rows is None and check_staging.storable(name):
                unreadable.append((name, "", None))
            for row, fields in rows or ():
                self.progress.kv_rows += 1
                if check_staging.storable(name) and check_staging.storable(row):
                    staged.append((name, row, fields))
                else:
                    findings.append(Finding(name, MISSING_IN_D1, row=row))
        self.progress.keys += len(batch)
        self.progress.staged_keys += len(staged) + len(unreadable)
        self._keep({Side.BACKUP: staged, Side.UNREADABLE: unreadable}, findings)

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
        self._keep_rows(rows)

    def _read_page(self, table: TableReader) -> None:
        """Keep the next page, and ask for the one after it first."""
        try:
            rows, self.progress.d1_read = table.take()
        finally:
            self._count_calls(table)
        self.progress.after, self.progress.limit, self.progress.most = astuple(table.place)
        if not (self.progress.d1_read or self.lease.tired):
            table.ask()
        if self.progress.d1_read and self.progress.phase == "d1":
            self.progress.phase = "compare"
        self._keep_rows(rows)

    def _count_calls(self, table: TableReader) -> None:
        calls, rows_read = table.spent()
        self._calls += calls
        self.progress.rows_read += rows_read

    def _keep_rows(self, rows: Sequence[Row]) -> None:
        staged: list[Staged] = []
        findings: list[Finding] = []
        digest = bytes.fromhex(self.progress.rows_sha256)
        for found in map(self.rule.read_row, rows):
            if not found.may_be_under(self.prefixes):
                continue
            self.progress.rows += 1
            name, _head, row, _nameless, fields = found
            chained = f"\0{name or ''}\0{row or ''}\0".encode(errors="surrogatepass")
            digest = sha256(digest + chained + fields.packed).digest()
            if name is None or row is None or not (check_staging.storable(name) and check_staging.storable(row)):
                self._note_nameless(found, findings)
            else:
                staged.append((name, row, fields))
        self.progress.rows_sha256 = digest.hex()
        self.progress.staged_rows += len(staged)
        self._keep({Side.D1: staged}, findings)

    def _note_nameless(self, row: DatasetRow, findings: list[Finding]) -> None:
        """Count a row that no key can hold; it is a difference unless such rows are allowed."""
        self.progress.nameless += 1
        if self.blocks:
            findings.append(Finding(row.head, ONLY_IN_D1, row.nameless, row.row or ""))

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
            found = check_staging.find(self.check, self.rule.readings, allowed=allowed, room=MAX_STORED - mine.found)
            only = found.kinds.pop(ONLY_IN_D1, 0)
            differences = mine.found + found.kinds.total() + (only if self.blocks else 0)
            figures: dict[str, JSON] = {"keys": mine.keys, "rows": mine.rows, "differences": differences}
            figures["only_in_d1"] = only + mine.nameless
            if self.rule.many:
                figures["kv_rows"] = mine.kv_rows
            result |= {"check": self.check.pk, **figures, "rows_read": mine.rows_read}
            self._record(figures, found.rules, passed=differences == 0)
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
