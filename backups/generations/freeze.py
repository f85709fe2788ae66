"""The names of a backup: listed, frozen in the order of their bytes, and how their values are read."""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cached_property
from itertools import batched, pairwise
from typing import TYPE_CHECKING, Any, Unpack

from django.db import connection
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _, gettext_noop

from backups import archive, policy
from backups.bucket.r2 import R2Store
from backups.generations import encryption, kv_reader, scope
from backups.generations.kv_reader import KvReader, Name
from backups.models import CleanupStage, Generation, GenerationEntry, Restore, RestoreEntry
from kvops import names
from kvops.cloudflare import BULK_GET_LIMIT, CursorRefused, KeyPage, ListedKey
from kvops.inventory.families import Families
from kvops.models import Category, Family, Key, Read
from kvops.names import escaped
from kvops.runs.lease import Lease, RunProgress
from kvops.runs.outcomes import Done, RunError
from kvops.wording import counted, say

if TYPE_CHECKING:
    from backups.bucket.store import ObjectInfo

MAX_RESTARTS = 5
AT_ONCE = 5_000
"""Names in one INSERT."""

NOTHING = gettext_noop(
    "Nothing found: KV lists no key of %(binding)s under %(prefixes)s, so there is no backup. If keys should be there, "
    "check the prefix and try again."
)


