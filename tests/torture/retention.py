"""`retention` and `simulator` (A17, B20-B22): copies go when they may, and only then; what was simulated is what goes.

`retention`: copies of every age and kind, a prune under way, and between any two deletes of an object anything that
may happen: pins, restores, clean-ups of the newer copy's proof, rules, stops, failures. Every third trial instead
begins a restore in a thread of its own at the moment the prune comes to the copy. The bucket's journal is the judge,
by rules told once more here; a restore that began has its copy whole.

`simulator`: what another rule would do by `/retention/`, and when, is what prunes delete once the rule is in
force: at once, around the date of a copy, and at any time later. The database's clock is moved, people pin some copies.
"""

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from unittest.mock import patch

from django.db import IntegrityError, connection

from backups.bucket.deletion import erase_permanently
from backups.bucket.r2 import R2Store
from backups.models import Generation, Pin, PruneRequest, Restore
from backups.retention import erasure, inputs as retention_inputs, pins, requests as prune_requests
from backups.retention.inputs import Retention
from kvops import clock
from kvops.models import Family, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.retention import requesting
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.fakes.s3 import FakeS3
from tests.gate import world as gate
from tests.torture import empty_estate, movable_clock
from tests.torture.rows import Found, TortureFigure, TortureRow, total

PREFIXES = (("master:",), ("master:a:",), ("",), ("mastercache:",), ("master:", "mastercache:"))
KINDS = ("verified",) * 6 + ("damaged", "partial", "complete")
EDGE = 1 / 24
HOUR, FORTNIGHT = timedelta(hours=1), timedelta(days=14)


def _backups(estate: make.Estate, chance: random.Random) -> list[Generation]:
    """Up to ten copies, oldest first, many of them within an hour, or a day, of a date that matters."""
    near = [edge + late for edge in (14.0, 30.0) for late in (-1, -EDGE, EDGE, 1)]
    ages = sorted((chance.choice([*near, chance.uniform(0, 120)]) for _ in range(chance.randint(2, 10))), reverse=True)
    return [
        backup_of_age(estate.qa, age, prefixes=chance.choice(PREFIXES), status=chance.choice(KINDS), s3=estate.s3)
        for age in ages
    ]


@dataclass
class RetentionJudge:
    """What may go, told once more: by age, by what is pinned or needed now, and as never the newest."""

    estate: make.Estate
    seen: int = 0
    begun: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def allowed(self, generation: Generation, now: datetime) -> bool:
        """Whether a copy may begin to go at this moment."""
        if generation.finished_at is None or now < max(generation.retain_until, generation.finished_at + FORTNIGHT):
            return False
        if generation.pins.filter(removed_at=None).exists():
            return False
        if generation.restores.exclude(state__in=["done", "ended"]).exists():
            return False
        if Run.objects.open().filter(subject=f"generation:{generation.pk}").exists():
            return False
        newer = Generation.objects.filter(namespace=generation.namespace, status="verified", pk__gt=generation.pk)
        held = [prefix for one in newer for prefix in one.prefixes]
        return all(any(prefix.startswith(start) for start in held) for prefix in generation.prefixes)

    def before(self) -> set[int]:
        """The copies that may begin to go now."""
        now = clock.now()
        there = Generation.objects.exclude(status__in=["writing", "deleted"])
        return {one.pk for one in there if one.status == "deleting" or self.allowed(one, now)}

    def after(self, allowed: set[int]) -> None:
        """Compare what the bucket was asked with that."""
        stems = {one.stem: one.pk for one in Generation.objects.all()}
        for call in self.estate.s3.calls("DELETE")[self.seen :]:
            self.seen += 1
            pk = stems[call.key.split(".")[0]]
            if pk not in self.begun and pk not in allowed:
                self.wrong.append(f"{call.key} was deleted and might not be.")
            self.begun.add(pk)


