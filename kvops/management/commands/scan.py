"""List a namespace into the inventory, in this process.

Exit 0 if the scan is complete, 1 if it failed or was refused, 2 for bad usage. `--json` prints one object:
`environment`, `binding`, `keys`, `added`, `changed`, `gone`, `calls`, and `categories`: keys per category.
"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from kvops.environments import apply as environments_apply
from kvops.inventory import browse, scan as inventory_scan
from kvops.models import Run, Scan
from kvops.runs import driver as run_driver
from kvops.wording import keys_of, several


class Command(BaseCommand):
    help = "Lists the keys of a namespace, or of a prefix of it, and brings the inventory up to date."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("namespace", metavar="ENV/BINDING")
        parser.add_argument("--prefix", default="", help="list only the keys that begin with this")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            namespace = environments_apply.find_namespace(options["namespace"])
            scan = inventory_scan.start_scan(
                namespace,
                actor=Actor.command(),
                prefix=options["prefix"],
                foreground=True,
            )
        except (environments_apply.UnknownNamespace, inventory_scan.ScanRefused) as error:
            raise CommandError(str(error), returncode=2) from error
        except run_driver.AlreadyOpen as error:
            raise CommandError(str(error)) from error
        for run in run_driver.drive_to_the_end(scan.run):
            if self.stderr.isatty():
                self.stderr.write(run.note)
        if scan.run.state != Run.State.SUCCEEDED:
            raise CommandError(scan.run.error or "The scan was stopped; nothing was changed.")
        scan.refresh_from_db()
        self._report(scan, as_json=options["json"])

    def _report(self, scan: Scan, *, as_json: bool) -> None:
        categories = browse.by_category(scan.namespace)
        outcome = {
            "environment": scan.namespace.environment.slug,
            "binding": scan.namespace.binding,
            "keys": scan.keys,
            "added": scan.added,
            "changed": scan.changed,
            "gone": scan.gone,
            "calls": scan.calls,
            "categories": categories,
        }
        if as_json:
            self.stdout.write(json.dumps(outcome))
            return
        self.stdout.write(
            f"{scan.namespace}: {keys_of(scan.keys)} ({scan.added:,} new, {scan.changed:,} changed, {scan.gone:,} gone)"
            f" in {several(scan.calls, 'call')}"
        )
        for category, keys in categories.items():
            self.stdout.write(f"  {category}: {keys:,}")
        if scan.unstorable:
            self.stdout.write(
                f"  names left out, which cannot be worked with (NUL, no UTF-8 form, or a path): {scan.unstorable:,}"
            )
