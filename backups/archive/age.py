"""Objects encrypted with age. Anybody who holds one of the identities opens them with the public tool."""

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO

import pyrage
from pyrage import x25519

from backups.archive.errors import Damaged
from kvops.refusals import Sentence as _

PIECE = 64 * 1024


def encrypt(body: bytes, recipients: Sequence[str]) -> bytes:
    """The bytes encrypted to all recipients (`age1…`). Each call gives different bytes."""
    encrypted = BytesIO()
    pyrage.encrypt_io(BytesIO(body), encrypted, [x25519.Recipient.from_str(one) for one in recipients])
    return encrypted.getvalue()


def decrypt(chunks: Iterable[bytes], identities: Sequence[x25519.Identity]) -> Iterator[bytes]:
    """The decrypted bytes in pieces, after all of them were authenticated. They are held in memory, at most one part.

    Raises Damaged if the object was changed or cut off, or if none of the identities opens it. An exception that
    `chunks` raises goes through as it is: an outage of the store is no damage.
    """
    read, opened = _ChunkFile(chunks), BytesIO()
    try:
        pyrage.decrypt_io(read, opened, identities)
    except (pyrage.DecryptError, OSError) as error:
        if read.raised is not None:  # in the header of an object, age reports it as an error of its own
            raise read.raised from None
        raise Damaged(_("The object was changed or cut off after it was encrypted: it cannot be decrypted.")) from error
    opened.seek(0)
    while piece := opened.read(PIECE):
        yield piece


class _ChunkFile:
    """A file object that reads from chunks. `raised` is the exception that ended them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.raised: Exception | None = None
        self._chunks = iter(chunks)
        self._chunk = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end."""
        while self._at == len(self._chunk):
            following = self._following()
            if following is None:
                return b""
            self._chunk, self._at = following, 0
        taken = self._chunk[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def _following(self) -> bytes | None:
        try:
            return next(self._chunks, None)
        except Exception as error:
            self.raised = error
            raise
