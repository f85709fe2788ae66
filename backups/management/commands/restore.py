"""Prepare a restore of a backup's keys: fix their names and compare each with KV. Nothing is written.

A signed-in operator submits it at the printed address, another person approves, the operator starts it. `--names`
takes a file with one name a line, each a JSON string (the format of a clean-up's downloaded list of names). Exit 0
if it is prepared, 1 if it was refused or failed, 2 for bad usage. `--json` prints one object: `restore` (its id,
null after a dry run), `url`, `names`, `on_conflict`, and counts. The counts are `absent` (would be added), `equal`,
`value`, `metadata` and `expiration` (existing and different), `sensitive` (also different, but never overwritten),
`expired` and `soon` (not restored).
"""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from audit.log import Actor
from backups.management import run_to_end
from backups.models import Generation, Restore, RestoreEntry
from backups.restores import requests as restore_requests, selection as restore_selection
from backups.restores.moves import RestoreRefused
from kvops.cloudflare import CloudflareError
from kvops.models import Namespace
from kvops.runs import driver as run_driver
from kvops.wording import keys_of

IN_WORDS = {
    "absent": "would be added",
    "equal": "there and equal",
    "value": "in KV with another value",
    "metadata": "in KV with other metadata",
    "expiration": "in KV with another expiration",
    "sensitive": "there and different, never overwritten",
    "expired": "expired, not restored",
    "soon": "less than a minute left, not restored",
    "unreadable": "cannot be read, never written",
}


class Command(BaseCommand):
    help = "Prepares a restore of keys from a backup; another person approves it before anything is written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("generation", type=int, metavar="BACKUP")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--prefix", default="", help="only keys that begin so")
        which.add_argument("--names", type=Path, metavar="FILE", help="only these: one JSON string a line")
        parser.add_argument("--to", metavar="ENV", help="another environment with the same binding")
        parser.add_argument("--on-conflict", choices=Restore.OnConflict.values, default=Restore.OnConflict.SKIP.value)
        parser.add_argument("--dry-run", action="store_true", help="compare, and keep nothing to submit")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        generation = Generation.objects.select_related("namespace", "environment").filter(pk=options["generation"])
        source = generation.first()
        if source is None:
            raise CommandError(f"There is no backup {options['generation']}.", returncode=2)
        actor = Actor.command()
        try:
            restore = restore_selection.prepare_restore(
                source,
                namespace=_target(source, options["to"]),
                prefix=options["prefix"],
                names=_names(options["names"]),
                on_conflict=Restore.OnConflict(options["on_conflict"]),
                actor=actor,
                foreground=True,
            )
            if restore.preview_run:
                run_to_end.to_the_end(restore.preview_run, self.stderr)
            if options["dry_run"]:
                restore_requests.give_up(restore, actor=actor)
        except (RestoreRefused, run_driver.AlreadyOpen, CloudflareError) as error:
            raise CommandError(str(error)) from error
        restore.refresh_from_db()
        outcome = _outcome(restore, dry=options["dry_run"])
        self.stdout.write(json.dumps(outcome) if options["json"] else _in_words(outcome))


def _target(generation: Generation, slug: str | None) -> Namespace | None:
    if slug is None:
        return None
    binding = generation.namespace.binding
    found = Namespace.objects.filter(environment__slug=slug, binding=binding).select_related("environment").first()
    if found is None:
        raise CommandError(f"No environment {slug} has the binding {binding}.", returncode=2)
    return found


def _names(file: Path | None) -> list[str] | None:
    """The names in a file. Raises CommandError if a line is not a JSON string, or if a name is repeated."""
    if file is None:
        return None
    try:
        found = [json.loads(line) for line in file.read_text("utf-8").split("\n") if line.strip()]
    except (OSError, ValueError) as error:
        raise CommandError(f"{file} cannot be read as one JSON string a line: {error}.", returncode=2) from error
    if not all(isinstance(name, str) for name in found):
        raise CommandError(f"{file} holds something else than one JSON string a line.", returncode=2)
    if len(set(found)) != len(found):
        raise CommandError(f"{file} names a key twice.", returncode=2)
    return found


def _outcome(restore: Restore, *, dry: bool) -> dict[str, object]:
    address = f"{settings.BASE_URL}{reverse('backups:restore', args=[restore.pk])}"
    return {
        "restore": None if dry else restore.pk,
        "url": None if dry else address,
        "names": restore.names,
        "on_conflict": restore.on_conflict,
        **{kind: restore.found.get(kind, 0) for kind in RestoreEntry.Found.values},
    }


def _in_words(outcome: dict[str, object]) -> str:
    lines = [keys_of(int(str(outcome["names"])))]
    lines += [f"{count:>9} {IN_WORDS[kind]}" for kind, count in outcome.items() if kind in IN_WORDS and count]
    lines.append(f"Submit it at {outcome['url']}" if outcome["url"] else "A dry run: nothing is kept to submit.")
    return "\n".join(lines)
