"""The rows of master data from any source, as the keys of their datasets, in the order of names.

They lie in an unnamed temporary database of SQLite that is gone with the process. So their number has no limit, and
no value gets into Postgres. The rows of one key are put together when the key is written.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from django.conf import settings
from django.utils.translation import gettext_lazy as _, gettext_noop

from backups.datasets.canonical import DECODER, JSON, encode
from backups.datasets.files import BadFile, DatasetFile
from backups.datasets.mapping import Correspondence
from backups.datasets.paging import Beginning, Row, next_rows
from backups.generations.kv_reader import KvReader, Name
from backups.masters import api as masters_api
from backups.masters.api import SourceRefused
from kvops.cloudflare import MAX_NAME_BYTES, KvEntry
from kvops.connections import credentials
from kvops.names import workable
from kvops.refusals import Sentence
from kvops.runs.outcomes import RunError
from kvops.wording import say

MAX_VALUE = 25 * 1024 * 1024
"""Bytes of a value in KV."""
_WHOLE = ""
"""In place of a dataset, for a value that the source has as it is in the key."""
API = "api:"
"""The beginning of a backup's source if it is the team's API; the other source is `d1`."""


class MastersRows:
    """Rows collected from a source, as a context manager. Raises RunError if they cannot form a backup."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self._datasets: dict[str, Correspondence] = {}

    def __enter__(self) -> Self:
        self._database = sqlite3.connect("")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE row (name BLOB, id BLOB, value BLOB NOT NULL, dataset TEXT NOT NULL, PRIMARY KEY (name, id))"
            " WITHOUT ROWID"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def __len__(self) -> int:
        """The number of keys."""
        return int(self._database.execute("SELECT count(DISTINCT name) FROM row").fetchone()[0])

    def add(self, dataset: Correspondence, name: str, row: str, value: JSON) -> None:
        """Add one row of a key, by its id in the key."""
        self._add(dataset, name, row, value, dataset.name)
        self.counts[dataset.name] += 1

    def add_key(self, dataset: Correspondence, name: str, value: JSON, rows: int) -> None:
        """Add a key with its whole value, which holds so many rows."""
        self._add(dataset, name, "", value, _WHOLE)
        self.counts[dataset.name] += rows

    def _add(self, dataset: Correspondence, name: str, row: str, value: JSON, kept_as: str) -> None:
        if not workable(name) or len(name.encode()) > MAX_NAME_BYTES:
            sentence = _("A row of %(table)s has a name that no key can have: %(name)s.")
            raise RunError("bad_name", say(sentence, table=dataset.table, name=f"{name!r:.200}"))
        self._datasets[dataset.name] = dataset
        try:
            data = encode(value).encode()
            self._database.execute("INSERT INTO row VALUES (?, ?, ?, ?)", [name.encode(), row.encode(), data, kept_as])
        except sqlite3.IntegrityError as error:
            sentence = _("Two rows of %(table)s stand for the key %(name)s.")
            if dataset.many:
                sentence = _("Two rows of %(table)s stand for the row %(row)s of the key %(name)s.")
            facts = {"table": dataset.table, "row": f"{row!r:.200}", "name": repr(name)}
            raise RunError("duplicate", say(sentence, **facts)) from error
        except (RecursionError, UnicodeEncodeError) as error:
            sentence = _("The row of %(table)s for %(name)s cannot be written as JSON.")
            raise RunError("bad_value", say(sentence, table=dataset.table, name=repr(name))) from error
        self.bytes += len(data)

    def entries(self, first: int = 0) -> Iterator[tuple[Name, KvEntry]]:
        """The keys in the order of their names, from an index on."""
        start = "SELECT DISTINCT name FROM row ORDER BY name LIMIT 1 OFFSET ?"
        found = self._database.execute(
            f"SELECT name, id, value, dataset FROM row WHERE name >= ({start}) ORDER BY name, id",  # noqa: S608
            [first],
        )
        for index, (name, rows) in enumerate(groupby(found, itemgetter(0)), first):
            yield Name(index, name.decode(), None), KvEntry(name.decode(), self._value(name, list(rows)), None, None)

    def _value(self, name: bytes, rows: Sequence[tuple[bytes, bytes, bytes, str]]) -> bytes:
        dataset = self._datasets.get(rows[0][3])
        if dataset is None or not (dataset.many or dataset.shape.path):
            return rows[0][2]
        held = dataset.in_key([(row.decode(), DECODER.decode(value.decode())) for _, row, value, _ in rows])
        data = encode(held).encode()
        if len(data) > MAX_VALUE:
            sentence = _("The rows of the key %(name)s are larger than a value of KV can be.")
            raise RunError("too_large", say(sentence, name=repr(name.decode())))
        return data

    def sha256(self) -> str:
        """The digest of all names and values: two reads with the same rows have the same digest."""
        total = sha256()
        for found in self._database.execute("SELECT name, id, value FROM row ORDER BY name, id"):
            for part in found:
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
        answer = self.reader.run(lambda: self.reader.client.query(self.database_id, dataset.d1.count_sql()))
        return int(str(answer.rows[0]["n"])) if answer.rows else 0

    def read(self, dataset: Correspondence, into: MastersRows) -> None:
        """Collect the rows of a table that belong to its dataset."""
        self.began(dataset)
        if self._query(dataset.d1.keyless_sql(1), ()):
            sentence = _(
                "Rows of %(table)s have no value in a column of the key, so a backup cannot hold them: correct the "
                "table or the dataset."
            )
            raise RunError("no_keys", say(sentence, table=dataset.table))
        place, last = Beginning(), False
        while not last:
            rows, last = next_rows(dataset, place, self._query)
            for cells in rows:
                _take(dataset, cells, into)

    def _query(self, sql: str, params: Sequence[str]) -> Sequence[Row]:
        answer = self.reader.run(lambda: self.reader.client.query(self.database_id, sql, params))
        self.rows_read += answer.rows_read
        return answer.rows


