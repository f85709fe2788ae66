"""The errors of the archive.

ManifestError
├── LayoutError     a template or prefix cannot name an object
├── BadEntry        an entry read from KV cannot be written down as it is
├── Damaged         a data or digests object is not the one that was written
└── BadManifest     a manifest cannot be relied on
"""


class ManifestError(Exception):
    """Base of every error of this package; the text is a sentence for people."""


class LayoutError(ManifestError):
    """An object cannot be named this way."""


class BadEntry(ManifestError):
    """An entry cannot be written without changing it."""


class Damaged(ManifestError):
    """Bytes read back are truncated, altered or out of order."""


class BadManifest(ManifestError):
    """A manifest was not written by KVOps, or contradicts itself."""