class Freezing:
    """The first phases of a backup: `list`, then `sample`. Each commits its position in the run's cursor."""

    def __init__(self, generation: Generation, lease: Lease, reader: KvReader, store: R2Store) -> None:
        self.generation, self.lease, self.reader, self.store = generation, lease, reader, store
        self.namespace_id = generation.namespace.namespace_id
        self._counted = 0
        self._asked: tuple[tuple[int, str | None], Future[KeyPage]] | None = None
        self._written: list[ObjectInfo] = []

    @cached_property
    def _families(self) -> Families:
        return Families.of(self.generation.namespace.binding)

    def new_calls(self) -> int:
        """Requests sent since the previous call."""
        new = self.reader.client.calls - self._counted
        self._counted += new
        return new

    @contextmanager
    def checkpoint(
        self, cursor: dict[str, Any], then: Done | None = None, /, **more: Unpack[RunProgress]
    ) -> Iterator[None]:
        """The lease's checkpoint, with the position to continue from and the number of requests."""
        progress: RunProgress = {"cursor": cursor, "calls": self.lease.run.calls + self.new_calls(), **more}
        with self.lease.checkpoint(then, **progress):
            yield

    def update(self, **changed: object) -> None:
        """Change the backup, which must still be in writing."""
        if Generation.objects.filter(pk=self.generation.pk, status=Generation.Status.WRITING).update(**changed) != 1:
            raise RunError("not_writing", gettext_noop("The backup is no longer being written."))
        self.generation.refresh_from_db(fields=list(changed))

    def list_names(self) -> None:
        """Take one page of the listing, or end the phase. The names of a clean-up were frozen with its stage."""
        if self.generation.purpose in Generation.OF_GIVEN_NAMES:
            self.frozen(scope.families_of(self.generation.namespace.binding, self._all_names()))
            return
        at: dict[str, Any] = {"phase": "list", "prefix": 0, "after": None, "names": 0, "last": "", "restarts": 0}
        at |= {"unstorable": 0, "secret": 0, "unclassified": 0, "patterns": []} | self.lease.run.cursor
        if at["prefix"] == len(self.generation.prefixes):
            self._listed(at)
            return
        try:
            page = self._page(at["prefix"], at["after"])
        except CursorRefused:
            self._start_again(at["restarts"] + 1)
            return
        keys = [key for key in page.keys if names.workable(key.name)]
        listed = [at["last"], *(key.name for key in keys)]
        if any(later <= earlier for earlier, later in pairwise(listed)):
            self._start_again(at["restarts"] + 1)
            return
        first = at["names"]
        self._classify(at, keys)
        at["unstorable"] += len(page.keys) - len(keys)
        at |= {"names": first + len(keys), "last": listed[-1]}
        at |= {"after": page.cursor, "prefix": at["prefix"] + (page.cursor is None)}
        with self.checkpoint(at, note=counted(gettext_noop("Names listed: %(n)s."), at["names"])):
            _freeze(self.generation, first, keys)

    def _page(self, prefix: int, cursor: str | None) -> KeyPage:
        """A page of the listing; the next page is requested while this one is processed."""
        place, asked = self._asked or ((prefix, cursor), None)
        page = self.reader.outcome(asked if asked and place == (prefix, cursor) else self._ask(prefix, cursor))
        following = (prefix, page.cursor) if page.cursor else (prefix + 1, None)
        more = following[0] < len(self.generation.prefixes) and not self.lease.tired
        self._asked = (following, self._ask(*following)) if more else None
        return page

    def _ask(self, prefix: int, cursor: str | None) -> Future[KeyPage]:
        under = self.generation.prefixes[prefix]
        return self.reader.submit(lambda: self.reader.client.list_keys(self.namespace_id, prefix=under, cursor=cursor))

    def _classify(self, at: dict[str, Any], keys: Sequence[ListedKey]) -> None:
        found = [self._families.family(key.name) for key in keys]
        at["secret"] += sum(map(encryption.needed, found))
        at["unclassified"] += found.count(None)
        at["patterns"] = sorted({*at["patterns"], *map(str, {family for family in found if family})})

    def _start_again(self, restarts: int) -> None:
        """Discard the names and list again, because the listing cannot continue from its cursor."""
        if restarts > MAX_RESTARTS:
            sentence = _("The listing had to start again %(restarts)s times. Try again later.")
            raise RunError("listing", say(sentence, restarts=MAX_RESTARTS))
        with self.checkpoint({"phase": "list", "restarts": restarts}, note=gettext_noop("Listing the names again")):
            self.generation.entries.all().delete()

    def _listed(self, at: dict[str, Any]) -> None:
        namespace, prefixes = self.generation.namespace, self.generation.prefixes
        if not at["names"] and not at["unstorable"]:
            self._start_again(0)
            raise RunError("nothing_found", say(NOTHING, binding=namespace.binding, prefixes=", ".join(prefixes)))
        if at["secret"] and not encryption.possible():
            self._start_again(0)
            raise RunError(encryption.CODE, scope.refusal(namespace, prefixes, at["secret"]))
        found = [family for family in scope.reached(namespace, prefixes) if str(family) in at["patterns"]]
        if (
            not self.generation.is_lasting
            and scope.category([*found, *[None] * bool(at["unclassified"])]) != Category.CACHE
        ):
            self._start_again(0)
            raise RunError("not_a_cache", gettext_noop("Some of the listed keys are not cache keys."))
        # A key that was secret when it was listed stays secret, even if its family changed since.
        secret = at["unclassified"] or (at["secret"] and not any(map(encryption.needed, found)))
        self.frozen(
            [*found, None] if secret else found,
            patterns=at["patterns"],
            read=scope.read_mode(found),
            vanished=at["unstorable"],
        )

    def _all_names(self) -> Iterator[str]:
        """The names in the order of their bytes."""
        return self.generation.entries.order_by("index").values_list("name", flat=True).iterator(10_000)

    def frozen(self, families: Collection[Family | None], **found: object) -> None:
        """End the listing: decide from all names whether the backup is encrypted and which names are in the sample."""
        if not families:  # without keys the backup is encrypted like one with keys, if that is possible
            reached = scope.reached(self.generation.namespace, self.generation.prefixes)
            families = [one for one in reached if encryption.possible() or not encryption.needed(one)]
        if edited := policy.why_edited():  # a family may have lost its encryption without an approval
            raise RunError("policy_edited", edited)
        seed = archive.names_sha256(self._all_names())
        cursor = {"phase": "sample", "seed": seed, "next": 0}
        sealed = encryption.seal(any(map(encryption.needed, families)))
        older = encryption.older_digest_key(self._before(), str(sealed["digest_key"]))
        total = self.generation.entries.count()
        with self.checkpoint(cursor, total=total, note=gettext_noop("Comparing a sample")):
            self.update(category=scope.category(families), older_digest_key=older, **sealed, **found)

    def _before(self) -> Generation | None:
        """The newest routine backup of the same keys that was verified, which a routine backup is compared with."""
        mine, routine = self.generation, Generation.Purpose.ROUTINE
        verified = Generation.objects.once_verified()
        same = verified.filter(namespace=mine.namespace, prefixes=mine.prefixes, purpose=routine)
        return same.order_by("-started_at", "-pk").first() if mine.purpose == routine else None

    def sample(self) -> None:
        """Read the sample's keys in bulk and singly; if one differs, all keys are read singly."""
        at = self.lease.run.cursor
        indexes = kv_reader.sample(at["seed"], self.lease.run.total or 0)
        wanted = indexes[at["next"] : at["next"] + BULK_GET_LIMIT]
        if not wanted or self.generation.read == Read.EXACT:
            with self.checkpoint({"phase": "parts", "next": 0, "number": 1, "attempt": 1}):
                return
        rows = self.generation.entries.filter(index__in=wanted).order_by("index")
        chosen = [Name(*row) for row in rows.values_list("index", "name", "expiration")]
        read = Read.EXACT if self.reader.differ(self.namespace_id, chosen) else Read.BULK
        with self.checkpoint({**at, "next": at["next"] + len(wanted)}):
            self.update(read=read)


