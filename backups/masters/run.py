"""How a backup of master data is written: rows collected, frozen as names, then part after part like any other backup.

The rows are collected anew in each step. If a step reads different rows than the previous step did, the backup starts
over, so one backup never mixes two reads of D1. The check against D1 then shows if D1 changed while it was read.
"""

import time
from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit.chain import JSON
from backups.bucket import access as bucket_access
from backups.datasets import registry as dataset_registry
from backups.datasets.definition_parts import BadDataset
from backups.datasets.mapping import Correspondence
from backups.generations import encryption, scope
from backups.generations.export import Export, step_of
from backups.generations.kv_reader import Name
from backups.masters.rows import D1Source, MastersRows, collect_rows
from backups.models import Dataset, Generation, GenerationPart
from kvops import timing
from kvops.cloudflare import CloudflareError, KvEntry
from kvops.names import escaped
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, RunError, TryLater
from kvops.wording import say

MAX_RESTARTS = 5
TOO_LONG = gettext_noop("Collecting the rows takes longer than a worker's step: use the command export_masters.")


def export(lease: Lease) -> Again | None:
    """Do a step of a backup of master data."""
    return step_of(lease, MastersExport)


class MastersExport(Export):
    """The work of one step on a backup of master data."""

    _rows: MastersRows

    def step(self) -> Again | None:
        """Collect the rows and store parts until the step is over; the last step finishes the backup."""
        self._until = time.monotonic() + timing.PART
        try:
            with bucket_access.errors_for_a_run(), MastersRows() as self._rows:
                if self._phase != "close":
                    self._collect()
                while not self.lease.over:
                    (self.close if self._phase == "close" else self.part)()
                    if self._out_of_time and not self.lease.over:
                        return Again()
        except (CloudflareError, TryLater):
            self.lease.renew(calls=self.lease.run.calls + self.new_calls())
            raise
        return None

    @property
    def _out_of_time(self) -> bool:
        """Whether the step must end; a step of a command has no time limit."""
        return time.monotonic() > self._until and not self.lease.foreground

    @property
    def _phase(self) -> str:
        return str(self.lease.run.cursor.get("phase", "list"))

    def _collect(self) -> None:
        known = _known(self.generation)
        chosen = [rule for rule in known if rule.name in {table["dataset"] for table in self.generation.tables}]
        collect_rows(self.generation.source, chosen, known, self._rows, self._d1(chosen))
        if time.monotonic() > self._until and not self.lease.foreground:
            raise RunError("too_long", TOO_LONG)
        found = self._rows.sha256()
        if self._phase == "list" or self.lease.run.cursor["sha256"] != found:
            self._freeze(found, self.lease.run.cursor.get("restarts", -1) + 1)

    def _d1(self, chosen: list[Correspondence]) -> D1Source:
        dataset = Dataset.objects.get(name=chosen[0].name) if chosen else None
        if dataset is None:
            raise RunError("no_dataset", gettext_noop("The policy no longer has these datasets. Start a new backup."))
        try:
            database = dataset_registry.environment_database(self.generation.environment, dataset)
        except dataset_registry.NoDatabase as error:
            raise RunError("no_database", error) from error

        def began(table: Correspondence) -> None:
            self.lease.renew(note=say(_("Reading %(table)s"), table=table.table))

        return D1Source(self.reader, database.database_id, began)

    def _freeze(self, found: str, restarts: int) -> None:
        """Freeze the names and the number of rows by table; the objects of an earlier attempt become orphans."""
        if restarts > MAX_RESTARTS:
            raise RunError(
                "changing", gettext_noop("The rows change faster than they can be backed up. Try again later.")
            )
        cursor: dict[str, Any] = {"phase": "parts", "next": 0, "number": 1, "attempt": 1, "storing": restarts > 0}
        cursor |= {"sha256": found, "restarts": restarts}
        tables = [{**table, "rows": self._rows.counts[table["dataset"]]} for table in self.generation.tables]
        families = scope.reached(self.generation.namespace, self.generation.prefixes)
        sealed = encryption.seal(any(family.encrypt for family in families))
        with self.checkpoint(cursor, done=0, total=len(self._rows), note=gettext_noop("Writing the rows")):
            GenerationPart.objects.filter(generation=self.generation).delete()
            self.generation.entries.all().delete()
            self.update(tables=tables, keys=0, bytes=0, **sealed)
            columns = "generation_id, index, name, outcome"
            with (
                connection.cursor() as database,
                database.copy(f"COPY backups_generationentry ({columns}) FROM STDIN") as rows_in,
            ):
                for name, _ in self._rows.entries():
                    rows_in.write(f"{self.generation.pk}\t{name.index}\t{escaped(name.name)}\tplanned\n")

    def _from(self, first: int) -> Iterator[tuple[Name, KvEntry | None]]:
        return self._rows.entries(first)

    def _result(self, status: Generation.Status) -> dict[str, JSON]:
        tables: dict[str, JSON] = {table["dataset"]: table["rows"] for table in self.generation.tables}
        return {**super()._result(status), "tables": tables}


def _known(generation: Generation) -> list[Correspondence]:
    try:
        return dataset_registry.of_database(generation.tables[0]["database"])
    except BadDataset as error:
        raise RunError("bad_dataset", error) from error
