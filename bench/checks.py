"""The steps of the bench of the check: a dataset with its database, and `verify_masters` on a file."""

import io
import json
import os
import time
from pathlib import Path

from django.core.management import call_command

from audit import log
from backups import policy
from backups.models import Dataset
from bench.tables import DATABASE_ID, FIELDS, TABLE
from kvops.models import Database, Environment

BINDING = "MASTERS_D1"


def verify_masters() -> dict[str, float]:
    """Compare the file with the table; nothing differs."""
    environment = Environment.objects.order_by("order")[0]
    Database.objects.create(environment=environment, binding=BINDING, database_id=DATABASE_ID)
    Dataset.objects.create(
        name=TABLE,
        binding="SETTINGS",
        prefix="master:",
        database=BINDING,
        table=TABLE,
        key="master:{type}:{id}",
        fields=FIELDS,
    )
    policy.Policy.in_force().keep(policy.text_in_force(), log.Actor.system("bench"))
    printed = io.StringIO()
    begun = time.perf_counter()
    call_command(
        "verify_masters",
        environment.slug,
        dataset=Path(os.environ["BENCH_FILE"]),
        db=BINDING,
        json=True,
        stdout=printed,
    )
    seconds = time.perf_counter() - begun
    found = json.loads(printed.getvalue())["datasets"][TABLE]
    return {"seconds": seconds, "rows": found["d1"], "differences": found["differences"]}