class Meanwhile:
    """What happens between two deletes of an object."""

    def __init__(self, estate: make.Estate, people: make.People, chance: random.Random, judge: RetentionJudge) -> None:
        self.estate, self.people, self.chance, self.judge = estate, people, chance, judge
        self.done = 0
        self.allowed: set[int] = set()

    def remove(self, store: R2Store, key: str) -> None:
        """In the place of the product's own call: the object goes, then something happens or nothing."""
        erase_permanently(store, key)
        self.judge.after(self.allowed)
        if self.chance.random() < 0.5:
            self.act()
        self.allowed = self.judge.before()

    def act(self) -> None:
        """Something that may happen at any time; what is refused is refused."""
        one = self.chance.choice(list(Generation.objects.select_related("environment", "namespace")))
        acts = [
            self.pin, self.unpin, self.restore, self.over, self.read, self.closed, self.damage, self.rule, self.fail
        ]  # fmt: skip
        try:
            self.chance.choice(acts)(one)
            self.done += 1
        except (pins.PinRefused, IntegrityError):
            return

    def pin(self, one: Generation) -> None:
        """Somebody pins a copy."""
        pins.pin(one, reason="no longer needed", by=self.people.auditor)

    def unpin(self, one: Generation) -> None:
        """Somebody takes a pin off."""
        for pin in Pin.objects.in_force().filter(generation=one):
            pins.remove(pin, reason="no longer needed", by=self.people.operator)

    def restore(self, one: Generation) -> None:
        """A restore begins."""
        Restore.objects.create(
            generation=one, environment=one.environment, namespace=one.namespace, names_sha256="0" * 64
        )

    def over(self, one: Generation) -> None:
        """A restore is given up."""
        Restore.objects.filter(generation=one, state="preparing").update(state="ended", finished_at=clock.now())

    def read(self, one: Generation) -> None:
        """A run begins to read a copy."""
        # In the foreground: no worker of the trial takes it.
        held = {"owner": "x", "lease_until": clock.now() + timedelta(hours=1), "foreground": True}
        Run.objects.create(kind="verify", subject=f"generation:{one.pk}", label="x", state="running", **held)

    def closed(self, one: Generation) -> None:
        """Whatever reads a copy is done."""
        over = {"state": "succeeded", "owner": "", "lease_until": None, "finished_at": clock.now()}
        Run.objects.open().filter(subject=f"generation:{one.pk}").update(**over)

    def damage(self, one: Generation) -> None:
        """A copy is found damaged."""
        Generation.objects.filter(pk=one.pk, status__in=["complete", "verified"]).update(status="damaged")

    def rule(self, _one: Generation) -> None:
        """The policy changes."""
        make.change_families("master:", retain_days=self.chance.choice([14, 30, 90]))

    def fail(self, _one: Generation) -> None:
        """The bucket refuses."""
        self.estate.s3.fault(self.chance.choice(["403", "503", "lost_answer"]), "DELETE")


def _drive(prune: PruneRequest, meanwhile: Meanwhile) -> None:
    """The run to its end, resumed whenever it failed."""
    with patch.object(erasure, "erase_permanently", meanwhile.remove):
        for _ in range(30):
            meanwhile.allowed = meanwhile.judge.before()
            make.work()
            run = Run.objects.get(prune=prune)
            if not run.is_open and run.state == Run.State.SUCCEEDED:
                return
            meanwhile.estate.s3.heal()
            run_driver.resume(run, actor=make.SETUP)


def _whole(s3: FakeS3) -> int:
    """Restores whose copy has lost something."""
    open_ = Restore.objects.exclude(state__in=["done", "ended"]).select_related("generation")
    return sum(
        one.generation.status in Generation.GOING or not set(one.generation.every_object()) <= s3.objects.keys()
        for one in open_
    )


def _interleaved(estate: make.Estate, people: make.People, chance: random.Random) -> Found:
    _backups(estate, chance)
    judge = RetentionJudge(estate)
    try:
        prune = requesting.started(estate, people)
    except prune_requests.PruneRefused:
        return {"nothing_due": 1}
    meanwhile = Meanwhile(estate, people, chance, judge)
    _drive(prune, meanwhile)
    judge.after(judge.before())
    for sentence in judge.wrong:
        print(sentence)
    return {
        "deleted_early": len(judge.wrong),
        "backups_deleted": Generation.objects.filter(status="deleted").count(),
        "broken_restores": _whole(estate.s3),
        "acts": meanwhile.done,
        "unfinished": float(PruneRequest.objects.get().state != "done"),
    }


def _raced(estate: make.Estate, people: make.People, chance: random.Random) -> Found:
    """A restore of the one copy that is due begins in another thread, a moment sooner or later than its deletion."""
    old = backup_of_age(estate.qa, 40, s3=estate.s3)
    backup_of_age(estate.qa, 1, s3=estate.s3)
    requesting.started(estate, people)
    later = chance.uniform(0, 0.15)

    def begin() -> bool:
        time.sleep(later)
        try:
            Restore.objects.create(
                generation=old, environment=estate.qa.environment, namespace=estate.qa, names_sha256="0" * 64
            )
        except IntegrityError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(begin)
        make.work()
        began = other.result()
    status = Generation.objects.get(pk=old.pk).status
    return {
        "races": 1,
        "restores_won": float(began),
        "broken_restores": float(began and status != "verified") + _whole(estate.s3) * began,
        "nobody_won": float(not began and status != "deleted"),
    }


