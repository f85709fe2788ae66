"""Dataset files: rows of several datasets as JSON, read one at a time. Pure: no Django, no network.

A file is the array that `kv_dump --output` writes (entries with `key` and `value`), or an object of arrays of rows.
Each array has the name of a dataset or of its table. Memory is bounded by the largest single row.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

from backups.archive import Damaged, read_entries
from backups.datasets.canonical import DECODER, JSON
from backups.datasets.mapping import Correspondence
from backups.datasets.shapes import NoRows
from backups.datasets.sides import DatasetKey
from kvops.refusals import Sentence, Sentence as _, said_by

CHUNK = 1024 * 1024
MAX_ROW = 64 * 1024 * 1024

_SPACE = re.compile(r"[ \t\n\r]*+")
_COMMA = re.compile(r"[ \t\n\r]*+,[ \t\n\r]*+(?!\Z)")


class BadFile(Exception):
    """The file is no valid dataset file, or names an unknown dataset; the message gives the problem."""


class DatasetFile:
    """A file, with the datasets that its rows may belong to."""

    def __init__(self, path: Path, datasets: Sequence[Correspondence], called: str | Sentence = "") -> None:
        """`called` stands for the path in errors. Raises BadFile if the file cannot be opened or holds no arrays."""
        self._path, self._datasets, self._called = path, datasets, called or str(path)
        with self._opened() as file:
            first = _JsonFileReader(file).peek()
        if first not in ("[", "{"):
            raise BadFile(_("%(file)s holds neither an array of entries nor an object of arrays.", file=self._called))
        self.is_of_entries = first == "["

    def mentioned(self) -> list[Correspondence]:
        """The datasets with rows or an array in the file; reads the file to its end. Raises BadFile."""
        found: dict[str, Correspondence] = {}

        def note(dataset: Correspondence) -> None:
            found[dataset.name] = dataset

        if self.is_of_entries:
            for entry_name, _data in self._entries():
                note(self._owner(entry_name))
        else:
            for _element in self._elements(lambda heading: note(self._named(heading))):
                pass
        return list(found.values())

    def rows(self, dataset: Correspondence) -> Iterator[DatasetKey]:
        """The rows of one dataset. Raises BadFile."""
        if self.is_of_entries:
            for name, data in self._entries():
                if self._owner(name) is dataset:
                    yield dataset.key_from_bytes(name, data)
            return
        owners: dict[str, Correspondence] = {}

        def began(heading: str) -> None:
            owners[heading] = self._named(heading)

        for heading, position, value in self._elements(began):
            if owners[heading] is dataset:
                yield dataset.key_from_row(f"{heading}[{position}]", value)

    def entries(self) -> Iterator[tuple[Correspondence, str, JSON, int]]:
        """Every key of a file of entries: its dataset, its name, its value, and the rows in it. Raises BadFile."""
        for name, data in self._entries():
            owner = self._owner(name)
            try:
                yield owner, name, DECODER.decode(data.decode()), sum(1 for _ in owner.held(data))
            except NoRows as error:
                raise self._bad(_("the key %(name)s is no JSON object with rows.", name=repr(name))) from error
            except (ValueError, RecursionError) as error:
                raise self._bad(_("the key %(name)s is no JSON object.", name=repr(name))) from error

    def row_values(self) -> Iterator[tuple[Correspondence, str, str, JSON]]:
        """Every row of a file of arrays as its key holds it: dataset, key, id in the key, value. Raises BadFile."""
        for heading, position, value in self._elements(self._named):
            owner, place = self._named(heading), f"{heading}[{position}]"
            if not isinstance(value, dict):
                raise self._bad(_("%(place)s is no JSON object.", place=place))
            try:
                yield owner, *owner.row_name(value), owner.row_value(value)
            except KeyError as missing:
                sentence = _("%(place)s has no %(column)s, which its name needs.", place=place, column=missing.args[0])
                raise self._bad(sentence) from missing

    def _entries(self) -> Iterator[tuple[str, bytes]]:
        try:
            with self._path.open("rb") as file:
                for entry in read_entries(iter(partial(file.read, CHUNK), b"")):
                    yield entry.name, entry.data
        except Damaged as damage:
            raise self._bad(said_by(damage)) from damage

    def _elements(self, began: Callable[[str], object]) -> Iterator[tuple[str, int, JSON]]:
        """Every row as (array, position, value); `began` is called for each array, even an empty one."""
        try:
            with self._opened() as file:
                yield from _elements(_JsonFileReader(file), began)
        except (ValueError, RecursionError) as error:
            # The text of the error may quote a value.
            reason = said_by(error) if type(error) is ValueError else type(error).__name__
            sentence = _("%(file)s is not an object of arrays: %(reason)s.", file=self._called, reason=reason)
            raise BadFile(sentence) from error

    def _owner(self, name: str) -> Correspondence:
        owners = [dataset for dataset in self._datasets if dataset.owns(name)]
        longest = max((len(dataset.prefix) for dataset in owners), default=0)
        return self._only([d for d in owners if len(d.prefix) == longest], _("the key %(name)s", name=repr(name)))

    def _named(self, heading: str) -> Correspondence:
        by_name = [dataset for dataset in self._datasets if dataset.name == heading]
        by_table = [dataset for dataset in self._datasets if dataset.table == heading]
        return self._only(by_name or by_table, _("the array %(name)s", name=repr(heading)))

    def _only(self, found: Sequence[Correspondence], what: Sentence) -> Correspondence:
        if len(found) == 1:
            return found[0]
        known = ", ".join(f"{dataset.name} ({dataset.prefix}*, table {dataset.table})" for dataset in self._datasets)
        facts = {"what": what, "known": known or _("none")}
        if found:
            raise self._bad(_("%(what)s belongs to more than one dataset. Known here: %(known)s.", **facts))
        raise self._bad(_("%(what)s belongs to no dataset. Known here: %(known)s.", **facts))

    def _bad(self, problem: Sentence) -> BadFile:
        return BadFile(Sentence("%(file)s: %(problem)s", file=self._called, problem=problem))

    def _opened(self) -> TextIO:
        try:
            return self._path.open(encoding="utf-8-sig", newline="")
        except OSError as error:
            sentence = _("%(file)s cannot be read (%(reason)s).", file=self._called, reason=error.strerror)
            raise BadFile(sentence) from error


def _elements(reader: "_JsonFileReader", began: Callable[[str], object]) -> Iterator[tuple[str, int, JSON]]:
    seen: set[str] = set()
    for _member in reader.members("{", "}"):
        heading = reader.value()
        if type(heading) is not str or heading in seen:
            raise ValueError(_("a name is missing or stands there twice"))
        seen.add(heading)
        reader.expect(":")
        if reader.peek() != "[":
            raise ValueError(_("%(name)s is not an array", name=repr(heading)))
        began(heading)
        for position, value in enumerate(reader.elements()):
            yield heading, position, value
    if reader.peek():
        raise ValueError(_("something follows its end"))


class _JsonFileReader:
    """Reads JSON text from a file, value by value."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._over = False

    def peek(self) -> str:
        """The next character that is not white space, not consumed; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self._over:
                return ""
            self._fill(CHUNK)

    def expect(self, wanted: str) -> None:
        """Consume this character; raises ValueError if another follows."""
        if self.peek() != wanted:
            raise ValueError(_("%(wanted)s is missing, or the file is cut off", wanted=repr(wanted)))
        self._at += 1

    def members(self, opening: str, closing: str) -> Iterator[int]:
        """Count the members of an object or array; the caller consumes each."""
        self.expect(opening)
        position = 0
        while self.peek() != closing:
            if position:
                self.expect(",")
            yield position
            position += 1
        self.expect(closing)

    def elements(self) -> Iterator[JSON]:
        """The values of an array; raises ValueError."""
        self.expect("[")
        if self.peek() == "]":
            self.expect("]")
            return
        while True:
            yield from self._before_commas()
            yield self.value()
            if self.peek() == "]":
                self.expect("]")
                return
            self.expect(",")

    def _before_commas(self) -> Iterator[JSON]:
        """Consume the next values, with their commas, as far as the text read so far certainly holds them whole."""
        text, at = self._text, self._at
        while True:
            try:
                value, end = DECODER.raw_decode(text, at)
            except json.JSONDecodeError:
                return
            comma = _COMMA.match(text, end)
            if comma is None:
                return
            self._at = at = comma.end()
            yield value

    def value(self) -> JSON:
        """Consume the next value; raises ValueError."""
        self.peek()
        while True:
            value: JSON
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if self._over:
                    raise
            else:
                # A number at the end of the text read so far may continue in the next chunk.
                if end < len(self._text) or self._over:
                    self._at = end
                    return value
            if len(self._text) - self._at > MAX_ROW:
                raise ValueError(_("a row is longer than 64 MiB, or a quote is missing"))
            self._fill(max(CHUNK, len(self._text) - self._at))

    def _fill(self, size: int) -> None:
        more = self._file.read(size)
        self._over = not more
        self._text = self._text[self._at :] + more
        self._at = 0
