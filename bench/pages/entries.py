"""The audit log of an installation: a valid chain, hashed by the product's own function, stored by COPY."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from audit.chain import GENESIS, Content, canonical_entry, entry_hash
from bench.fakes import SEED
from bench.pages.estate import FAMILIES
from bench.pages.rows import KINDS
from bench.pages.sizes import DAYS, Sizes

BLOCK = 2_000
"""Entries in one write."""
COLUMNS = (
    *("seq", "at", "action", "actor_id", "actor", "environment", "subject", "subject_label", "digest", "details"),
    *("canonical", "prev_hash", "row_hash"),
)
OF_KIND = {"scan": "scan.finished", "backup": "generation.completed", "verify": "generation.verified"}
"""What the third entry of a run tells; other runs tell of the bucket."""
MOST_STRANGERS = 5_000
ENVIRONMENTS = ("qa", "production")
type Told = dict[str, Any]
"""Fields of an entry; those left out are alike in most entries."""


def fill(sizes: Sizes, now: datetime) -> None:
    """Store the entries, ten for each run, and move the head of the chain."""
    last, row_hash = sizes.entries, GENESIS
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY audit_entry ({', '.join(COLUMNS)}) FROM STDIN") as copying:
            lines: list[str] = []
            for content in contents(sizes, now):
                canonical = canonical_entry(content)
                prev_hash, row_hash = row_hash, entry_hash(row_hash, canonical)
                lines.append(_line(content, canonical, prev_hash, row_hash))
                if len(lines) == BLOCK:
                    copying.write("".join(lines))
                    lines.clear()
            copying.write("".join(lines))
        cursor.execute("UPDATE audit_head SET seq = %s, hash = %s, at = %s", [last, row_hash, now])


def _line(content: Content, canonical: bytes, prev_hash: bytes, row_hash: bytes) -> str:
    # None of the texts holds a tab, a line break or a backslash.
    actor = "\\N" if content.actor_id is None else content.actor_id
    details = json.dumps(content.details, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return (
        f"{content.seq}\t{content.at.isoformat()}\t{content.action}\t{actor}\t{content.actor}\t{content.environment}\t"
        f"{content.subject}\t{content.subject_label}\t{content.digest}\t{details}\t"
        f"\\\\x{canonical.hex()}\t\\\\x{prev_hash.hex()}\t\\\\x{row_hash.hex()}\n"
    )


def contents(sizes: Sizes, now: datetime) -> Iterator[Content]:
    """The entries, oldest first: of runs, backups, requests, clean-ups, views of values and sign-ins."""
    for run in range(sizes.runs):
        for place, told in enumerate((*_of_run(run), *_of_people(run, sizes))):
            at = now.astimezone(UTC) - timedelta(seconds=sizes.seconds_before(run + place / 10))
            common: dict[str, Any] = {"environment": ENVIRONMENTS[run % 2], "actor_id": None, "details": {}}
            yield Content(**{**common, **told}, seq=run * 10 + place + 1, at=at, digest="")


def _of_run(run: int) -> Iterator[Told]:
    """The four entries of a run."""
    kind, about = KINDS[run % 20], {"subject": f"run:{run + 1}", "subject_label": "SETTINGS"}
    yield {"action": "run.created", "actor": "system:schedule", **about}
    yield {"action": "scan.started" if kind == "scan" else "run.taken_over", "actor": "system:worker", **about}
    ended = {"actor": "system:worker", "details": {"keys": 1000, "calls": 12}, **about}
    if kind in {"backup", "verify"}:
        ended["subject"] = f"generation:{run // 20 * 2 + run % 2 + 1}"
    yield {"action": OF_KIND.get(kind, "storage.reconciled"), **ended}
    yield {"action": "run.finished", "actor": "system:worker", **about}


def _of_people(run: int, sizes: Sizes) -> Iterator[Told]:
    """The six entries of people around it."""
    person = run * SEED % 20
    by = {"actor_id": person + 4, "actor": f"Colleague{person:02} <colleague{person:02}@example.com>"}
    yield {"action": "signin.succeeded", "subject": f"person:{person + 4}", "subject_label": by["actor"], **by}
    key, namespace = f"clinic:id:{run * 13 % max(sizes.keys // 1_000, 10):08}", f"{ENVIRONMENTS[run % 2]}/SETTINGS"
    viewed = {"key": key, "bytes": 1024, "namespace": namespace}
    about = {"subject": f"generation:{run // 20 * 2 + 1}", "subject_label": namespace}
    yield {"action": "value.viewed", "details": viewed, **about, **by}
    request = {"subject": f"approval:{run * 7 % sizes.approvals + 1}", "subject_label": "Delete keys of SETTINGS"}
    yield {"action": "approval.requested" if run % 2 else "approval.used", **request, **by}
    chunk = {"subject": f"stage:{run * 11 % (2 * sizes.cleanups) + 1}", "subject_label": "staff:old*"}
    yield {"action": "chunk.settled", "details": {"deleted": 25, "names_sha256": f"{run:064x}"}, **chunk, **by}
    if gone := _deleted_at(run, sizes):
        yield {"action": "generation.deleted", "subject": f"generation:{gone}", "subject_label": "", **by}
    elif run % 200 == 3:
        yield {"action": "generation.pinned", "details": {"reason": "Kept for the audit."}, **about, **by}
    else:
        yield {"action": "schedule.fired", "subject": f"schedule:{1 + run % 9}", "subject_label": "scan", **by}
    stranger = f"stranger{run % max(1, min(MOST_STRANGERS, sizes.entries // 10_000))}@example.org"
    yield {"action": "signin.failed", "actor": stranger, "subject": "", "subject_label": "", "environment": ""}


def _deleted_at(run: int, sizes: Sizes) -> int | None:
    """The backup that was deleted about the time of a run; see `rows.generations`."""
    for days, is_kept_long in (60, False), (365, True):
        made = run - sizes.runs * days // DAYS
        if made >= 0 and KINDS[made % 20] == "backup":
            number = made // 20 * 2 + made % 2 + 1
            if is_kept_long == (number // 2 % len(FAMILIES) == len(FAMILIES) - 1):
                return number
    return None
