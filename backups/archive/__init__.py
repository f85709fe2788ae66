"""The format of a backup in the bucket. Pure: no Django, no network, no R2.

`names` has the object names, `writing` and `reading` the parts, `digests` the digests of entries, `manifest` the
document that is written last. `age` encrypts data objects. `restore_notes` and `d1_loading` write `RESTORE.md`, the
steps to restore without KVOps. `reading` shares no code with `writing`, so an error in the writer cannot hide itself
in the reader.
"""

from backups.archive.age import decrypt, encrypt
from backups.archive.checks import PartCheck, check_part
from backups.archive.digests import (
    EntryDigests,
    Root,
    digest_root,
    encode_digests,
    entry_digest,
    hashed,
    key_id,
    names_sha256,
    read_digests,
)
from backups.archive.errors import BadEntry, BadManifest, Damaged, LayoutError, ManifestError
from backups.archive.manifest import Counts, Manifest, ManifestTable, Part, parse_manifest, parts_root
from backups.archive.names import (
    CLINICS_TEMPLATE,
    INVESTIGATIONS_TEMPLATE,
    KV_TEMPLATE,
    MASTERS_TEMPLATE,
    TemplateUse,
    check_template,
    digests_key,
    encode_prefix,
    kv_template,
    manifest_key,
    object_stem,
    part_key,
    restore_key,
    validate_templates,
)
from backups.archive.reading import parse_entry, read_entries
from backups.archive.restore_notes import restore_commands, with_restore_notes
from backups.archive.writing import (
    MAX_BYTES,
    MAX_KEYS,
    DataObject,
    PartWriter,
    encode_array,
    encode_entry,
    encode_part,
    wrangler_keeps,
)

__all__ = [
    "CLINICS_TEMPLATE",
    "INVESTIGATIONS_TEMPLATE",
    "KV_TEMPLATE",
    "MASTERS_TEMPLATE",
    "MAX_BYTES",
    "MAX_KEYS",
    "BadEntry",
    "BadManifest",
    "Counts",
    "Damaged",
    "DataObject",
    "EntryDigests",
    "LayoutError",
    "Manifest",
    "ManifestError",
    "ManifestTable",
    "Part",
    "PartCheck",
    "PartWriter",
    "Root",
    "TemplateUse",
    "check_part",
    "check_template",
    "decrypt",
    "digest_root",
    "digests_key",
    "encode_array",
    "encode_digests",
    "encode_entry",
    "encode_part",
    "encode_prefix",
    "encrypt",
    "entry_digest",
    "hashed",
    "key_id",
    "kv_template",
    "manifest_key",
    "names_sha256",
    "object_stem",
    "parse_entry",
    "parse_manifest",
    "part_key",
    "parts_root",
    "read_digests",
    "read_entries",
    "restore_commands",
    "restore_key",
    "validate_templates",
    "with_restore_notes",
    "wrangler_keeps",
]
