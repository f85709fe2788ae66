"""The rows of a part of a backup: its objects, and the results for its names."""

from dataclasses import asdict

from django.db import connection

from backups import archive
from backups.models import Generation, GenerationEntry, GenerationPart

type Found = tuple[int, GenerationEntry.Outcome, bytes | None, int | None, bytes | None]
"""The result for one name: its index, the outcome, digest and size of its entry, and its digest by an older key."""


def part_row(generation: Generation, stored: list[archive.Part], first: int, last: int) -> GenerationPart:
    """The row of a part that was stored: one data object, and its api-only sibling if there is one."""
    plain, sibling = stored[0], stored[1] if len(stored) > 1 else None
    return GenerationPart(
        generation=generation,
        number=plain.number,
        object_key=plain.key,
        sha256=plain.sha256,
        size=plain.size,
        keys=plain.keys,
        digest_root=plain.digest_root,
        digests_key=plain.digests_key,
        digests_sha256=plain.digests_sha256,
        api_only_key=sibling.key if sibling else "",
        api_only_sha256=sibling.sha256 if sibling else "",
        api_only_keys=sibling.keys if sibling else 0,
        first_index=first,
        last_index=last,
        stored=[asdict(part) for part in stored],
    )


def settle(generation: Generation, found: list[Found]) -> None:
    """Record the results for the names of a part in one statement."""
    columns = [list(column) for column in zip(*found, strict=True)] or [[], [], [], [], []]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE backups_generationentry AS entry SET outcome = f.outcome, digest = f.digest, size = f.size,"
            " older_digest = f.older FROM unnest(%s::bigint[], %s::text[], %s::bytea[], %s::bigint[], %s::bytea[])"
            " AS f(index, outcome, digest, size, older)"
            " WHERE entry.generation_id = %s AND entry.index = f.index",
            [*columns, generation.pk],
        )
