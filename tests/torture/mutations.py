"""`mutations` (A4): after a request was approved, one thing of it is changed by SQL past every trigger.

The change is made before the deletion is started, or after it was claimed and before anything was sent. A new value of
every column of every row that the request stands on, and rows that come, go or change places: nothing may be deleted.
Untouched ones in between must be carried out, or the row would prove nothing.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.db.models import Field, Model
from django.db.models.functions import Now
from django.db.transaction import atomic

from backups.cleanup import requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.models import (
    BucketProtection,
    Check,
    CleanupEntry,
    CleanupRequest,
    CleanupStage,
    Dataset,
    Generation,
    GenerationEntry,
    StoredObject,
)
from kvops import clock
from kvops.approvals import gate as approval_gate
from kvops.models import (
    ApprovalRequest,
    Database,
    DeployedCode,
    Environment,
    Namespace,
    PolicyVersion,
    ReferenceAnswer,
    ReferenceHit,
    ReferenceSearch,
    Run,
)
from kvops.runs import driver as run_driver
from tests import make, searched
from tests.gate import world as gate
from tests.torture import empty_estate
from tests.torture.rows import Found, TortureFigure, TortureRow, total

LATER = (
    "frozen_at confirm_run late_run deleted skipped first_listing_at second_listing_at empty_reason leftovers_note"
    " remaining others others_note others_by others_at"
)
EXEMPT: Mapping[type[Model], str] = {
    # When it was asked, decided and used decides nothing; until when it may be decided and used does.
    ApprovalRequest: "created_at decided_at used_at",
    # Written by later steps, or for people only.
    CleanupStage: f"{LATER} accepted_note accepted_by accepted_at returned_because after_accepted",
    CleanupRequest: "created_at ended_by",
    CleanupEntry: "expiration",
    # What the manifest, whose digest is bound, says too; who made it, and how its own work went.
    Generation: (
        "category patterns purpose tables run verify_run made_by actor stem calls started_at verified_at problem"
        " retain_until"
    ),
    Check: "run started_at",
    # Families and datasets are compared with the newest version, each column of them.
    PolicyVersion: "applied_at applied_by",
    # When it came here and from whom, what its hits say too, and bindings that only people read: a file that could not
    # be read is a hit of its own.
    ReferenceSearch: "at by made_by hit_count unparsed",
    # Its fingerprint, which is bound, is a digest of them; the column is for people.
    ReferenceHit: "column text context",
    # How a Worker is searched, which this Pages project is not; a binding of another namespace decides nothing.
    DeployedCode: "deployment etag bindings deployed_at seen_at",
    # Names for people, and where and how they are told; who may read the bucket.
    Environment: "name r2_access_key_id r2_secret_access_key key_template updated_at slack language",
    Namespace: "unpaired",
    # What a listing of the bucket says of it, and people.
    StoredObject: "generation size etag modified_at seen_at status status_at note noted_by noted_at",
    # It holds for longer than the trials take; what the rules mean for the copy is derived from them.
    BucketProtection: "lock read_at wider deletes expiry",
}
"""Columns that no right hangs on."""
OF_A_RUN = ("kind", "subject", "approval", "approval_digest", "started_by", "environment")
"""What a run does; its other columns say how it goes."""


@dataclass(frozen=True)
class MutationGround:
    """The rows that an approved deletion of production stands on."""

    world: gate.GateWorld
    estate: make.Estate
    stage: CleanupStage

    def rows(self) -> list[Model]:
        """One of each, as they are now."""
        stage = gate.stage_of(self.stage.request, "production")
        request, generation = stage.request, stage.generation
        found: list[Model | None] = [
            stage.approval, stage, request, generation, stage.check_passed, stage.search, request.family,
            ReferenceHit.objects.get(search=stage.search), ReferenceAnswer.objects.get(hit__search=stage.search),
            DeployedCode.objects.get(environment=stage.environment),
            stage.environment, stage.namespace, stage.run, PolicyVersion.objects.latest("number"),
            Dataset.objects.get(),
            Database.objects.get(environment=stage.environment),
            BucketProtection.objects.get(environment=stage.environment),
            CleanupEntry.objects.filter(stage=stage).order_by("index")[1],
            GenerationEntry.objects.filter(generation=generation).order_by("index")[1],
            StoredObject.objects.get(generation=generation, key__endswith=".manifest.json"),
        ]  # fmt: skip
        return [row for row in found if row is not None]


type AnyField = Field[object, object]


def columns(row: Model) -> list[AnyField]:
    """The columns that must not change; the run of a stage that has none is written by the start."""
    exempt = EXEMPT.get(type(row), "").split()
    if isinstance(row, CleanupStage) and row.run_id is None:
        exempt.append("run")
    if isinstance(row, Run):
        return [field for field in row._meta.concrete_fields if field.name in OF_A_RUN]
    return [field for field in row._meta.concrete_fields if not field.primary_key and field.name not in exempt]


def other(field: AnyField, value: object, rng: random.Random) -> object:
    """Another value that the column takes."""
    if field.is_relation:
        return rng.choice(_others(field, value))
    if value is None:
        return Now() if field.get_internal_type() in {"DateField", "DateTimeField"} else rng.randrange(1, 99)
    return _unlike(value, rng) if not isinstance(value, str) else _other_text(field, value, rng)


def _unlike(value: object, rng: random.Random) -> object:
    match value:
        case bool():
            return not value
        case int():
            return value + rng.randrange(1, 1000)
        case datetime():
            return value + timedelta(seconds=rng.randrange(1, 10**7))
        case list():
            return [*value, "x"] if rng.randrange(2) or not value else value[1:]
        case dict():
            return {**value, rng.choice([*value, "x"]): "y"}
        case bytes() | memoryview():
            flipped = bytearray(bytes(value))
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            return bytes(flipped)
    raise TypeError(f"{value!r} is of no kind that is known here")


def _other_text(field: AnyField, value: str, rng: random.Random) -> str:
    if field.choices:
        return rng.choice([str(one) for one, _ in field.flatchoices if one != value])
    if not value:
        return "x"
    at = rng.randrange(len(value))
    letter = rng.choice([one for one in "0123456789abcdefxyz" if one != value[at]])
    shorter, replaced = value[:at] + value[at + 1 :], value[:at] + letter + value[at + 1 :]
    longer = value + letter if len(value) < (field.max_length or 9999) else replaced
    return rng.choice((shorter, replaced, longer))


def _others(field: AnyField, value: object) -> list[object]:
    model = field.related_model
    assert model is not None
    found = [pk for pk in model._default_manager.values_list("pk", flat=True)[:50] if pk != value]
    return [*found, *([None] if field.null and value is not None else []), 999_999]


def change_a_column(ground: MutationGround, rng: random.Random) -> str:
    """One column of one row gets another value."""
    row = rng.choice(ground.rows())
    field = rng.choice(columns(row))
    value = other(field, getattr(row, field.attname), rng)
    type(row)._default_manager.filter(pk=row.pk).update(**{field.attname: value})
    return f"{type(row).__name__}.{field.name}"


def remove_a_name(ground: MutationGround, rng: random.Random) -> str:
    """A frozen name goes."""
    CleanupEntry.objects.filter(stage=ground.stage, index=rng.randrange(ground.stage.names)).delete()
    return "a name less"


def add_a_name(ground: MutationGround, rng: random.Random) -> str:
    """A frozen name comes: in between in the order of bytes, or behind."""
    name = rng.choice(("master:z:9", "master:a:11", "system-root"))
    CleanupEntry.objects.create(stage=ground.stage, index=ground.stage.names + rng.randrange(3), name=name)
    return "a name more"


def swap_names(ground: MutationGround, _rng: random.Random) -> str:
    """Two frozen names change places."""
    CleanupEntry.objects.filter(stage=ground.stage, index=0).update(index=900)
    CleanupEntry.objects.filter(stage=ground.stage, index=1).update(index=0)
    CleanupEntry.objects.filter(stage=ground.stage, index=900).update(index=1)
    return "names swapped"


def remove_from_the_backup(ground: MutationGround, rng: random.Random) -> str:
    """An entry of the copy goes."""
    index = rng.randrange(ground.stage.names)
    GenerationEntry.objects.filter(generation=ground.stage.generation, index=index).delete()
    return "a copied entry less"


def add_to_the_backup(ground: MutationGround, _rng: random.Random) -> str:
    """An entry of the copy comes."""
    generation = Generation.objects.get(stages=ground.stage)
    GenerationEntry.objects.create(generation=generation, index=99, name="master:z:9", outcome="planned")
    return "a copied entry more"


def replace_the_policy(_ground: MutationGround, rng: random.Random) -> str:
    """Another policy, or none."""
    if rng.randrange(2):
        make.another_policy()
        return "another policy"
    PolicyVersion.objects.all()._raw_delete("default")
    return "no policy"


def remove_the_rule(_ground: MutationGround, _rng: random.Random) -> str:
    """The dataset goes."""
    Dataset.objects.all()._raw_delete("default")
    return "no dataset"


STRUCTURAL = (
    remove_a_name, add_a_name, swap_names, remove_from_the_backup, add_to_the_backup, replace_the_policy,
    remove_the_rule,
)  # fmt: skip


def mutate(ground: MutationGround, rng: random.Random) -> str:
    """One change, as the trial's number wants it; what it was."""
    how: Callable[[MutationGround, random.Random], str] = (
        change_a_column if rng.randrange(8) else rng.choice(STRUCTURAL)
    )
    return how(ground, rng)


