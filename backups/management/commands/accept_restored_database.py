"""Continue with a database that was rolled back, as the buckets show.

Exit 0 if it is accepted, 1 if no bucket shows a rollback or one cannot be read, 2 for bad usage.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from backups.bucket import newest_manifest
from backups.bucket.store import StoreError
from kvops.approvals import restored_database
from kvops.models import Environment


def look_into_each_bucket() -> bool:
    """Compare the newest manifest of every environment. Whether one shows a rollback. Raises StoreError."""
    looks = [newest_manifest.compare_newest_manifest(one) for one in Environment.objects.order_by("order")]
    return any(looks)


class Command(BaseCommand):
    help = (
        "Accepts a restored database: open requests are withdrawn and destructive runs are over; work begins anew from"
        " what the database says. Restoring a newer state of it is better."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--reason", required=True, help="reason for accepting this database; the audit log keeps it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            look_into_each_bucket()
            found = restored_database.accept_restored_database(actor=Actor.command(), reason=options["reason"])
            # A rollback keeps the manifest that showed it first. A newer one in the bucket is accepted as well.
            if look_into_each_bucket():
                found += restored_database.accept_restored_database(actor=Actor.command(), reason=options["reason"])
        except (StoreError, restored_database.NothingToAccept) as refused:
            raise CommandError(str(refused)) from refused
        for one in found:
            self.stdout.write(f"Accepted although {one.manifest_key} tells of entry {one.sequence}.")
        self.stdout.write("Open requests are withdrawn; deletions and restores that were under way can be ended early.")
