"""The manifest of a finished backup as Postgres knows it, and from it the steps to restore without KVOps."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backups import archive
from backups.datasets.paths import parse
from backups.models import Generation, GenerationPart

MAX_PARTS = 20
"""Parts. A page shows the steps for at most this many; for more, the steps are a file."""


@dataclass(frozen=True)
class Section:
    """One section of the steps: a heading, text and commands."""

    title: str
    commands: Sequence[str]
    text: Sequence[str]


def document(
    generation: Generation, closing: Mapping[str, Any], read: Sequence[GenerationPart] | None = None
) -> archive.Manifest:
    """The manifest without its recovery steps; `closing` are the facts that the export's run committed at its end.

    `read` are all parts in their order, if a page has read them already.
    """
    rows = [part.stored for part in (generation.parts.order_by("number") if read is None else read)]
    parts = tuple(archive.Part(**part) for stored in rows for part in stored)
    return archive.Manifest(
        environment=generation.environment.slug,
        account_id=generation.environment.account_id,
        binding=generation.namespace.binding,
        namespace_id=generation.namespace.namespace_id,
        namespace_title=generation.namespace.title,
        bucket=generation.bucket,
        stem=generation.stem,
        prefixes=tuple(generation.prefixes),
        families=tuple(generation.patterns),
        counts=archive.Counts(keys=generation.keys, value_bytes=generation.bytes, vanished=generation.vanished),
        parts=parts,
        digest_root=archive.parts_root(parts),
        started_at=generation.started_at,
        finished_at=datetime.fromisoformat(closing["finished_at"]),
        retain_until=generation.retain_until,
        made_by=generation.actor,
        code_version=closing["version"],
        audit_sequence=closing["sequence"],
        audit_hash=closing["hash"],
        recipients=tuple(generation.recipients),
        digest_key=generation.digest_key,
        source=generation.source,
        tables=tuple(map(_table, generation.tables)),
    )


def _table(table: Mapping[str, Any]) -> archive.ManifestTable:
    """A table of the manifest. An older backup has the names of members in place of paths."""
    if "holds" not in table:
        return archive.ManifestTable(**{**table, "fields": tuple(sorted(table["fields"].items()))})
    fields = tuple((*parse(path), column) for path, column in sorted(table["fields"].items()))
    return archive.ManifestTable(**{**table, "fields": fields, "path": tuple(table["path"])})


def recovery_steps(generation: Generation, read: Sequence[GenerationPart] | None = None) -> str:
    """The recovery steps as stored in the bucket, in Markdown; empty while the backup is in writing."""
    closing = generation.run.cursor
    if generation.status == Generation.Status.WRITING or closing.get("phase") != "close":
        return ""
    return archive.restore_commands(document(generation, closing, read))


def sections(markdown: str) -> list[Section]:
    """The steps split at their headings, for a page."""
    found = []
    for chunk in re.split(r"^#{1,2} ", markdown, flags=re.MULTILINE)[1:]:
        title, _, body = chunk.partition("\n")
        commands = re.findall(r"^```sh\n(.*?)\n```$", body, flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r"^```sh\n.*?\n```$", "", body, flags=re.MULTILINE | re.DOTALL)
        found.append(Section(title, commands, [line for line in text.splitlines() if line.strip()]))
    return found
