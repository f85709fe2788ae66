"""Reading a data object back, on a path of its own.

It shares no code with the writer, so an error there cannot hide itself here. Memory is bounded by the largest single
entry, for an object of any length.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator

from backups.archive.errors import Damaged
from kvops.cloudflare import KvEntry
from kvops.refusals import Sentence, Sentence as _, said_by

MAX_ENTRY_BYTES = 64 * 1024 * 1024
"""Bytes; the size of a whole part.

Without a limit, a missing quote would consume the rest of a large file unnoticed.
"""

_SPACE = re.compile(r"[ \t\n\r]*")
_BLANK = re.compile(rb"[ \t\n\r]*+")
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_OUTSIDE = re.compile(rb'[^"{}]*+')
_MEMBERS = {"key", "value", "base64", "expiration", "metadata"}


class _Number(str):
    """A number in its original spelling, distinguishable from a string."""

    __slots__ = ()


def _refuse(constant: str) -> object:
    raise ValueError(_("%(constant)s is not JSON", constant=constant))


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_refuse)


def read_entries(chunks: Iterable[bytes]) -> Iterator[KvEntry]:
    """The entries of a data object, one at a time.

    Raises Damaged if the object is cut off, is not such an array or goes on after its end. It is also raised if the
    names are not strictly increasing by their bytes.
    """
    previous: bytes | None = None
    for text in _objects(_Scanner(chunks)):
        entry = parse_entry(text)
        name = entry.name.encode()
        if previous is not None and name <= previous:
            raise Damaged(_("The entry %(name)s is there twice or out of order.", name=repr(entry.name)))
        previous = name
        yield entry


def parse_entry(text: str) -> KvEntry:
    """One JSON object as an entry; metadata keeps its exact text. Raises Damaged."""
    try:
        return _entry(_members(text))
    except (ValueError, RecursionError) as error:
        # The text of the error may quote the value, so only the kind of error is named.
        reason = _("it is not JSON") if isinstance(error, json.JSONDecodeError | UnicodeError) else said_by(error)
        raise Damaged(_("An entry cannot be read: %(reason)s.", reason=reason)) from error


def _entry(members: dict[str, tuple[object, str]]) -> KvEntry:
    missing_or_unknown = ({"key", "value"} - members.keys()) | (members.keys() - _MEMBERS)
    if missing_or_unknown:
        raise ValueError(_("%(members)s is missing or unknown", members=repr(", ".join(sorted(missing_or_unknown)))))
    name, value = members["key"][0], members["value"][0]
    if type(name) is not str or type(value) is not str:
        raise ValueError(_("key and value must be strings"))
    name.encode()
    if members.get("base64", (True, ""))[0] is not True:
        raise ValueError(_("base64 must be true where it stands"))
    data = b64decode(value, validate=True) if "base64" in members else value.encode()
    return KvEntry(name, data, _expiration(members), members["metadata"][1] if "metadata" in members else None)


def _expiration(members: dict[str, tuple[object, str]]) -> int | None:
    if "expiration" not in members:
        return None
    value = members["expiration"][0]
    if not isinstance(value, _Number) or not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise ValueError(_("expiration must be whole seconds"))
    return int(value)


def _members(text: str) -> dict[str, tuple[object, str]]:
    """Each member's value, and for metadata the raw text as well."""
    members: dict[str, tuple[object, str]] = {}
    at = _after(text, _skip(text, 0), "{")
    while True:
        name, at = _DECODER.raw_decode(text, _skip(text, at))
        if type(name) is not str or name in members:
            raise ValueError(_("a member is not a string or stands there twice"))
        start = _skip(text, _after(text, _skip(text, at), ":"))
        value, at = _DECODER.raw_decode(text, start)
        members[name] = (value, text[start:at] if name == "metadata" else "")
        at = _skip(text, at)
        if text.startswith("}", at):
            if at + 1 != len(text):
                raise ValueError(_("something follows the entry"))
            return members
        at = _skip(text, _after(text, at, ","))


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _after(text: str, at: int, wanted: str) -> int:
    if not text.startswith(wanted, at):
        raise ValueError(_("a %(wanted)s is missing", wanted=repr(wanted)))
    return at + 1


def _objects(scanner: "_Scanner") -> Iterator[str]:
    """The text of each object of a JSON array of objects."""
    scanner.expect(b"[")
    following = scanner.next_byte()
    while following != b"]":
        if following != b"{":
            raise scanner.damaged(_("an entry should begin"))
        try:
            yield scanner.take_object().decode()
        except UnicodeDecodeError as error:
            raise Damaged(_("An entry is not UTF-8.")) from error
        if scanner.next_byte() == b"]":
            break
        scanner.expect(b",")
        following = scanner.next_byte()
        if following == b"]":
            raise scanner.damaged(_("an entry should begin"))
    scanner.expect(b"]")
    if scanner.next_byte():
        raise scanner.damaged(_("the file should end"))


class _Scanner:
    """Finds the ends of objects in a stream; reads each byte once."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = bytearray()
        self._taken = 0

    def next_byte(self) -> bytes:
        """The next byte that is not white space, not consumed; empty at the end."""
        while True:
            found = _BLANK.match(self._buffer)
            blank = found.end() if found else 0
            del found  # the match holds the buffer, which must be free to shrink
            self._drop(blank)
            if self._buffer:
                return bytes(self._buffer[:1])
            if not self._fill():
                return b""

    def expect(self, wanted: bytes) -> None:
        """Consume this byte. Raises Damaged if another byte follows."""
        if self.next_byte() != wanted:
            raise self.damaged(_("%(text)s should stand", text=repr(wanted.decode())))
        self._drop(1)

    def take_object(self) -> bytes:
        """Consume the next object, from its `{` to its `}`."""
        depth = at = 0
        in_string = False
        while True:
            found = (_IN_STRING if in_string else _OUTSIDE).match(self._buffer, at)
            at = found.end() if found else at
            del found  # the match holds the buffer, which must be free to grow
            byte = self._buffer[at : at + 1]
            if not byte or byte == b"\\":  # the second half of an escape has not arrived
                if len(self._buffer) > MAX_ENTRY_BYTES:
                    raise self.damaged(_("an entry of at most 64 MiB should stand"))
                if not self._fill():
                    raise Damaged(_("The file is cut off in the entry that begins at byte %(at)s.", at=self._taken))
                continue
            at += 1
            if byte == b'"':
                in_string = not in_string
            else:
                depth += 1 if byte == b"{" else -1
            if depth == 0:
                taken = bytes(self._buffer[:at])
                self._drop(at)
                return taken

    def damaged(self, expected: Sentence) -> Damaged:
        """The error for an unexpected byte, or for the end of the stream."""
        return Damaged(
            _("The file is damaged or cut off: at byte %(at)s %(expected)s.", at=self._taken, expected=expected)
        )

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._taken += count

    def _fill(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._buffer += chunk
        return True
