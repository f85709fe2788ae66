"""The manifest: the description of a backup, written last and in one canonical form."""

import json
import re
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from typing import get_args, get_origin, get_type_hints

from backups.archive.digests import digest_root
from backups.archive.errors import BadManifest
from backups.archive.names import digests_key, is_part_key, manifest_key, restore_key
from kvops.refusals import Sentence as _

FORMAT = 1
_OF_MASTERS: dict[str, object] = {"source": "", "tables": []}
_OF_TABLE: dict[str, object] = {"holds": "row", "path": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One data object and the digests beside it. `number` counts from 1; sizes are in bytes."""

    key: str
    number: int
    api_only: bool
    keys: int
    value_bytes: int
    expiring: int
    size: int
    sha256: str
    digest_root: str
    digests_key: str
    digests_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestTable:
    """A D1 table whose rows a backup of master data holds.

    Each of `fields` is the path of a JSON member in a row, followed by its column. A value `holds` one row, an array
    of rows or an object of rows, at the end of `path`. Both are left out if the value itself is the row.
    """

    dataset: str
    prefix: str
    database: str
    database_id: str
    table: str
    fields: tuple[tuple[str, ...], ...]
    rows: int
    holds: str = "row"
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The numbers of a backup: keys and value bytes written, and listed keys that were absent when they were read."""

    keys: int
    value_bytes: int
    vanished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of a backup. `with_restore_notes` fills in `restore_sha256`; times are UTC.

    The manifest of an encrypted backup names the age recipients and the id of the key of its digests. Without
    encryption the id is left out. Only a backup of master data has `source` and `tables`.
    """

    format: int = FORMAT
    environment: str
    account_id: str
    binding: str
    namespace_id: str
    namespace_title: str
    bucket: str
    stem: str
    prefixes: tuple[str, ...]
    families: tuple[str, ...]
    counts: Counts
    parts: tuple[Part, ...]
    digest_root: str
    restore_sha256: str = ""
    started_at: datetime
    finished_at: datetime
    retain_until: datetime
    made_by: str
    code_version: str
    audit_sequence: int
    audit_hash: str
    recipients: tuple[str, ...] = ()
    digest_key: str = ""
    source: str = ""
    tables: tuple[ManifestTable, ...] = ()

    @property
    def key(self) -> str:
        """The name of this manifest's object."""
        return manifest_key(self.stem)

    @property
    def restore_key(self) -> str:
        """The name of the recovery steps of the same backup."""
        return restore_key(self.stem)

    def to_json(self) -> bytes:
        """The canonical bytes. Raises BadManifest if the manifest contradicts itself."""
        _check(self)
        _check_places(self)
        members = asdict(self)
        if not self.digest_key:
            del members["digest_key"]
        if not self.source:
            for name in _OF_MASTERS:
                del members[name]
        for table in members.get("tables", ()):
            if table["holds"] == "row":
                del table["holds"]
            if not table["path"]:
                del table["path"]
        return (json.dumps(members, sort_keys=True, indent=2, default=_time_text) + "\n").encode()


def parts_root(parts: tuple[Part, ...]) -> str:
    """The digest root of a backup, in hex: the root of its objects' roots, in order."""
    return digest_root(bytes.fromhex(part.digest_root) for part in parts)


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in these bytes; raises BadManifest unless they are exactly the output of `to_json`."""
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadManifest(_("The manifest is not JSON.")) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BadManifest(
            _("This is not a manifest of format %(format)s; a newer KVOps may have written it.", format=FORMAT)
        )
    if isinstance(found.get("tables"), list):
        found["tables"] = [_OF_TABLE | each if isinstance(each, dict) else each for each in found["tables"]]
    manifest = _record(Manifest, _OF_MASTERS | {"digest_key": ""} | found, "manifest")
    if manifest.to_json() != data:
        raise BadManifest(_("The manifest was changed after it was written: it is not in its canonical form."))
    return manifest


def _check(manifest: Manifest) -> None:
    hashes = [manifest.digest_root, manifest.restore_sha256]
    for part in manifest.parts:
        hashes += [part.sha256, part.digest_root, part.digests_sha256]
    if not all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes):
        raise BadManifest(_("A digest in the manifest of %(backup)s is not a SHA-256 in hex.", backup=manifest.stem))
    for time in (manifest.started_at, manifest.finished_at, manifest.retain_until):
        if time.utcoffset() is None:
            raise BadManifest(_("A time in the manifest of %(backup)s has no time zone.", backup=manifest.stem))
    if not manifest.started_at <= manifest.finished_at <= manifest.retain_until:
        raise BadManifest(_("The times in the manifest of %(backup)s are not in order.", backup=manifest.stem))
    if sum(part.keys for part in manifest.parts) != manifest.counts.keys:
        raise BadManifest(
            _("The parts in the manifest of %(backup)s do not add up to its number of keys.", backup=manifest.stem)
        )
    if sum(part.value_bytes for part in manifest.parts) != manifest.counts.value_bytes:
        raise BadManifest(
            _("The parts in the manifest of %(backup)s do not add up to its bytes.", backup=manifest.stem)
        )
    if bool(manifest.recipients) != bool(manifest.digest_key):
        raise BadManifest(_("The manifest of %(backup)s does not say how it is encrypted.", backup=manifest.stem))
    if parts_root(manifest.parts) != manifest.digest_root:
        raise BadManifest(
            _("The digest root in the manifest of %(backup)s is not that of its parts.", backup=manifest.stem)
        )


def _check_places(manifest: Manifest) -> None:
    for part in manifest.parts:
        encrypted = bool(manifest.recipients)
        if not is_part_key(part.key, manifest.stem, part.number, api_only=part.api_only, encrypted=encrypted):
            raise BadManifest(
                _(
                    "The manifest of %(backup)s names %(key)s, which is not an object of it.",
                    backup=manifest.stem,
                    key=part.key,
                )
            )
        if part.digests_key != digests_key(part.key):
            raise BadManifest(
                _("The manifest of %(backup)s names other digests for %(key)s.", backup=manifest.stem, key=part.key)
            )
    places = [(part.number, part.api_only) for part in manifest.parts]
    numbers = [number for number, api_only in places if not api_only]
    if numbers != list(range(1, len(numbers) + 1)) or places != sorted(set(places)) or not numbers:
        raise BadManifest(_("The manifest of %(backup)s lacks a part or names one twice.", backup=manifest.stem))


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _record[T](kind: type[T], value: object, where: str) -> T:
    """The JSON object as this dataclass; raises BadManifest naming the place."""
    hints = get_type_hints(kind)
    if not isinstance(value, dict) or value.keys() != hints.keys():
        raise BadManifest(
            _("%(where)s must have exactly the members %(members)s.", where=where, members=", ".join(hints))
        )
    return kind(**{name: _read(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})


def _read(kind: object, value: object, where: str) -> object:
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind, value, where)
    if get_origin(kind) is tuple and isinstance(value, list):
        item = get_args(kind)[0]
        return tuple(_read(item, each, f"{where}[{index}]") for index, each in enumerate(value))
    if kind is datetime and isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError as error:
            raise BadManifest(_("%(where)s is not a time.", where=where)) from error
    if type(value) is not kind:
        raise BadManifest(_("%(where)s has the wrong type.", where=where))
    return value
