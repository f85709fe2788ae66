"""Backups, checks and clean-ups in every state."""

from datetime import timedelta

from django.db.models import Model
from django.db.models.functions import Now

from backups.models import (
    BackupShare,
    BucketProtection,
    Check,
    CleanupChunk,
    CleanupEntry,
    CleanupException,
    CleanupRequest,
    CleanupStage,
    Dataset,
    Generation,
    GenerationEntry,
    GenerationPart,
    Pin,
    PruneEntry,
    PruneRequest,
    Reappearance,
    StoredObject,
    UnfinishedUpload,
)
from kvops.models import ApprovalRequest
from tests.constraints.estate import HOUR, SHA, Prerequisites, change

STAGE_PATH = CleanupStage.State.values[1:-1]
"""From frozen to accepted."""
GENERATION_PATHS = {
    "complete": ["complete"],
    "partial": ["partial"],
    "verified": ["complete", "verified"],
    "damaged": ["complete", "damaged"],
}
PRUNE_PATHS = {
    "collected": (),
    "submitted": ("submitted",),
    "approved": ("submitted", "approved"),
    "deleting": ("submitted", "approved", "deleting"),
    "done": ("submitted", "approved", "deleting", "done"),
    "ended": ("ended",),
}
CHUNK_PATHS = {"intended": ["intended"], "sent": ["intended", "sent"], "settled": ["settled"]}


OLD = Now() - timedelta(days=40)