def _take(dataset: Correspondence, cells: Row, into: MastersRows) -> None:
    found = dataset.read_row(cells)
    name, row = found.name, found.row
    if name is None or row is None:
        sentence = _("A row of %(table)s has no text or number in %(column)s, which its name needs.")
        raise RunError("no_keys", say(sentence, table=dataset.table, column=found.nameless))
    if not dataset.owns(name):
        return  # outside the dataset, as in a check
    try:
        value = dataset.value_of(dataset.d1.read_cells(cells))
    except ValueError as error:
        sentence = _("The row of %(table)s for %(name)s cannot be written as JSON: %(error)s.")
        raise RunError("bad_value", say(sentence, table=dataset.table, name=repr(name), error=error)) from error
    into.add(dataset, name, row, value)


def _read_api(
    url: str, chosen: Sequence[Correspondence], known: Sequence[Correspondence], into: MastersRows, reader: KvReader
) -> None:
    with TemporaryDirectory(prefix="kvops-") as folder:
        path = Path(folder) / "answer"
        try:
            reader.run(lambda: _download(url, path))
            file = DatasetFile(path, known, Sentence(gettext_noop("The API's answer")))
            mentioned = {dataset.name for dataset in file.mentioned()}
            if missing := [dataset.name for dataset in chosen if dataset.name not in mentioned]:
                sentence = _("The API's answer has nothing for %(datasets)s: choose the datasets it has.")
                raise RunError("incomplete", say(sentence, datasets=", ".join(missing)))
            _take_file(file, chosen, into)
        except SourceRefused as refused:
            raise RunError("source", refused) from refused
        except BadFile as error:
            raise RunError("source", error) from error


def _take_file(file: DatasetFile, chosen: Sequence[Correspondence], into: MastersRows) -> None:
    if file.is_of_entries:
        for dataset, name, value, rows in file.entries():
            if dataset in chosen:
                into.add_key(dataset, name, value, rows)
        return
    for dataset, name, row, value in file.row_values():
        if dataset in chosen:
            into.add(dataset, name, row, value)


def _download(url: str, path: Path) -> None:
    try:
        token = credentials.resolve(settings.KVOPS_MASTERS_API_TOKEN) if settings.KVOPS_MASTERS_API_TOKEN else ""
    except credentials.UnresolvedReference as error:
        raise SourceRefused(
            Sentence(gettext_noop("The token of the masters API is not there. %(error)s"), error=error)
        ) from error
    masters_api.download(url, path, hosts=settings.KVOPS_MASTERS_API_HOSTS, token=token)