def _freeze(generation: Generation, first: int, keys: Sequence[ListedKey]) -> None:
    """Append a page to the names of a backup."""
    columns = "generation_id, index, name, expiration, outcome"
    rows = [
        f"{generation.pk}\t{index}\t{escaped(key.name)}\t"
        f"{r'\N' if key.expiration is None else key.expiration}\tplanned\n"
        for index, key in enumerate(keys, first)
    ]
    with connection.cursor() as cursor, cursor.copy(f"COPY backups_generationentry ({columns}) FROM STDIN") as rows_in:
        rows_in.write("".join(rows))


def freeze_from_stage(generation: Generation, stage: CleanupStage) -> None:
    """Copy the names of a clean-up stage to a backup, with their indexes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO backups_generationentry (generation_id, index, name, expiration, outcome)"
            " SELECT %s, index, name, expiration, 'planned' FROM backups_cleanupentry WHERE stage_id = %s",
            [generation.pk, stage.pk],
        )


def freeze_from_keys(generation: Generation, keys: QuerySet[Key]) -> None:
    """Copy names of the inventory to a backup, in the order of their bytes."""
    rows = keys.order_by("name").values_list("name", "expiration").iterator(AT_ONCE)
    for some in batched(enumerate(rows), AT_ONCE):
        GenerationEntry.objects.bulk_create(
            GenerationEntry(generation=generation, index=index, name=name, expiration=expiration)
            for index, (name, expiration) in some
        )


def freeze_from_restore(generation: Generation, restore: Restore) -> None:
    """Copy the names that a restore may overwrite to a backup; after a partial backup, without the vanished names."""
    source = "SELECT index, name FROM backups_restoreentry WHERE restore_id = %s AND found = ANY(%s)"
    kept = restore.safety_id
    params: list[int | list[str]] = [restore.pk, [kind.value for kind in RestoreEntry.CONFLICTS]]
    if kept is not None:
        source = "SELECT index, name FROM backups_generationentry WHERE generation_id = %s AND outcome = 'kept'"
        params = [kept]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO backups_generationentry (generation_id, index, name, outcome)"  # noqa: S608  (one of two above)
            f" SELECT %s, row_number() OVER (ORDER BY index) - 1, name, 'planned' FROM ({source}) AS found",
            [generation.pk, *params],
        )
