"""Ways to damage a copy in its bucket: each is told by a number, and really changes something."""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from backups import archive
from backups.archive import Manifest, Part
from kvops.cloudflare import KvEntry

LAST = 4096
"""So many of an object's last bytes are cut off one by one."""

_STRIDE = 7919
"""Truncations are taken in steps of this prime, so that any few of them are spread over all objects."""

type Change = dict[str, bytes | None]
"""What lies in the bucket instead: a key to its new body, or to None for an object that is gone."""


@dataclass(frozen=True)
class BackupObjects:
    """The objects of one copy, by key, and of another one of the same shape whose values differ."""

    objects: Mapping[str, bytes]
    manifest_key: str
    other: "BackupObjects | None" = None

    @property
    def document(self) -> Manifest:
        """The manifest."""
        return archive.parse_manifest(self.objects[self.manifest_key])

    @property
    def parts(self) -> list[Part]:
        """What the manifest says of the data objects."""
        return list(self.document.parts)


@dataclass(frozen=True)
class Damage:
    """What was done: `document` is the manifest that the database is told of as well, where the forger got that far."""

    kind: str
    change: Change
    document: Manifest | None = None


def damage(backup: BackupObjects, seed: int, number: int) -> Damage:
    """The damage of this number: a third are flipped bits, most others are truncations, the rest are edits."""
    rng = random.Random(f"{seed}/{number}")
    third, rest = divmod(number, 3)
    if rest == 0:
        return _real(backup, Damage("flip", _flipped(backup, rng)))
    at, rest = divmod(third * 2 + rest - 1, 5)
    if rest < 4:
        return _real(backup, Damage("truncation", _truncated(backup, at * 4 + rest)))
    kind, edit = [*_EDITS.items()][at % len(_EDITS)]
    return _real(backup, edit(backup, rng, kind))


def truncations(backup: BackupObjects) -> int:
    """How many different truncations there are."""
    return sum(min(LAST, len(backup.objects[part.key])) for part in backup.parts)


def _real(backup: BackupObjects, done: Damage) -> Damage:
    if all(backup.objects.get(key) == body for key, body in done.change.items()):
        raise AssertionError(f"{done.kind} changed nothing")
    return done


def _flipped(backup: BackupObjects, rng: random.Random) -> Change:
    """One bit, anywhere in the copy."""
    (key,) = rng.choices([*backup.objects], [len(body) for body in backup.objects.values()])
    changed = bytearray(backup.objects[key])
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return {key: bytes(changed)}


def _truncated(backup: BackupObjects, number: int) -> Change:
    """A data object without some of its last bytes."""
    at = number * _STRIDE % truncations(backup)
    bodies = {part.key: backup.objects[part.key] for part in backup.parts}
    while at >= min(LAST, len(next(iter(bodies.values())))):
        at -= min(LAST, len(bodies.pop(next(iter(bodies)))))
    key, body = next(iter(bodies.items()))
    return {key: body[: len(body) - at - 1]}


def _cut_anywhere(backup: BackupObjects, rng: random.Random, kind: str) -> Damage:
    key = rng.choice([*backup.objects])
    return Damage(kind, {key: backup.objects[key][: rng.randrange(len(backup.objects[key]))]})


def _removed(backup: BackupObjects, rng: random.Random, kind: str) -> Damage:
    return Damage(kind, {rng.choice([*backup.objects]): None})


def _lines(change: Callable[[list[bytes], random.Random], list[bytes]]) -> "_Edit":
    """Something done to the lines of the entries of a data object, which stays an array of entries."""

    def edit(backup: BackupObjects, rng: random.Random, kind: str) -> Damage:
        key = rng.choice([part.key for part in backup.parts if part.keys > 1])
        lines = [line.removesuffix(b",") for line in backup.objects[key].splitlines()[1:-1]]
        return Damage(kind, {key: b"[\n" + b",\n".join(change(lines, rng)) + b"\n]\n"})

    return edit


