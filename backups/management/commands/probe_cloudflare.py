"""Try on a scratch namespace and bucket whether Cloudflare behaves as KVOps relies on.

Exit 0 if all is as expected or not known, 1 if something differs or was left behind, 2 for bad usage or a refused
target.
"""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit import log
from audit.actions import Action
from backups.bucket.store import StoreError
from backups.probe import run
from backups.probe.target import Target, TargetRefused, target_of
from kvops.cloudflare import CloudflareError
from kvops.models import Environment

USAGE = 2


class Command(BaseCommand):
    help = (
        "Tries each behaviour of Cloudflare that KVOps relies on, with at most 200 requests, on an empty namespace and"
        " an empty bucket that no environment uses. It writes only under a prefix of its own and removes it again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("environment", metavar="ENV", help="the account, the read token and D1 are this one's")
        parser.add_argument("--namespace-id", required=True, metavar="ID", help="an empty scratch namespace")
        parser.add_argument("--bucket", required=True, metavar="NAME", help="an empty scratch bucket")
        parser.add_argument(
            "--write-token", required=True, metavar="env:NAME", help="reference of a write token made for the probe"
        )
        parser.add_argument(
            "--r2-access-key-id", default="", metavar="REF", help="for the scratch bucket; default: the environment's"
        )
        parser.add_argument("--r2-secret-access-key", default="", metavar="REF", help="as --r2-access-key-id")
        parser.add_argument("--clean", default="", metavar="PREFIX", help="only remove what a broken-off probe left")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.objects.filter(slug=options["environment"]).first()
        if environment is None:
            raise CommandError(f"There is no environment {options['environment']}.", returncode=USAGE)
        actor = log.Actor.command()
        asked = {"namespace_id": options["namespace_id"], "bucket": options["bucket"]}
        try:
            target = target_of(
                environment,
                **asked,
                write_token=options["write_token"],
                r2_access_key_id=options["r2_access_key_id"],
                r2_secret_access_key=options["r2_secret_access_key"],
            )
            good = self._clean(target, actor, options) if options["clean"] else self._probe(target, actor, options)
        except TargetRefused as refused:
            details = {**asked, "command": "probe_cloudflare", "reason": str(refused)}
            log.refusal(Action.REFUSED, actor=actor, environment=environment.slug, details=details)
            raise CommandError(str(refused), returncode=USAGE) from refused
        except (CloudflareError, StoreError) as error:
            raise CommandError(f"The probe cannot start. {error}", returncode=USAGE) from error
        if not good:
            sys.exit(1)

    def _probe(self, target: Target, actor: log.Actor, options: dict[str, Any]) -> bool:
        report = run.probe(target, actor=actor)
        if options["json"]:
            self.stdout.write(report.as_json())
        else:
            for line in report.lines():
                self.stdout.write(line)
        return report.ok

    def _clean(self, target: Target, actor: log.Actor, options: dict[str, Any]) -> bool:
        left = run.clean_up(target, options["clean"], actor=actor)
        there = [*left.names, *left.locked]
        if options["json"]:
            self.stdout.write(json.dumps({"prefix": options["clean"], "ok": not there, "left": there}))
        else:
            self.stdout.write(f"Still there: {', '.join(there)}" if there else "Nothing is left.")
        return not there