def _trial(ground: MutationGround, seed: int, number: int) -> Found:
    rng = random.Random(f"{seed}:{number}")
    before = len(ground.estate.cloudflare.calls("bulk_delete"))
    untouched = number % 100 < 2
    found: Found = {"untouched": untouched}
    with gate.undone():
        if ground.stage.run:
            _to_the_first_chunk(ground.stage.run)
        try:
            if not untouched:
                with gate.past_the_triggers(), atomic():
                    what = mutate(ground, rng)
        except DatabaseError:
            found["by_the_database"] = 1
            return found
        found["by_an_error"] = _carry_out(ground)
    found["deleted"] = len(ground.estate.cloudflare.calls("bulk_delete")) > before
    if found["deleted"]:
        _refill(ground.estate)
        if not untouched:
            print(f"trial {number}: carried out in spite of: {what}")
    return found


def _carry_out(ground: MutationGround) -> bool:
    """Start the deletion unless it was, and let a worker work on it; whether it ended with something unforeseen."""
    try:
        if ground.stage.run is None:
            stage = CleanupStage.objects.get(pk=ground.stage.pk)
            _to_the_first_chunk(cleanup_requests.start_deletion(stage, by=ground.world.people.operator))
        run = Run.objects.get(approval_id=ground.stage.approval_id)
        run_driver.drive(run.pk)
        run.refresh_from_db()
    except (CleanupRefused, approval_gate.ApprovalRefused):
        return False
    except Exception:  # noqa: BLE001 # whatever it was, the journal tells whether anything was deleted
        return True
    return run.error_code == "unexpected"


