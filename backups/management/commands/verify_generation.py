"""Verify a backup: read it back from R2 and compare it entry by entry with KV's answer.

Exit 0 if it is verified, 1 if it is damaged, not complete or cannot be read now, 2 for bad usage. `--json` prints
one object: `generation`, `ok`, `status`, `keys`, `bytes`, `manifest`, `verified_at` (ISO 8601, or null), `problem`.
"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from backups.generations import start as generation_start
from backups.management import run_to_end
from backups.models import Generation
from kvops.runs import driver as run_driver


class Command(BaseCommand):
    help = "Reads a backup back from R2 and compares every entry with what KV returned."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("generation", type=int, metavar="ID")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        generation = Generation.objects.filter(pk=options["generation"]).first()
        if generation is None:
            raise CommandError(f"There is no backup {options['generation']}.", returncode=2)
        try:
            run = generation_start.start_verification(generation, actor=Actor.command(), foreground=True)
        except (generation_start.NotVerifiable, run_driver.AlreadyOpen) as error:
            raise CommandError(str(error)) from error
        run_to_end.to_the_end(run, self.stderr)
        generation.refresh_from_db()
        ok = generation.status == Generation.Status.VERIFIED
        self.stdout.write(_json(generation, ok=ok) if options["json"] else f"{generation}: {generation.status}")
        if not ok:
            raise CommandError(f"Damaged: {generation.problem} Make a new backup.")


def _json(generation: Generation, *, ok: bool) -> str:
    return json.dumps(
        {
            "generation": generation.pk,
            "ok": ok,
            "status": generation.status,
            "keys": generation.keys,
            "bytes": generation.bytes,
            "manifest": generation.manifest_key,
            "verified_at": generation.verified_at.isoformat() if generation.verified_at else None,
            "problem": generation.problem,
        }
    )
