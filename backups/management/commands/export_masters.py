"""Export the tables of master data from D1, or from the team's own API, into a file or into R2.

The number of rows of each table is shown first. On a terminal it asks for confirmation, unless `--yes` or `--json`.
Exit 0 if the export is whole (in R2: verified too), 1 if it was refused, declined or failed, 2 for bad usage.
`--json` prints one object: `source`, `tables` (rows by dataset), `keys` (rows in all), `bytes`, `calls` (requests),
`sha256` (of the file, or of the manifest). With `--output` it adds `output`; with `--to-r2` it adds `generation` (its
id), `objects`, `manifest` and `status`. With `--dry-run` `bytes` and `sha256` are null. The file is the one that
`verify_masters --dataset` compares; the same rows give the same bytes.
"""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from backups.exports import plain_file
from backups.generations.scope import BackupRefused
from backups.management import run_to_end
from backups.masters import start as masters_start
from backups.masters.start import Masters, TableCount
from backups.models import Generation
from kvops.cloudflare import CloudflareError
from kvops.models import Environment
from kvops.runs import driver as run_driver
from kvops.wording import several


class Command(BaseCommand):
    help = "Exports the tables of master data to a file, or to R2 as a verified backup."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("environment", metavar="ENV")
        parser.add_argument(
            "--source", default=masters_start.FROM_D1, metavar="d1 | api:URL", help="where the rows come from"
        )
        parser.add_argument("--name", action="append", default=[], help="only this dataset; may be repeated")
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument("--output", type=Path, metavar="FILE", help="a new file, readable by you only")
        target.add_argument("--to-r2", action="store_true", help="a backup in the environment's bucket")
        parser.add_argument("--dry-run", action="store_true", help="tell the numbers and back up nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.objects.filter(slug=options["environment"]).first()
        if environment is None:
            known = ", ".join(Environment.objects.order_by("order").values_list("slug", flat=True)) or "none"
            raise CommandError(f"There is no environment {options['environment']}. Known: {known}.", returncode=2)
        actor = Actor.command()
        try:
            chosen = masters_start.choose(environment, options["name"])
            outcome = self._back_up(chosen, actor, options)
        except BackupRefused as refusal:
            masters_start.record_refusal_of_masters(environment, refusal, actor=actor)
            raise CommandError(str(refusal)) from refusal
        except (plain_file.PathRefused, run_driver.AlreadyOpen, CloudflareError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(plain_file.no_room(error)) from error
        self.stdout.write(json.dumps(outcome) if options["json"] else _in_words(outcome))
        if outcome.get("status") == Generation.Status.DAMAGED:
            raise CommandError("The backup is damaged: R2 returned other bytes than were written. Export again.")

    def _back_up(self, chosen: Masters, actor: Actor, options: dict[str, Any]) -> dict[str, object]:
        source: str = options["source"]
        if options["output"]:
            plain_file.insist_free(options["output"])
        if options["dry_run"] or not options["json"]:
            tables = masters_start.rows_by_table(chosen, source=source)
            if options["dry_run"]:
                return _outcome(source, tables, keys=sum(each.rows for each in tables), bytes=None, sha256=None)
            self._ask(tables, options)
        if options["to_r2"]:
            return self._to_r2(chosen, source, actor)
        dump = masters_start.write(
            chosen,
            source=source,
            path=options["output"],
            actor=actor,
            progress=lambda note: run_to_end.progress(self.stderr, note),
        )
        facts = {"keys": dump.keys, "bytes": dump.bytes, "calls": dump.calls, "sha256": dump.sha256}
        return _outcome(source, dump.tables, **facts, output=str(dump.path))

    def _ask(self, tables: Sequence[TableCount], options: dict[str, Any]) -> None:
        """Show the export; on a terminal, raise CommandError unless the answer is yes."""
        for each in tables:
            self.stderr.write(f"{each.dataset}: {several(each.rows, 'row')} of {each.table}")
        if options["yes"] or not self.stderr.isatty():
            return
        if input("Back them up? [y/N] ").strip().lower() not in {"y", "yes"}:
            raise CommandError("Nothing was backed up.")

    def _to_r2(self, chosen: Masters, source: str, actor: Actor) -> dict[str, object]:
        made = masters_start.start_export(chosen, source=source, actor=actor, foreground=True)
        calls = run_to_end.until_verified(made, self.stderr, actor)
        return _outcome(
            source,
            [TableCount(table["dataset"], table["table"], table["rows"]) for table in made.tables],
            keys=made.keys,
            bytes=made.bytes,
            calls=calls,
            sha256=made.manifest_sha256,
            generation=made.pk,
            objects=made.object_keys(),
            manifest=made.manifest_key,
            status=made.status,
        )


def _outcome(source: str, tables: Sequence[TableCount], **facts: object) -> dict[str, object]:
    return {"source": source, "tables": {each.dataset: each.rows for each in tables}, **facts}


def _in_words(outcome: dict[str, object]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in outcome.items() if value is not None)