def _to_the_first_chunk(run: Run) -> None:
    """As if D1 had been checked just now."""
    Run.objects.filter(pk=run.pk).update(cursor={"phase": "delete", "checked_at": clock.now().isoformat()})


def _refill(estate: make.Estate) -> None:
    for name in gate.NAMES:
        estate.put(estate.production, name)


def _mutations(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    with empty_estate.estate() as estate, gate.undone():
        world = gate.around(estate.qa, estate.production)
        _refill(estate)
        request = gate.asked(world)
        searched.search(estate.production.environment, hits=["src/a.ts:7 write certain SETTINGS master:*"])
        searched.answered(estate.production.environment, request.family, world.people.operator)
        gate.accepted(world, request)
        stage = gate.approved(world, request, "production")
        gate.fill(estate.s3, stage)
        empty_estate.fresh_budget()
        for number in (number for number in numbers if not number % 2):
            yield number, _trial(MutationGround(world, estate, stage), seed, number)
        _to_the_first_chunk(cleanup_requests.start_deletion(stage, by=world.people.operator))
        stage = gate.stage_of(request, "production")
        for number in (number for number in numbers if number % 2):
            yield number, _trial(MutationGround(world, estate, stage), seed, number)


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    mutated = [one for one in found if not one["untouched"]]
    untouched = [one for one in found if one["untouched"]]
    return [
        TortureFigure("changed requests", len(mutated)),
        TortureFigure("changed requests that were carried out", total(mutated, "deleted"), "==", 0),
        TortureFigure(
            "untouched requests that were carried out, of 1",
            total(untouched, "deleted") / max(1, len(untouched)),
            "==",
            1,
        ),
        TortureFigure(
            "changes that the database itself refused, though no trigger ran", total(mutated, "by_the_database")
        ),
        TortureFigure("ended with an unforeseen error", total(mutated, "by_an_error")),
    ]


ROWS = (TortureRow("mutations", "A4", n=10_000, slice=25, trials=_mutations, figures=_figures),)
