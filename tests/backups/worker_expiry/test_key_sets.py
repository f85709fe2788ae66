"""The generated Worker gives an expiration to exactly the keys of the dry run: rounds on 1,000 key sets, in Node."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from backups.models import WorkerRule
from backups.worker_expiry import rules, script
from kvops.inventory.families import Families
from kvops.models import Category, Family, Key, Namespace
from kvops.names import workable
from sandbox import node
from tests import make
from tests.backups.worker_expiry.helpers import KEY, TWO_DAYS

pytestmark = pytest.mark.django_db

PLAY = Path(__file__).with_name("whole_rounds.mjs")
POLICIES, SETS = 20, 50
PARTS = ("c:", "c:a", "c:a:", "c:ab", "c:é", "c:\uffff", "c:😀", "c", "d:")
TAILS = ("", "1", "a", ":", "\u0000", "~", "\uffff", "😀", "é", "2026", "\u202e")
METADATA = (
    None,
    '{"a": 1}',
    '"text"',
    "[1, 2.5e-7, 0.1]",
    '{"n": 12345678901234567890}',
    '{"n": 9007199254740991}',
    '{"n": -9007199254740992}',
    '{"deep": [{"n": 0.12345678901234567}]}',
    '{"n": 1e400}',
    '{"n": 1e3, "m": true, "o": null}',
    '{"__proto__": 5}',
    '{"n": -0}',
    '{"n": [-0.0, 1]}',
    '{"n": -1e-400}',
    '{"n": 1e-400, "m": 1.0, "m": 0}',
)
NEVER = "2999-01-01T00:00:00Z"
PAST = "2020-01-01T00:00:00Z"


def families(random: Random, number: int) -> list[Family]:
    """A policy of a binding of its own: a cache with a ttl, and others that lie in it, around it, or beside it."""
    found = {("c:", False, Category.CACHE)}
    for pattern in random.sample(PARTS[1:], random.randint(0, 4)):
        found.add((pattern, random.random() < 0.3, random.choice([Category.CACHE, Category.SETTINGS, Category.LEGACY])))
    if random.random() < 0.3:
        found.add(("c:", True, Category.SETTINGS))
    made = [
        Family(binding=f"CACHE_{number}", pattern=pattern, exact=exact, category=category, owner="x", expiry="ttl:60")
        for pattern, exact, category in sorted(found)
    ]
    return Family.objects.bulk_create(made)


def keys(random: Random, most: int) -> Iterator[Key]:
    """Keys in and around the patterns: each with or without an expiration, and with some metadata."""
    names = {random.choice(PARTS) + "".join(random.choices(TAILS, k=random.randint(0, 3))) for _ in range(most)}
    if most > 100:
        names |= {f"c:{number:04}" for number in range(most)}
    for name in sorted(names):
        expiration = 4_102_444_800 if random.random() < 0.3 else None
        yield Key(name=name, expiration=expiration, metadata=random.choice(METADATA))


def store(namespace: Namespace, owners: Families, found: Sequence[Key]) -> None:
    """The inventory of the namespace has these keys; it takes no name that cannot be worked with."""
    Key.objects.filter(namespace=namespace).delete()
    for key in found:
        key.namespace, key.first_seen_id, key.family = namespace, 1, owners.family(key.name)
    Key.objects.bulk_create(key for key in found if workable(key.name))


def play(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """What the Workers did, set by set."""
    done = subprocess.run(
        [node.find().node, PLAY], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def one_set(rule: WorkerRule, found: Sequence[Key], end: str = NEVER) -> dict[str, object]:
    """A key set for the Worker of a rule."""
    listed = [{"name": key.name, "expiration": key.expiration, "metadata": key.metadata} for key in found]
    return {"script": str(rule.pk), "approval": 7, "end": end, "keys": listed}


def test_the_worker_takes_exactly_the_dry_run_on_a_thousand_key_sets(estate: make.Estate) -> None:
    random, sets, scripts = Random(20), list[dict[str, object]](), dict[str, str]()
    expected: list[tuple[list[str], int]] = []
    for policy in range(POLICIES):
        made = families(random, policy)
        mine = random.choice([one for one in made if one.category == Category.CACHE])
        namespace = Namespace.objects.create(
            environment=estate.qa.environment, binding=mine.binding, namespace_id=f"{policy:032}", title=f"c{policy}"
        )
        rule = WorkerRule(
            pk=policy + 1, namespace=namespace, family=mine, ttl=TWO_DAYS, cap=random.choice([5, 500, 9_999])
        )
        scripts[str(rule.pk)] = script.worker_script(rule)
        owners = Families(made)
        for number in range(SETS):
            found = list(keys(random, 1_500 if number == 0 else random.randint(0, 60)))
            store(namespace, owners, found)
            sets.append(one_set(rule, found))
            expected.append((list(rules.dry_run(rule, limit=10_000).names), rule.ttl))
    done = play({"key": KEY, "scripts": scripts, "sets": sets})
    assert len(done) == POLICIES * SETS
    assert [([put["name"] for put in one["puts"]], TWO_DAYS) for one in done] == expected
    assert all(one["reported"] == [put["name"] for put in one["puts"]] for one in done)
    assert {put["ttl"] for one in done for put in one["puts"]} == {TWO_DAYS}
    assert [one for one in done if one["deleted"] or one["left"]] == []
    assert sum(len(names) for names, _ttl in expected) > 5_000


def test_the_bytes_and_the_metadata_are_the_same(estate: make.Estate) -> None:
    mine = Family.objects.get(pattern="mastercache:")
    rule = WorkerRule(pk=1, namespace=estate.qa, family=mine, ttl=TWO_DAYS, cap=9)
    found = [Key(name=f"mastercache:{n}", metadata=text) for n, text in enumerate([None, '{"a": [1, "x"]}', '"text"'])]
    [done] = play({"key": KEY, "scripts": {"1": script.worker_script(rule)}, "sets": [one_set(rule, found)]})
    assert [(put["value"], put["metadata"]) for put in done["puts"]] == [
        ("value of mastercache:0", None),
        ("value of mastercache:1", {"a": [1, "x"]}),
        ("value of mastercache:2", "text"),
    ]


def test_after_its_end_the_worker_neither_asks_nor_writes_even_with_a_yes(estate: make.Estate) -> None:
    mine = Family.objects.get(pattern="mastercache:")
    rule = WorkerRule(pk=1, namespace=estate.qa, family=mine, ttl=TWO_DAYS, cap=9)
    found = [Key(name="mastercache:1")]
    ends = [PAST, "no date", ""]
    sets = [one_set(rule, found, end) for end in ends]
    done = play({"key": KEY, "scripts": {"1": script.worker_script(rule)}, "sets": sets})
    assert [(one["puts"], one["calls"]) for one in done] == [([], [])] * len(ends)


def played(estate: make.Estate, number: int, **more: object) -> dict[str, Any]:
    """One round of a rule over so many keys."""
    mine = Family.objects.get(pattern="mastercache:")
    rule = WorkerRule(pk=1, namespace=estate.qa, family=mine, ttl=TWO_DAYS, cap=9_999)
    found = [Key(name=f"mastercache:{n:04}") for n in range(number)]
    sets = [one_set(rule, found) | more]
    [done] = play({"key": KEY, "scripts": {"1": script.worker_script(rule)}, "sets": sets})
    return done


@pytest.mark.parametrize("cut", [1, 150, 400, 401, 900])
def test_a_page_that_was_interrupted_is_reported_as_uncertain_and_not_written_again(
    estate: make.Estate, cut: int
) -> None:
    done = played(estate, 900, cut=cut)
    names = [f"mastercache:{n:04}" for n in range(900)]
    page = range((cut - 1) // 400 * 400, min(900, (cut - 1) // 400 * 400 + 400))
    assert [put["name"] for put in done["puts"]] == names[:cut] + names[page.stop :]
    assert done["uncertain"] == [names[n] for n in page]
    assert done["reported"] == names[: page.start] + names[page.stop :]
    assert (done["ended"], done["left"]) == ("complete", 0)


@pytest.mark.parametrize(
    ("silent", "asked", "ended"), [([0], 2, "complete"), ([0, 1], 3, "complete"), ([0, 1, 2], 3, None)]
)
def test_a_question_without_an_answer_is_asked_again_twice(
    estate: make.Estate, silent: list[int], asked: int, ended: str | None
) -> None:
    done = played(estate, 2, silent=silent)
    assert (done["calls"].count("ask"), done["ended"], done["left"]) == (asked, ended, 0)
    assert len(done["puts"]) == (2 if ended else 0)


def test_a_round_under_way_goes_on_after_a_question_without_an_answer(estate: make.Estate) -> None:
    done = played(estate, 500, silent=[2])
    assert (done["calls"], done["ended"]) == (["ask", "report", "ask", "ask", "report", "report"], "complete")
    assert len(done["puts"]) == len(set(done["reported"])) == 500


def test_a_long_page_asks_again_when_its_yes_is_over(estate: make.Estate) -> None:
    done = played(estate, 30, allowed=1, pause=100)
    assert done["calls"].count("ask") in range(3, 7)
    assert (len(done["puts"]), done["ended"]) == (30, "complete")


def test_the_same_rule_makes_the_same_script_and_it_deletes_no_key(estate: make.Estate) -> None:
    mine = Family.objects.get(pattern="mastercache:")
    rule = WorkerRule(pk=1, namespace=estate.qa, family=mine, ttl=TWO_DAYS, cap=9)
    again = WorkerRule(pk=1, namespace=estate.qa, family=mine, ttl=TWO_DAYS, cap=9)
    assert script.worker_script(rule) == script.worker_script(again)
    assert ".delete(" not in script.worker_script(rule).replace("this.storage.delete(", "")
