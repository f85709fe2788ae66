"""List the bucket of an environment and compare it with the backups; nothing is deleted.

Exit 0 if every object belongs to a backup unchanged, or has a person's note. Exit 1 if something needs attention,
or the bucket cannot be listed; 2 for bad usage. `--json` prints one object: `environment`, `ok`, `unfinished_uploads`
(null if the store does not list them), and the number of objects by status. The statuses are `known`, `unknown` (of
no backup), `missing`, `changed`, `gone` (of no backup, and deleted).
"""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from backups.bucket import reconcile as bucket_reconcile
from backups.management import run_to_end
from kvops.models import Environment
from kvops.runs import driver as run_driver


class Command(BaseCommand):
    help = "Lists the bucket of an environment and compares it with the objects of its backups."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("environment", metavar="ENV")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.objects.filter(slug=options["environment"]).first()
        if environment is None:
            raise CommandError(f"There is no environment {options['environment']!r}.", returncode=2)
        try:
            run = bucket_reconcile.start(environment, actor=Actor.command(), foreground=True)
        except run_driver.AlreadyOpen as error:
            raise CommandError(str(error)) from error
        run_to_end.to_the_end(run, self.stderr)
        bucket = bucket_reconcile.BucketListings(
            environment, run, None, bucket_reconcile.wrong_objects([environment])[environment.pk]
        )
        counts, wrong = dict(bucket.counts), bool(bucket.wrong or bucket.uploads)
        if options["json"]:
            found = {"environment": environment.slug, "ok": not wrong, **counts, "unfinished_uploads": bucket.uploads}
            self.stdout.write(json.dumps(found))
        else:
            self.stdout.write(f"{run.label}: {', '.join(f'{count} {status}' for status, count in counts.items())}")
        if wrong:
            raise CommandError("The bucket differs from the backups; the page Storage lists every such object.")
