"""Shared by `kv_dump` and `export_clinics`: export the keys under prefixes into a file, or into R2.

Exit 0 if the export is whole (in R2: verified too), 1 if it was refused or failed, or keys vanished meanwhile, 2
for bad usage. `--json` prints one object: `keys`, `bytes` (of the values), `calls` (requests to Cloudflare), `sha256`
(of the file, or of the manifest). With `--output` it adds `output`, `api_only` (the file with entries wrangler
refuses, or null), `expired`, `vanished`. With `--to-r2` it adds `generation` (its id), `objects` (names of the data
objects), `manifest` (its name), `status`, `expired`, `vanished`. With `--dry-run` `bytes` and `sha256` are null.
"""

import json
import signal
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from backups.archive import ManifestError
from backups.exports import plain_file, plain_files
from backups.generations import scope, start as generation_start
from backups.management import run_to_end
from backups.models import Generation
from kvops.cloudflare import CloudflareError
from kvops.environments import apply as environments_apply
from kvops.models import Namespace
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.wording import keys_of


class DumpCommand(BaseCommand):
    """A command that exports the keys under prefixes."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the flags of both commands."""
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument("--output", type=Path, metavar="FILE", help="a new file, readable by you only")
        target.add_argument("--to-r2", action="store_true", help="a backup in the environment's bucket")
        parser.add_argument("--dry-run", action="store_true", help="tell the numbers and read no value")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def namespace(self, address: str) -> Namespace:
        """The namespace at ENV/BINDING; raises CommandError."""
        try:
            return environments_apply.find_namespace(address)
        except environments_apply.UnknownNamespace as error:
            raise CommandError(str(error), returncode=2) from error

    def back_up(self, namespace: Namespace, prefixes: Sequence[str], options: dict[str, Any]) -> dict[str, object]:
        """Back up the keys and return the facts; a refusal is recorded. Raises CommandError."""
        actor = Actor.command()
        try:
            return self._back_up(namespace, prefixes, actor, options)
        except Refused as refusal:
            plain_files.record_refusal_of_dump(namespace, prefixes, refusal, actor=actor)
            raise CommandError(str(refusal)) from refusal
        except (run_driver.AlreadyOpen, CloudflareError, ManifestError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(plain_file.no_room(error)) from error
        except KeyboardInterrupt:
            raise CommandError(_interrupted(options), returncode=128 + signal.SIGINT) from None

    def report(self, outcome: dict[str, object], options: dict[str, Any]) -> None:
        """Print the outcome. Raises CommandError if the backup is not complete."""
        self.stdout.write(json.dumps(outcome) if options["json"] else _in_words(outcome))
        if outcome.get("vanished"):
            raise CommandError(
                f"{keys_of(int(str(outcome['vanished'])))} vanished while they were exported. Export again."
            )
        if outcome.get("status") == Generation.Status.DAMAGED:
            raise CommandError("The backup is damaged: R2 returned other bytes than were written. Export again.")

    def _back_up(
        self, namespace: Namespace, prefixes: Sequence[str], actor: Actor, options: dict[str, Any]
    ) -> dict[str, object]:
        if options["dry_run"]:
            plan = plain_files.plan_dump(namespace, prefixes=prefixes, plain=not options["to_r2"])
            return {"keys": plan.keys, "bytes": None, "calls": plan.calls, "sha256": None}
        if options["to_r2"]:
            return self._to_r2(namespace, prefixes, actor)
        dump = plain_files.write(
            namespace,
            prefixes=prefixes,
            path=options["output"],
            actor=actor,
            progress=lambda note: run_to_end.progress(self.stderr, note),
        )
        return {
            "keys": dump.keys,
            "bytes": dump.bytes,
            "calls": dump.calls,
            "sha256": dump.sha256,
            "output": str(dump.path),
            "api_only": str(dump.api_only) if dump.api_only else None,
            "expired": dump.expired,
            "vanished": dump.vanished,
        }

    def _to_r2(self, namespace: Namespace, prefixes: Sequence[str], actor: Actor) -> dict[str, object]:
        generation = generation_start.start_backup(namespace, prefixes=prefixes, actor=actor, foreground=True)
        run = generation.run
        try:
            calls = run_to_end.until_verified(generation, self.stderr, actor)
        except CommandError as failure:
            if run.error_code == "encryption":
                raise scope.BackupRefused(run.error) from failure
            raise
        return {
            "keys": generation.keys,
            "bytes": generation.bytes,
            "calls": calls,
            "sha256": generation.manifest_sha256,
            "generation": generation.pk,
            "objects": generation.object_keys(),
            "manifest": generation.manifest_key,
            "status": generation.status,
            "expired": generation.expired,
            "vanished": generation.vanished,
        }


def _interrupted(options: dict[str, Any]) -> str:
    if options["to_r2"]:
        return "Interrupted. The backup is not complete: its page says how to go on."
    return "Interrupted. No file was written."


def _in_words(outcome: dict[str, object]) -> str:
    lines = [f"{name}: {value}" for name, value in outcome.items() if value not in (None, [])]
    if outcome.get("api_only"):
        lines.append("wrangler refuses the entries in the second file: put them with Cloudflare's API.")
    return "\n".join(lines)
