"""Differences of every kind, planted by a seed among rows of every shape: all are found and none is invented."""

import time
from collections.abc import Iterator, Sequence
from random import Random

from audit import log
from backups.integrity import start as check_start
from backups.models import Dataset
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.generations.helpers import backup_of, d1, entry
from tests.torture import empty_estate, planted
from tests.torture.planted import SHAPES, Sides
from tests.torture.rows import Found, TortureFigure, TortureRow, total

SIZES = (5_000, 100_000)
"""Rows of the first trial, which the tests run, and of the second."""
PER_KIND = (5, 60)


def trials(seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    """Each trial in an empty installation."""
    for number in numbers:
        with empty_estate.estate() as estate:
            yield number, _trial(estate, Random(f"{seed}:{number}"), SIZES[number], PER_KIND[number])


def _trial(estate: make.Estate, rng: Random, rows: int, per_kind: int) -> Found:
    found: Found = {"rows": rows}
    for shape in SHAPES:
        made = planted.sides(rng, shape, -(-rows // len(SHAPES)), per_kind)
        for name, value in _compare(estate, made).items():
            found[name] = found.get(name, 0.0) + value
    return found


def _compare(estate: make.Estate, made: Sides) -> Found:
    Dataset.objects.create(**planted.definition(made.shape))
    make.keep_policy()
    _fill(estate, made)
    held = [entry(name, data) for name, data in planted.values(made)]
    generation = backup_of(estate, *held, prefixes=[f"{made.shape}:"])
    begun = time.perf_counter()
    with log.transaction():
        check = check_start.create_check(generation, actor=log.Actor.system("torture"), foreground=True)
    for _ in run_driver.drive_to_the_end(check.run):
        pass
    check.refresh_from_db()
    found = set(check.found.values_list("name", "row", "kind", "field"))
    return {
        "planted": len(made.expected),
        "missed": len(made.expected - found),
        "invented": len(found - made.expected) + abs(check.differences - len(found)),
        "rules without effect": sum(not number for number in check.rules.values()) + (len(check.rules) < _RULES),
        "seconds": time.perf_counter() - begun,
    }


_RULES = len({rule for rules in planted.RULES.values() for rule in rules})


def _fill(estate: make.Estate, made: Sides) -> None:
    rows = list(planted.columns(made))
    names = list(rows[0])
    database, table = d1(estate), f"planted_{made.shape}"
    database.execute("PRAGMA query_only = 0")  # the read token's
    database.execute(f"CREATE TABLE {table} ({', '.join(names)})")
    marks = ", ".join("?" * len(names))
    database.executemany(f"INSERT INTO {table} VALUES ({marks})", [[row[name] for name in names] for row in rows])
    database.execute(f"CREATE INDEX {table}_key ON {table} (area, id)")
    database.commit()


def figures(found: Sequence[Found]) -> list[TortureFigure]:
    """Nothing is missed and nothing is invented."""
    return [
        TortureFigure("rows compared", total(found, "rows")),
        TortureFigure("differences planted", total(found, "planted")),
        TortureFigure("differences missed", total(found, "missed"), "==", 0),
        TortureFigure("differences invented", total(found, "invented"), "==", 0),
        TortureFigure("type rules that made nothing equal", total(found, "rules without effect"), "==", 0),
        TortureFigure("seconds of the checks", total(found, "seconds")),
    ]


ROWS = (TortureRow("differences", "4a", n=len(SIZES), slice=1, trials=trials, figures=figures),)
