"""One plain file on disk: written under a temporary name, then published. An existing file is never overwritten."""

import os
import socket
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Self

from audit import log
from audit.actions import Action
from backups import archive
from backups.models import PlainDump
from kvops.cloudflare import KvEntry
from kvops.models import Namespace
from kvops.refusals import Refused


def insist_free(path: Path) -> None:
    """Raise PathRefused if a file cannot be written at this path."""
    if os.path.lexists(path):
        raise PathRefused(f"{path} is there already. Choose another name, or move it away.")
    if not path.parent.is_dir():
        raise PathRefused(f"There is no directory {path.parent}.")


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


class PlainFile:
    """A file in writing beside its final place; it is removed unless it was published."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys = self.value_bytes = 0
        self.published = False
        self._hash = sha256()

    def __enter__(self) -> Self:
        self._file = NamedTemporaryFile(dir=self.path.parent, prefix=f".{self.path.name}.", delete=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        Path(self._file.name).unlink(missing_ok=True)

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
        self._file.write(data)
        self._hash.update(data)

    def finish(self) -> None:
        """Write the end and sync the file to disk."""
        self._write(b"\n]\n" if self.keys else b"[\n]\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def publish(self) -> None:
        """Give the file its final name. Raises PathRefused."""
        insist_free(self.path)
        Path(self._file.name).rename(self.path)
        self.published = True

    def withdraw(self) -> None:
        """Remove the final name again."""
        if self.published:
            self.path.unlink()


class PathRefused(Refused):
    """No file can be written there: one exists already, or the directory is missing."""