def _retention(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    for number in numbers:
        chance = random.Random(f"retention {seed} {number}")
        with empty_estate.estate() as estate:
            people = make.everybody()
            yield number, (_raced if number % 3 == 2 else _interleaved)(estate, people, chance)


def _judged(found: Sequence[Found]) -> list[TortureFigure]:
    return [
        TortureFigure("copies deleted", total(found, "backups_deleted"), ">=", 1),
        TortureFigure("things that happened between two deletes", total(found, "acts"), ">=", 1),
        TortureFigure("objects deleted that might not be", total(found, "deleted_early"), "==", 0),
        TortureFigure("races of a restore with a deletion", total(found, "races")),
        TortureFigure("races that the restore won", total(found, "restores_won")),
        TortureFigure("restores whose copy lost an object", total(found, "broken_restores"), "==", 0),
        TortureFigure("races that nobody won", total(found, "nobody_won"), "==", 0),
        TortureFigure("prunes that did not come to an end", total(found, "unfinished"), "==", 0),
    ]


def _simulated(estate: make.Estate, people: make.People, chance: random.Random) -> Found:
    for one in _backups(estate, chance):
        if one.status != "writing" and chance.random() < 0.2:
            pins.pin(one, reason="no longer needed", by=people.auditor)
    family, days = Family.objects.get(pattern="master:"), chance.randint(14, 60)
    verdicts = {one.then.generation.pk: one.then.verdict for one in retention_inputs.tried(Retention(), family, days)}
    dates = {pk: one.due_at for pk, one in verdicts.items() if one.state.goes and one.due_at}
    begun, others = clock.now(), set[int]()
    make.change_families("master:", retain_days=days)
    moments = _moments([(date - begun) / HOUR for date in dates.values()], chance)
    found = {"sets": 1.0, "waited": 0.0, "gone": 0.0, "wrong": 0.0}
    for hours in moments:
        movable_clock.move_to(hours * 3600.0)
        estate.s3.dates = partial(_so_much_later, hours)
        others |= {kept.generation.pk for kept in prune_requests.due(estate.qa.environment)} - verdicts.keys()
        _pruned(estate, people)
        gone = set(Generation.objects.filter(status="deleted").values_list("pk", flat=True))
        shown = {pk for pk, date in dates.items() if date <= begun + hours * HOUR}
        wrong = (gone & verdicts.keys()) ^ shown | (gone - verdicts.keys()) ^ others
        if wrong:
            print(f"{hours} hours later: simulated {sorted(shown)}, others {sorted(others)}, went {sorted(gone)}")
        waited = sum(dates[pk] > begun for pk in gone & dates.keys())
        found |= {"gone": float(len(gone)), "waited": float(waited), "wrong": found["wrong"] + len(wrong)}
    return found


def _moments(dates: Sequence[float], chance: random.Random) -> list[float]:
    """Now, a little before or after the date of a copy, and any time within a quarter of a year: in hours from now."""
    near = [date + late for date in dates for late in (-0.1, 0.1) if date + late > 0]
    return sorted([0.0, chance.choice([*near, 1.0]), chance.uniform(0, 90 * 24)])


def _so_much_later(hours: float) -> float:
    return time.time() + hours * 3600


def _pruned(estate: make.Estate, people: make.People) -> None:
    """What is due goes, if anything is."""
    try:
        requesting.started(estate, people)
    except prune_requests.PruneRefused:
        return
    make.work()


def _simulator(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    for number in numbers:
        chance = random.Random(f"simulator {seed} {number}")
        with empty_estate.estate() as estate, gate.undone(), movable_clock.clock():
            yield number, _simulated(estate, make.everybody(), chance)


def _agreed(found: Sequence[Found]) -> list[TortureFigure]:
    return [
        TortureFigure("sets of copies and rules", total(found, "sets")),
        TortureFigure("copies that went", total(found, "gone"), ">=", 1),
        TortureFigure("copies that went when their date had come", total(found, "waited"), ">=", 1),
        TortureFigure("copies that went otherwise, or at another time, than simulated", total(found, "wrong"), "==", 0),
    ]


ROWS = (
    TortureRow("retention", "A17", n=1500, slice=9, trials=_retention, figures=_judged),
    TortureRow("simulator", "A17", n=1000, slice=4, trials=_simulator, figures=_agreed),
)