def _digest_lines(change: Callable[[list[bytes], random.Random], list[bytes]]) -> "_Edit":
    """The same of a digests object."""

    def edit(backup: BackupObjects, rng: random.Random, kind: str) -> Damage:
        key = rng.choice([part.digests_key for part in backup.parts if part.keys > 1])
        header, *lines = backup.objects[key].splitlines(keepends=True)
        return Damage(kind, {key: b"".join([header, *change(lines, rng)])})

    return edit


def _swap(lines: list[bytes], rng: random.Random) -> list[bytes]:
    one, other = rng.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def _double(lines: list[bytes], rng: random.Random) -> list[bytes]:
    at = rng.randrange(len(lines))
    lines.insert(rng.choice([at, len(lines)]), lines[at])
    return lines


def _drop(lines: list[bytes], rng: random.Random) -> list[bytes]:
    del lines[rng.randrange(len(lines))]
    return lines


def _reorder(lines: list[bytes], rng: random.Random) -> list[bytes]:
    before = [*lines]
    while lines == before:
        rng.shuffle(lines)
    return lines


def _members(name: str, value: Callable[[object], object]) -> Callable[[list[bytes], random.Random], list[bytes]]:
    """Another value for one member of one entry that has it, and nothing else."""

    def change(lines: list[bytes], rng: random.Random) -> list[bytes]:
        found = [at for at, line in enumerate(lines) if name in json.loads(line)]
        at = rng.choice(found) if found else 0
        entry = json.loads(lines[at])
        entry[name] = value(entry.get(name))
        lines[at] = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
        return lines

    return change


def _parts_swapped(backup: BackupObjects, rng: random.Random, kind: str) -> Damage:
    """Two data objects, with or without their digests, each under the other's name."""
    one, other = rng.sample(backup.parts, 2)
    pairs = [(one.key, other.key)] + [(one.digests_key, other.digests_key)] * rng.randrange(2)
    return Damage(kind, {a: backup.objects[b] for pair in pairs for a, b in (pair, pair[::-1])})


def _part_of_another(backup: BackupObjects, rng: random.Random, kind: str) -> Damage:
    """A data object of another copy, with or without its digests."""
    if backup.other is None:
        raise AssertionError("there is no other copy")
    mine, theirs = rng.choice(list(zip(backup.parts, backup.other.parts, strict=True)))
    change: Change = {mine.key: backup.other.objects[theirs.key]}
    if rng.randrange(2):
        change[mine.digests_key] = backup.other.objects[theirs.digests_key]
    return Damage(kind, change)


def _whole_of_another(backup: BackupObjects, _rng: random.Random, kind: str) -> Damage:
    """Every object of another copy under this one's names."""
    if backup.other is None:
        raise AssertionError("there is no other copy")
    theirs = [backup.other.objects[key] for key in sorted(backup.other.objects)]
    return Damage(kind, dict(zip(sorted(backup.objects), theirs, strict=True)))


def _resealed(forge: Callable[[list[list[KvEntry]], random.Random], None], *, told: bool) -> "_Edit":
    """Entries edited, and digests, SHA-256, roots, counts, steps and manifest computed anew: all agree.

    Only the database knows better: of the manifest, or, where it was told of the new one, of each entry.
    """

    def edit(backup: BackupObjects, rng: random.Random, kind: str) -> Damage:
        numbers = sorted({part.number for part in backup.parts})
        parts = [[e for p in backup.parts if p.number == n for e in _entries(backup, p)] for n in numbers]
        forge(parts, rng)
        change: Change = dict.fromkeys(backup.objects)
        sealed: list[Part] = []
        for number, found in zip(numbers, parts, strict=True):
            for made in _written(found, backup.document.stem, number):
                sealed.append(made.part)
                change |= {made.part.key: made.body, made.part.digests_key: made.digests}
        counts = archive.Counts(
            keys=sum(p.keys for p in sealed), value_bytes=sum(p.value_bytes for p in sealed), vanished=0
        )
        forged = replace(
            backup.document, parts=tuple(sealed), counts=counts, digest_root=archive.parts_root(tuple(sealed))
        )
        forged, notes = archive.with_restore_notes(forged)
        change |= {forged.restore_key: notes, forged.key: forged.to_json()}
        return Damage(kind, change, forged if told else None)

    return edit


