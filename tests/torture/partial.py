"""`partial` (A12): every answer that says little, nothing or the wrong thing, at each of the three tries of a chunk.

A trial is one clean-up of about a hundred keys and one case; the same case comes again with other keys. In some a
person ends the deletion early while KV answers with states up to 300 s old. The report of the product, key by key, must
equal what the journal shows: which deletes had an effect, and what is there at the end.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from backups.cleanup import requests as cleanup_requests
from backups.deletion import chunks, settle as deletion_settle
from backups.deletion.send import Sender
from kvops.models import Run
from tests.fakes.past import Lag
from tests.torture.cleanup_ground import UNSCALED, CleanupGround, State, ground, rng_of
from tests.torture.rows import Found, TortureFigure, TortureRow, total

TRIES = (1, 2, 3)
KEYS = 100
"""As many as a stage's first chunk has at most."""


@dataclass(frozen=True)
class PartialAnswer:
    """What goes wrong at which try; `of` is how many of the first hundred names it is about."""

    kind: str
    attempt: int
    of: int | None = None


_NO_ANSWER = ("timeout", "reset", "error", "html_524")
_LOST = tuple(f"effect_then_{kind}" for kind in ("timeout", "reset", "error", "html", "garbage", "nothing", "failure"))
_REFUSED = ("429", "challenge", "redirect", "too_large")
_WRONG = ("wrong_count", "count_too_high", "unknown_names", "named_twice")
CASES = (
    *(PartialAnswer("ended early", attempt) for attempt in TRIES),
    *(PartialAnswer(kind, attempt) for kind in (*_NO_ANSWER, *_LOST, *_REFUSED, *_WRONG) for attempt in TRIES),
    *(PartialAnswer("partial", attempt, of) for of in (0, 1, 50, 99, 100) for attempt in TRIES),
    *(
        PartialAnswer(kind, attempt, of)
        for kind in ("says_done", "says_undone")
        for of in (1, 50, 100)
        for attempt in TRIES
    ),
)


def _partial(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    with ground() as here:
        for number in numbers:
            yield number, _trial(here, CASES[number % len(CASES)], rng_of("partial", seed, number))


def _trial(here: CleanupGround, case: PartialAnswer, rng: random.Random) -> Found:
    here.begin()
    names = [f"mastercache:{number:04}" for number in range(KEYS + rng.choice((0, 0, rng.randrange(1, 60))))]
    namespace = here.estate.qa.namespace_id
    for name in names:
        here.cloudflare.put(namespace, name, f"{name} {rng.random()}".encode())
    stage = here.approved()
    if stage is None:
        raise AssertionError("Nobody wrote, and still the copy is not whole.")
    for name in rng.sample(names, rng.randrange(4)):
        here.cloudflare.put(namespace, name, b"changed")
    for name in rng.sample(names, rng.randrange(4)):
        here.cloudflare.remove(namespace, name)
    if case.kind == "ended early":
        _end_early(here, case, rng, names[:KEYS])
    else:
        _script(here, case, rng, names[:KEYS])
        # Long enough for a busy machine, and shorter than the silence of the script.
        with patch("kvops.timing.REQUEST_TIMEOUT", 1.0):
            here.deleted()
    here.work()
    found = Found(trials=1, **_compared(here))
    here.close()
    return found


def _script(here: CleanupGround, case: PartialAnswer, rng: random.Random, names: Sequence[str]) -> None:
    _leave_all(here, case, names)
    about = None if case.of is None else set(rng.sample(names, case.of))
    here.cloudflare.fault("bulk_delete", case.kind, seconds=1.5 if "timeout" in case.kind else 0, names=about)


def _leave_all(here: CleanupGround, case: PartialAnswer, names: Sequence[str]) -> None:
    """Let the tries before the case's leave every name, so that its own sends them all again."""
    for _ in range(case.attempt - 1):
        here.cloudflare.fault("bulk_delete", "partial", names=set(names))


def _end_early(here: CleanupGround, case: PartialAnswer, rng: random.Random, names: Sequence[str]) -> None:
    """Stop the deletion at a delete, before its answer is stored or once its names were looked at, and end it there."""
    here.clock.move(UNSCALED["STALE"])
    here.cloudflare.lag = Lag(rng.random(), UNSCALED["STALE"])
    _leave_all(here, case, names)
    here.cloudflare.fault("bulk_delete", "effect_then_reset")
    with _stopped(here, case, looked=rng.random() < 0.5):
        cleanup_requests.start_deletion(here.stage, by=here.people.operator)
        here.work(late=False)
    chunks.end_early(here.stage, by=here.people.operator)


@contextmanager
def _stopped(here: CleanupGround, case: PartialAnswer, *, looked: bool) -> Iterator[None]:
    """A person asks the deletion to stop once it has sent as many deletes as the case has tries."""
    where, name = (deletion_settle, "settle_chunk") if looked else (Sender, "_sent")
    real = getattr(where, name)

    def ask_first(*args: object, **more: object) -> None:
        if len(here.cloudflare.calls("bulk_delete")) >= case.attempt:
            Run.objects.open().filter(kind=Run.Kind.DELETE).update(stop_requested_by="torture")
        real(*args, **more)

    with patch.object(where, name, ask_first):
        yield


def _compared(here: CleanupGround) -> Found:
    """The report against the journal: names that differ, counts that differ, and whether it came to its end."""
    stage = here.stage
    effects = Counter(
        name
        for call in here.cloudflare.calls("bulk_delete")
        for name, value in call.deleted.items()
        if value is not None
    )
    reported = dict(stage.exceptions.values_list("name", "outcome"))
    wrong = sum(
        not _holds(reported.get(name, "deleted"), effects[name], is_there=here.kv.get(name) is not None)
        for name in stage.entries.values_list("name", flat=True)
    )
    counts = (stage.deleted, stage.skipped) != (len(effects), len(reported))
    return {
        "names": stage.names,
        "wrong": wrong,
        "counts": counts,
        "stuck": stage.state != State.CONFIRMED,
        "again": stage.reappearances.count(),
    }


def _holds(outcome: str, effects: int, *, is_there: bool) -> bool:
    """Whether what is reported of a name is what happened to it."""
    match outcome:
        case "deleted":
            return effects == 1 and not is_there
        case "failed" | "changed":
            return effects == 0 and is_there
        case "stopped":  # not sent, perhaps removed by somebody else; or sent, and there all the same
            return effects == 0
        case "vanished":
            return effects == 0 and not is_there
    return False


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    return [
        TortureFigure("cases, each at each of three tries", len(CASES)),
        TortureFigure("names reported", total(found, "names")),
        TortureFigure("names reported otherwise than the journal shows", total(found, "wrong"), "==", 0),
        TortureFigure("stages whose counts differ from the journal", total(found, "counts"), "==", 0),
        TortureFigure("deletions that did not come to their end", total(found, "stuck"), "==", 0),
        TortureFigure("names wrongly reported as there again", total(found, "again"), "==", 0),
    ]


PARTIAL = TortureRow("partial", "A12", 5 * len(CASES), 2, _partial, _figures)
