"""One plain file on disk: written under a temporary name, then published. An existing file is never overwritten.

The temporary file holds plain values, so it goes whatever ends the work: an error, a full disk, SIGTERM or SIGHUP. The
next work in the directory removes the file of a killed process. Until then its lock shows that the process lives.
"""

import errno
import fcntl
import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile, gettempdir
from typing import Self

from audit import log
from audit.actions import Action
from backups import archive
from backups.models import PlainDump
from kvops.cloudflare import KvEntry
from kvops.models import Namespace
from kvops.refusals import Refused

TEMPORARY = ".kvops-unfinished-"
"""A part of every temporary name, before `RANDOM` characters: such a file is of a process that writes or was killed."""
RANDOM = 8

CURES = {
    errno.ENOSPC: "Free space there, or choose a directory on another disk.",
    errno.EDQUOT: "Free space there, or choose a directory on another disk.",
    errno.EACCES: "Choose a directory that you may write to.",
    errno.EROFS: "Choose a directory that you may write to.",
}


def no_room(error: OSError) -> str:
    """The sentence for an error of a temporary file that has no name, such as the list of names."""
    where = error.filename or gettempdir()
    return f"{where} cannot be written: {error.strerror}. Free space there, or set TMPDIR to another directory."


def insist_free(path: Path) -> None:
    """Raise PathRefused if a file cannot be written at this path."""
    if os.path.lexists(path):
        raise PathRefused(f"{path} is there already. Choose another name, or move it away.")
    if not path.parent.is_dir():
        raise PathRefused(f"There is no directory {path.parent}. Create it, or choose another one.")


def publish(namespace: Namespace, prefixes: Sequence[str], files: Iterable["PlainFile"], actor: log.Actor) -> None:
    """Record the files and give them their names: both or neither."""
    for file in files:
        file.finish()
    try:
        with log.transaction():
            for file in files:
                row = PlainDump.objects.create(
                    namespace=namespace,
                    prefixes=prefixes,
                    host=socket.gethostname(),
                    path=str(file.path.resolve()),
                    sha256=file.sha256,
                    keys=file.keys,
                    bytes=file.value_bytes,
                    actor=actor.text,
                )
                log.record(
                    Action.DUMP_WRITTEN,
                    actor=actor,
                    **row.audited,
                    digest=row.sha256,
                    details={"namespace": str(namespace), "prefixes": list(prefixes), "keys": row.keys},
                )
            for file in files:
                file.publish()
    except BaseException:
        for file in files:
            file.withdraw()
        raise


@contextmanager
def ended_tidily() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the work like an exception, so that no temporary file stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _remove_left(directory: Path) -> None:
    """Remove the temporary files of processes that were killed."""
    for path in directory.glob(f".*{TEMPORARY}{'?' * RANDOM}"):
        with suppress(OSError), path.open("rb") as file:  # of another user, or just removed by its own process
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


class PlainFile:
    """A file in writing beside its final place; it is removed unless it was published."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys = self.value_bytes = 0
        self.published = False
        self._hash = sha256()

    def __enter__(self) -> Self:
        _remove_left(self.path.parent)
        with self._refusing():
            self._file = NamedTemporaryFile(dir=self.path.parent, prefix=f".{self.path.name}{TEMPORARY}", delete=False)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # on a full disk the rest of the buffer cannot be written
            self._file.close()
        Path(self._file.name).unlink(missing_ok=True)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            cure = CURES.get(error.errno or 0, "Choose another directory.")
            raise PathRefused(
                f"{self.path} cannot be written: {error.strerror}. {cure} The part that was written is removed."
            ) from error

    @property
    def sha256(self) -> str:
        """The digest of the bytes written so far, in hex."""
        return self._hash.hexdigest()

    def add(self, entry: KvEntry) -> None:
        """Write an entry."""
        self._write(b",\n" if self.keys else b"[\n")
        self._write(archive.encode_entry(entry))
        self.keys += 1
        self.value_bytes += len(entry.data)

    def _write(self, data: bytes) -> None:
        with self._refusing():
            self._file.write(data)
        self._hash.update(data)

    def finish(self) -> None:
        """Write the end and sync the file to disk."""
        self._write(b"\n]\n" if self.keys else b"[\n]\n")
        with self._refusing():
            self._file.flush()
            os.fsync(self._file.fileno())

    def publish(self) -> None:
        """Give the file its final name. Raises PathRefused."""
        insist_free(self.path)
        with self._refusing():
            Path(self._file.name).rename(self.path)
        self.published = True

    def withdraw(self) -> None:
        """Remove the final name again."""
        if self.published:
            self.path.unlink()


class PathRefused(Refused):
    """No file can be written there; the message names the path and the cure."""
