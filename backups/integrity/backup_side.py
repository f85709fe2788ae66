"""The backup's side of a check: a backup in R2, or a dataset file, as names and digests. Memory is bounded."""

from collections.abc import Callable, Generator, Iterator, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path

from django.utils.translation import gettext_lazy as _, gettext_noop

from backups.archive import Damaged, read_entries
from backups.bucket import access as bucket_access
from backups.bucket.store import Store
from backups.datasets import registry as dataset_registry
from backups.datasets.files import BadFile, DatasetFile
from backups.datasets.mapping import Correspondence
from backups.datasets.sides import DatasetKey
from backups.generations import encryption
from backups.generations.encryption import Opener
from backups.models import Check, CleanupStage, Generation, GenerationPart
from kvops.refusals import Sentence
from kvops.runs.outcomes import RunError
from kvops.wording import say

FILE_BATCH = 5_000


def read_generation(
    generation: Generation, rule: Correspondence, *, after: int
) -> Generator[tuple[int, list[DatasetKey]]]:
    """Part by part from the number after `after` on; from a backup of master data only the rows of one dataset.

    Raises RunError if an object differs from the written one.
    """
    parts = GenerationPart.objects.filter(generation=generation, number__gt=after).order_by("number")
    opened = encryption.opener(generation)
    with bucket_access.errors_for_a_run(), bucket_access.store_of(generation) as store:
        for part in parts:
            try:
                keys = [each for stored in _objects(part) for each in _read(store, opened, rule, *stored)]
            except Damaged as error:
                sentence = _("The backup cannot be read: %(problem)s Verify it, and make a new one.")
                raise RunError("damaged", say(sentence, problem=error)) from error
            yield part.number, _mine(generation, rule, keys)


def insist_whole(generation: Generation, rule: Correspondence, *, keys: int, rows: int) -> None:
    """Raise RunError unless everything was read that the check covers: rows of master data, else keys."""
    written = {str(table["dataset"]): int(table["rows"]) for table in generation.tables}
    read, of = (rows, written[rule.name]) if rule.name in written else (keys, generation.keys)
    if read != of:
        sentence = _(
            "Keys that could be read of %(backup)s: %(read)s. Written: %(written)s. Verify it, and make a new backup."
        )
        raise RunError("damaged", say(sentence, backup=str(generation), read=f"{read:,}", written=f"{of:,}"))


def _mine(generation: Generation, rule: Correspondence, keys: list[DatasetKey]) -> list[DatasetKey]:
    """The rows of one dataset from a backup of master data; all keys from any other backup."""
    if generation.purpose != Generation.Purpose.MASTERS:
        return keys
    return [each for each in keys if each.name is not None and rule.owns(each.name)]


def _objects(part: GenerationPart) -> list[tuple[str, str]]:
    both = [(part.object_key, part.sha256), (part.api_only_key, part.api_only_sha256)]
    return [(key, digest) for key, digest in both if key]


def _read(store: Store, opened: Opener, rule: Correspondence, key: str, digest: str) -> list[DatasetKey]:
    total = sha256()

    def chunks() -> Iterator[bytes]:
        for chunk in store.open(key):
            total.update(chunk)
            yield chunk

    keys = [rule.key_from_bytes(entry.name, entry.data) for entry in read_entries(opened(chunks()))]
    if total.hexdigest() != digest:
        raise Damaged(Sentence(gettext_noop("%(key)s is not the object that was written."), key=key))
    return keys


def read_file(
    check: Check, rule: Correspondence, *, after: int, size: Callable[[], int]
) -> Iterator[Sequence[DatasetKey]]:
    """Batches of the rows in the check's file that belong to its dataset, without the first `after`.

    `size` is asked for the rows of each batch; there are at most FILE_BATCH. Raises RunError.
    """
    others = [other for other in dataset_registry.of_database(check.dataset.database) if other.name != rule.name]
    try:
        rows = islice(DatasetFile(Path(check.source), [rule, *others]).rows(rule), after, None)
        while batch := list(islice(rows, max(1, min(size(), FILE_BATCH)))):
            yield batch
    except BadFile as error:
        raise RunError("bad_file", error) from error


def compared_prefixes(check: Check, rule: Correspondence) -> tuple[str, ...]:
    """The prefixes of the keys that are compared. A backup of master data has several tables, and a check has one."""
    whole = check.generation if check.generation and not check.generation.tables else None
    return tuple(whole.prefixes if whole else [rule.prefix])


def left_out(check: Check) -> frozenset[str]:
    """The keys that the clean-up of the backup leaves out: the backup lacks them, so their rows are not compared."""
    if check.generation_id is None:
        return frozenset()
    of_stages = CleanupStage.objects.filter(generation=check.generation_id).values_list("left_out", flat=True)
    return frozenset(name for names in of_stages for name in names)
