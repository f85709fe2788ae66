"""The durations that `docs/reliability.md` and `docs/policy.md` promise are those of production."""

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

from kvops import timing

DAY = 86_400
PROMISED = {
    "BUDGET_CALLS": 960,
    "BUDGET_WINDOW": 300,
    "CHECK_PAUSE": 900,
    "LATE_CHECK": DAY,
    "LEASE": 180,
    "LOOK": 300,
    "QA_EVIDENCE": 7 * DAY,
    "READ_FRESH": 5,
    "REFERENCES_FRESH": 7 * DAY,
    "REQUEST_TIMEOUT": 60,
    "RETENTION_DAYS": 14,
    "REVEALED": 60,
    "SETTLE": 60,
    "SIGNIN_DELAY": 5,
    "SKEW": 60,
    "STALE": 300,
    "UNDO_WITHIN": 3 * DAY,
    "USE_WITHIN": DAY,
    "VERIFIED_FRESH": DAY,
}
"""Seconds, or a number of requests or days. The tests themselves run with shorter waits."""


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it is loaded in production, where nothing is scaled."""
    monkeypatch.delenv("KVOPS_TIME_SCALE")
    spec = spec_from_file_location("unscaled", timing.__file__)
    assert spec is not None
    assert spec.loader is not None
    unscaled = module_from_spec(spec)
    spec.loader.exec_module(unscaled)
    return unscaled


@pytest.mark.parametrize("name", PROMISED)
def test_production_keeps_the_promised_durations(production: ModuleType, name: str) -> None:
    assert getattr(production, name) == PROMISED[name]


def test_a_paused_worker_has_lost_its_trust_before_its_lease_and_a_whole_request_before_a_takeover(
    production: ModuleType,
) -> None:
    assert production.TRUST + production.REQUEST_TIMEOUT < production.LEASE
