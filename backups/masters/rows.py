"""The rows of master data from any source, as the keys of their datasets, in the order of names.

They lie in an unnamed temporary database of SQLite that is gone with the process. So their number has no limit, and
no value gets into Postgres.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from django.conf import settings

from backups.datasets.canonical import JSON, cell_json, encode
from backups.datasets.files import BadFile, DatasetFile
from backups.datasets.mapping import Correspondence, DatasetRow
from backups.datasets.paging import Beginning, Query, next_rows
from backups.generations.kv_reader import KvReader, Name
from backups.masters import api as masters_api
from backups.masters.api import SourceRefused
from kvops.cloudflare import MAX_NAME_BYTES, Cell, KvEntry
from kvops.connections import credentials
from kvops.names import workable
from kvops.runs.outcomes import RunError

API = "api:"
"""The beginning of a backup's source if it is the team's API; the other source is `d1`."""


class MastersRows:
    """Rows collected from a source, as a context manager. Raises RunError if they cannot form a backup."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.bytes = 0

    def __enter__(self) -> Self:
        self._database = sqlite3.connect("")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE row (name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def __len__(self) -> int:
        return self.counts.total()

    def add(self, dataset: Correspondence, name: str, value: Mapping[str, JSON]) -> None:
        """Add one row."""
        if not workable(name) or len(name.encode()) > MAX_NAME_BYTES:
            raise RunError("bad_name", f"A row of {dataset.table} has a name that no key can have: {name!r:.200}.")
        try:
            data = encode(dict(value)).encode()
            self._database.execute("INSERT INTO row VALUES (?, ?)", [name.encode(), data])
        except sqlite3.IntegrityError as error:
            raise RunError("duplicate", f"Two rows of {dataset.table} stand for the key {name!r}.") from error
        except (RecursionError, UnicodeEncodeError) as error:
            raise RunError(
                "bad_value", f"The row of {dataset.table} for {name!r} cannot be written as JSON."
            ) from error
        self.counts[dataset.name] += 1
        self.bytes += len(data)

    def entries(self, first: int = 0) -> Iterator[tuple[Name, KvEntry]]:
        """The rows in the order of their names, from an index on."""
        found = self._database.execute("SELECT name, value FROM row ORDER BY name LIMIT -1 OFFSET ?", [first])
        for index, (name, value) in enumerate(found, first):
            yield Name(index, name.decode(), None), KvEntry(name.decode(), value, None, None)

    def sha256(self) -> str:
        """The digest of all names and values: two reads with the same rows have the same digest."""
        total = sha256()
        for name, value in self._database.execute("SELECT name, value FROM row ORDER BY name"):
            for part in (name, value):
                total.update(len(part).to_bytes(8))
                total.update(part)
        return total.hexdigest()


def collect_rows(
    source: str, chosen: Sequence[Correspondence], known: Sequence[Correspondence], into: MastersRows, d1: "D1Source"
) -> None:
    """Collect the rows of the chosen datasets; `known` are all datasets. Raises RunError and CloudflareError."""
    for dataset in chosen:
        into.counts[dataset.name] = 0
    if source.startswith(API):
        _read_api(source.removeprefix(API), chosen, known, into, d1.reader)
        return
    for dataset in chosen:
        d1.read(dataset, into)


class D1Source:
    """A database, read with an environment's reader; `began` is called with each table before it is read."""

    def __init__(self, reader: KvReader, database_id: str, began: Callable[[Correspondence], None]) -> None:
        self.reader, self.database_id, self.began = reader, database_id, began
        self.rows_read = 0

    def count(self, dataset: Correspondence) -> int:
        """The number of rows in the table."""
        answer = self.reader.run(lambda: self.reader.client.query(self.database_id, dataset.count_sql()))
        return int(str(answer.rows[0]["n"])) if answer.rows else 0

    def read(self, dataset: Correspondence, into: MastersRows) -> None:
        """Collect the rows of a table that belong to its dataset."""
        self.began(dataset)
        query = self._query(dataset)
        if query(dataset.keyless_sql(1), ()):
            raise RunError(
                "no_keys",
                f"Rows of {dataset.table} have no value in a column of the key, so a backup cannot hold them: correct"
                " the table or the dataset.",
            )
        place, last = Beginning(), False
        while not last:
            rows, last = next_rows(dataset, place, query)
            for row in rows:
                _take(dataset, row, into)

    def _query(self, dataset: Correspondence) -> "Query[_Whole]":
        def query(sql: str, params: Sequence[str]) -> list[_Whole]:
            answer = self.reader.run(lambda: self.reader.client.query(self.database_id, sql, params))
            self.rows_read += answer.rows_read
            return [_Whole.of(dataset, cells) for cells in answer.rows]

        return query


@dataclass(frozen=True, slots=True)
class _Whole:
    """A row with the values of its columns."""

    row: DatasetRow
    cells: Mapping[str, tuple[str, Cell]]

    @classmethod
    def of(cls, dataset: Correspondence, cells: Mapping[str, Cell]) -> Self:
        return cls(dataset.read_row(cells), dataset.read_cells(cells))

    @property
    def key(self) -> Sequence[tuple[str, Cell]]:
        return self.row.key

    @property
    def size(self) -> int:
        return self.row.size


def _take(dataset: Correspondence, whole: _Whole, into: MastersRows) -> None:
    name = whole.row.name
    if name is None:
        column = whole.row.nameless
        raise RunError("no_keys", f"A row of {dataset.table} has no text or number in {column}, which its name needs.")
    if not name.startswith(dataset.prefix):
        return  # outside the dataset, as in a check
    try:
        value = {member: cell_json(*whole.cells[column]) for member, column in dataset.fields.items()}
    except ValueError as error:
        sentence = f"The row of {dataset.table} for {name!r} cannot be written as JSON: {error}."
        raise RunError("bad_value", sentence) from error
    into.add(dataset, name, value)


def _read_api(
    url: str, chosen: Sequence[Correspondence], known: Sequence[Correspondence], into: MastersRows, reader: KvReader
) -> None:
    with TemporaryDirectory(prefix="kvops-") as folder:
        path = Path(folder) / "answer"
        try:
            reader.run(lambda: _download(url, path))
            file = DatasetFile(path, known)
            mentioned = {dataset.name for dataset in file.mentioned()}
            if missing := [dataset.name for dataset in chosen if dataset.name not in mentioned]:
                sentence = f"The API's answer has nothing for {', '.join(missing)}: choose the datasets it has."
                raise RunError("incomplete", sentence)
            for dataset, name, value in file.values():
                if dataset in chosen:
                    into.add(dataset, name, value)
        except SourceRefused as refused:
            raise RunError("source", str(refused)) from refused
        except BadFile as error:
            raise RunError("source", str(error).replace(str(path), "The API's answer")) from error


def _download(url: str, path: Path) -> None:
    try:
        token = credentials.resolve(settings.KVOPS_MASTERS_API_TOKEN) if settings.KVOPS_MASTERS_API_TOKEN else ""
    except credentials.UnresolvedReference as error:
        raise SourceRefused(f"The token of the masters API is not there. {error}") from error
    masters_api.download(url, path, hosts=settings.KVOPS_MASTERS_API_HOSTS, token=token)