def _entries(backup: BackupObjects, part: Part) -> Iterator[KvEntry]:
    return archive.read_entries([backup.objects[part.key]])


def _written(entries: Iterable[KvEntry], stem: str, number: int) -> tuple[archive.DataObject, ...]:
    writer = archive.PartWriter()
    for entry in sorted(entries, key=lambda one: one.name.encode()):
        if not writer.add(entry):
            raise AssertionError("the forged part is too large")
    return writer.finish(stem, number)


def _forge(**changed: Callable[[KvEntry], object]) -> Callable[[list[list[KvEntry]], random.Random], None]:
    def forge(parts: list[list[KvEntry]], rng: random.Random) -> None:
        part = rng.choice(parts)
        at = rng.randrange(len(part))
        part[at] = replace(part[at], **{name: new(part[at]) for name, new in changed.items()})  # type: ignore[arg-type]

    return forge


def _lose(parts: list[list[KvEntry]], rng: random.Random) -> None:
    part = rng.choice(parts)
    del part[rng.randrange(len(part))]


def _exchange(parts: list[list[KvEntry]], rng: random.Random) -> None:
    """The values of two keys."""
    part = rng.choice(parts)
    one, other = rng.sample([at for at, entry in enumerate(part) if entry.data], 2)
    if part[one].data == part[other].data:
        raise AssertionError("two keys have the same value")
    part[one], part[other] = replace(part[one], data=part[other].data), replace(part[other], data=part[one].data)


def _move(parts: list[list[KvEntry]], _rng: random.Random) -> None:
    """An entry from the first part into the last."""
    parts[-1].insert(0, parts[0].pop())


_OTHER_VALUE = _forge(data=lambda e: e.data + b" ")
_OTHER_METADATA = _forge(metadata=lambda e: "{}" if e.metadata != "{}" else '{"a":1}')
_OTHER_EXPIRATION = _forge(expiration=lambda e: (e.expiration or 2_000_000_000) + 1)
_OTHER_NAME = _forge(name=lambda e: e.name + "x")
_FORGED = {
    "value": _OTHER_VALUE,
    "metadata": _OTHER_METADATA,
    "expiration": _OTHER_EXPIRATION,
    "name": _OTHER_NAME,
    "lost": _lose,
    "exchanged": _exchange,
    "moved": _move,
}

type _Edit = Callable[[BackupObjects, random.Random, str], Damage]
_EDITS: dict[str, _Edit] = {
    "cut anywhere": _cut_anywhere,
    "object gone": _removed,
    "entries swapped": _lines(_swap),
    "entry doubled": _lines(_double),
    "entry lost": _lines(_drop),
    "entries in another order": _lines(_reorder),
    "only metadata changed": _lines(_members("metadata", lambda old: {"changed": old})),
    "only the expiration changed": _lines(_members("expiration", lambda old: int(str(old or 2_000_000_000)) + 1)),
    "only a value changed": _lines(_members("value", lambda old: f"{old}AAAA")),
    "only a name changed": _lines(_members("key", lambda old: f"{old}x")),
    "digests swapped": _digest_lines(_swap),
    "digest doubled": _digest_lines(_double),
    "digest lost": _digest_lines(_drop),
    "parts swapped": _parts_swapped,
    "part of another copy": _part_of_another,
    "all of another copy": _whole_of_another,
    **{f"{name}, resealed": _resealed(forge, told=False) for name, forge in _FORGED.items()},
    **{f"{name}, resealed and told": _resealed(forge, told=True) for name, forge in _FORGED.items()},
}