class BackupsWorld(Prerequisites):
    """The environments and what is backed up and cleaned up in them."""

    def dataset(self, **values: object) -> Dataset:
        """A dataset."""
        name = f"d{self.count()}"
        return Dataset.objects.create(name=name, binding="SETTINGS", prefix=f"{name}:", fields={}, **values)

    def generation(self, status: str = "verified", /, **values: object) -> Generation:
        """A backup with this status."""
        made: dict[str, object] = {
            "environment": self.environment,
            "namespace": self.namespace,
            "prefixes": ["a:"],
            "category": "legacy",
            "run": self.run(),
            "bucket": "b",
            "stem": f"s{self.count()}",
            "retain_until": Now() + timedelta(days=15),
        }
        steps = [self.to(Generation, step) for step in GENERATION_PATHS.get(status, [])]
        early = {name: value for name, value in values.items() if not any(name in step for step in steps)}
        generation = Generation.objects.create(**{**made, **early})
        for step in steps:
            change(generation, **{name: values.get(name, value) for name, value in step.items()})
        generation.refresh_from_db()
        return generation

    def expired(self, status: str = "verified", /, **values: object) -> Generation:
        """A backup that may be deleted by its age, and a newer verified one."""
        old = {"started_at": OLD, "finished_at": OLD, "retain_until": OLD + timedelta(days=14)}
        found = self.generation("writing") if status == "writing" else self.generation(status, **{**old, **values})
        self.generation()
        return found

    def prune(self, state: str = "collected", /, *, of: Generation | None = None, **values: object) -> PruneRequest:
        """A prune request in this state, of one backup."""
        made = {"environment": self.environment, "reason": "no longer needed", "generations": 1, "objects_total": 2}
        found = PruneRequest.objects.create(**{**made, "objects_sha256": SHA, "requested_by": self.operator, **values})
        PruneEntry.objects.create(
            prune=found, index=0, generation=of or self.generation(), due_at=Now(), newer=[], objects_total=2
        )
        for step in PRUNE_PATHS[state]:
            self.advance_prune(found, step)
        return found

    def prune_of_another(self) -> PruneRequest:
        """A prune request of production that is under way."""
        mine, self.environment = self.environment, self.production
        try:
            return self.prune("deleting")
        finally:
            self.environment = mine

    def advance_prune(self, found: PruneRequest, state: str, **values: object) -> None:
        """The prune request goes on to this state, with all it needs for that."""
        needed: dict[str, object] = {}
        if state == "submitted":
            needed = {"approval": self.approval(kind="delete_generations", subject=f"prune:{found.pk}")}
        elif state == "approved" and found.approval:
            change(found.approval, **self.to(ApprovalRequest, "approved"))
        elif state == "deleting" and found.approval:
            change(found.approval, **self.to(ApprovalRequest, "used"))
            needed = {"run": self.run("running", **{**self.used(found.approval), "kind": "prune"})}
        elif state in {"done", "ended"}:
            needed = {"finished_at": Now()}
        change(found, state=state, **{**needed, **values})
        found.refresh_from_db()

    def going(self, status: str = "deleting") -> Generation:
        """A backup that is being deleted, or is gone."""
        found = self.expired()
        self.prune("deleting", of=found)
        for step in ["deleting", "deleted"][: ["deleting", "deleted"].index(status) + 1]:
            change(found, **self.to(Generation, step))
        found.refresh_from_db()
        return found

    def pin(self, **values: object) -> Pin:
        """A pin that is in force."""
        return Pin.objects.create(
            **{"generation": self.generation(), "person": self.operator, "reason": "no longer needed", **values}
        )

    def stored(self, status: str = "known", /, **values: object) -> StoredObject:
        """An object in the bucket."""
        made = {
            "environment": self.environment,
            "key": f"k{self.count()}",
            "size": 1,
            "seen_at": Now(),
            "generation": self.generation(),
            "status": status,
        }
        return StoredObject.objects.create(**{**made, **values})

    def upload(self) -> UnfinishedUpload:
        """An upload nobody finished."""
        return UnfinishedUpload.objects.create(environment=self.environment, key="k", upload_id="u", begun_at=Now())

    def protection(self) -> BucketProtection:
        """What is known of the bucket's lock."""
        return BucketProtection.objects.create(environment=self.environment, of="b", lock="held", read_at=Now())

    def part(self, status: str = "writing") -> GenerationPart:
        """A data object of a backup with this status."""
        part = GenerationPart.objects.create(
            generation=self.generation("writing"), number=1, size=1, keys=1, first_index=0, last_index=0
        )
        self.finish(part.generation, status)
        return part

    def backed_up_name(self, status: str = "writing") -> GenerationEntry:
        """A name of a backup with this status."""
        entry = GenerationEntry.objects.create(generation=self.generation("writing"), index=0, name="a:1")
        self.finish(entry.generation, status)
        return entry

    def finish(self, generation: Generation, status: str) -> None:
        """The backup goes on from being written to this status."""
        for step in GENERATION_PATHS.get(status, []):
            change(generation, **self.to(Generation, step))

    def share(self, **values: object) -> BackupShare:
        """What a person says of where a backup was shared."""
        generation = values.pop("generation", None) or self.generation()
        return BackupShare.objects.create(**{"generation": generation, "place": "#team", "by": self.operator, **values})

    def check(self, outcome: str = "passed", /, **values: object) -> Check:
        """A check with this outcome."""
        made = {"environment": self.environment, "dataset": self.dataset(), "definition": {}, "run": self.run()}
        over = {} if outcome == "pending" else self.to(Check, outcome)
        early = {name: value for name, value in values.items() if name not in over}
        check = Check.objects.create(**{**made, **early})
        if over:
            change(check, **{name: values.get(name, value) for name, value in over.items()})
        check.refresh_from_db()
        return check

    def request(self, category: str = "legacy") -> CleanupRequest:
        """A clean-up of a family of its own."""
        family = self.family(category)
        exact = category == "settings"
        return CleanupRequest.objects.create(
            binding="SETTINGS",
            prefix=family.pattern,
            exact=exact,
            family=family,
            category=category,
            requested_by=self.operator,
        )

    def stage(self, state: str = "waiting", *, category: str = "legacy", **values: object) -> CleanupStage:
        """A stage in this state, with everything that led there; `values` are those of its freezing."""
        stage = CleanupStage.objects.create(
            request=self.request(category), environment=self.environment, namespace=self.namespace, order=1
        )
        if state == "ended":
            self.move(stage, "ended")
        for step in STAGE_PATH[: STAGE_PATH.index(state) + 1] if state in STAGE_PATH else []:
            if step != "checked" or category == "legacy":
                self.move(stage, step, **(values if step == "frozen" else {}))
        return stage

    def move(self, stage: CleanupStage, state: str, **values: object) -> None:
        """The stage goes on to this state, with all it needs for that."""
        if state == "approved" and stage.approval:
            change(stage.approval, **self.to(ApprovalRequest, "approved"))
        if state == "submitted" and stage.generation and not hasattr(stage.generation, "share"):
            self.share(generation=stage.generation)
        if state == "deleting" and stage.approval:
            change(stage.approval, **self.to(ApprovalRequest, "used"))
        change(stage, state=state, **{**self._needed(stage, state), **values})
        stage.refresh_from_db()

    def _needed(self, stage: CleanupStage, state: str) -> dict[str, object]:
        needed: dict[str, object] = {}
        match state:
            case "frozen" if stage.state == "waiting":
                needed = {"scan": self.scan(), "frozen_at": Now(), "names": 1, "names_sha256": SHA}
            case "frozen":
                needed = {"approval": None}
            case "backed_up":
                needed = {"generation": self.generation()}
            case "checked":
                needed = {"check_passed": self.check(generation=stage.generation)}
            case "submitted":
                needed = {"approval": self.approval(subject=f"stage:{stage.pk}"), "scope_digest": SHA}
                needed["search"] = self.search()
            case "deleting" if stage.approval:
                needed = {"run": self.run(**self.used(stage.approval))}
            case "deleted":
                needed = {"first_listing_at": Now()}
            case "confirmed":
                needed = {"first_listing_at": Now() - HOUR, "second_listing_at": Now()}
            case "accepted":
                needed = {"accepted_note": "works", "accepted_by": self.operator, "accepted_at": Now()}
        return needed

    def entry(self, state: str = "frozen") -> CleanupEntry:
        """A frozen name of a stage in this state."""
        stage = self.stage("waiting")
        entry = CleanupEntry.objects.create(stage=stage, index=0, name="a:1")
        for step in STAGE_PATH[: STAGE_PATH.index(state) + 1]:
            self.move(stage, step)
        return entry

    def chunk(self, state: str = "planned", /, **values: object) -> CleanupChunk:
        """A chunk in this state."""
        made = {"stage": self.stage("deleting"), "number": 1, "first_index": 0, "last_index": 9}
        chunk = CleanupChunk.objects.create(**{**made, **values})
        for step in CHUNK_PATHS.get(state, []):
            change(chunk, **self.to(CleanupChunk, step))
        chunk.refresh_from_db()
        return chunk

    def exception(self, outcome: str = "changed") -> CleanupException:
        """A name that was not simply deleted."""
        return CleanupException.objects.create(stage=self.stage("deleting"), index=0, name="a:1", outcome=outcome)

    def reappearance(self) -> Reappearance:
        """A deleted name that reappeared."""
        entry = self.entry("deleting")
        return Reappearance.objects.create(stage=entry.stage, index=entry.index, name=entry.name, same=True)

    def acknowledged(self) -> Reappearance:
        """The same, looked at by a person."""
        found = self.reappearance()
        change(found, note="an old job", acknowledged_by=self.operator, acknowledged_at=Now())
        found.refresh_from_db()
        return found

    def to(self, model: type[Model], state: str) -> dict[str, object]:
        """What an UPDATE sets to move a row of the model to this state, with all the move needs."""
        if model is Check:
            return {"outcome": state, "finished_at": Now()}
        if model is Generation:
            finished: dict[str, object] = {"finished_at": Now(), "manifest_sha256": SHA, "digest_root": SHA}
            needed: dict[str, dict[str, object]] = {
                "complete": finished,
                "partial": finished,
                "verified": {"verified_at": Now(), "verify_run": self.run("running", kind="verify")},
                "deleted": {"deleted_at": Now()},
            }
            return {"status": state, **needed.get(state, {})}
        if model is not CleanupChunk:
            return super().to(model, state)
        names: dict[str, dict[str, object]] = {
            "intended": {"names": 1, "names_sha256": SHA},
            "settled": {"names_sha256": SHA},
        }
        return {"state": state, **names.get(state, {})}
