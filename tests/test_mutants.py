"""What `make mutants` breaks is there, and each of its mutants can take its place."""

import os

import httpx
import pytest

from bench.mutants.__main__ import PARTS
from bench.mutants.making import _code, function, mutants
from bench.mutants.plugin import _start
from tests.fakes.http import Listener
from tests.fakes.slack import FakeSlack

NAMED = [(module, name) for part in PARTS.values() for module, names in part.items() for name in names]


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_what_is_broken_exists(module: str, name: str) -> None:
    assert function(module, name).__code__.co_name == name.rpartition(".")[2]


def test_a_mutant_is_another_code_of_the_same_function() -> None:
    found = list(mutants("backups.execution.live_digests", ["_verdict"]))
    assert len({one.key for one in found}) == len(found) > 5
    for one in found:
        before, after = _code(one.before, one.function), _code(one.after, one.function)
        assert (before.co_code, before.co_consts, before.co_names) != (after.co_code, after.co_consts, after.co_names)
        assert before.co_freevars == after.co_freevars


def test_words_for_people_are_told_from_what_is_done() -> None:
    found = list(mutants("backups.investigations.requests", ["_insist_operator"]))
    assert {one.says for one in found} == {True, False}
    assert all("holds" in one.diff for one in found if not one.says)


def test_a_mutant_of_a_default_is_another_default(monkeypatch: pytest.MonkeyPatch) -> None:
    of = function("backups.deletion.settle", "settle_unsent")
    for name in ("__code__", "__defaults__", "__kwdefaults__"):
        monkeypatch.setattr(of, name, getattr(of, name))
    [mutant] = [
        one for one in mutants("backups.deletion.settle", ["settle_unsent"]) if "smaller: bool = True" in one.key
    ]
    mutant.take_its_place()
    assert (of.__defaults__, of.__kwdefaults__) == ((), {"smaller": True})


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_answers_from_its_own_copy_of_a_fake() -> None:
    with FakeSlack() as slack:
        httpx.post(slack.webhook, json={"text": "before"})
        fakes = list(Listener.taking)
        for fake in fakes:
            fake.pause()
        if not (pid := os.fork()):
            _start(fakes)
            httpx.post(slack.webhook, json={"text": "in the fork"})
            os._exit(len(slack.taken))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
        _start(fakes)
        httpx.post(slack.webhook, json={"text": "after"})
        assert slack.texts == ["before", "after"]
