"""What the fakes hold is put back with the rows; a test that puts, patches or breaks something gets its own state."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from pytest_django.fixtures import Settings

from kvops import timing
from kvops.models import Namespace
from tests import make, prepared
from tests.backups.restores import helpers as restore_helpers
from tests.conftest import Ports, port_of
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.held import Held
from tests.fakes.s3 import FakeS3
from tests.gate import world as gate
from tests.prepared import Prepared, step

pytestmark = pytest.mark.django_db(transaction=True)  # for a test that begins within the test


@dataclass
class EstateSteps:
    """An estate with one key and its verified backup, and how often each of both was built."""

    settings: Settings
    built: list[str] = field(default_factory=list)

    @contextmanager
    def another_test(self) -> Iterator[tuple[make.Estate, pytest.MonkeyPatch]]:
        """An estate whose fakes answer at the same addresses in each test, and the test's patches."""
        with (
            gate.undone(),
            FakeCloudflare(port=Ports.cloudflare) as cloudflare,
            FakeS3(port=Ports.s3) as s3,
            pytest.MonkeyPatch.context() as patch,
            prepared.preparing(patch, self.settings) as running,
        ):
            Ports.cloudflare, Ports.s3 = port_of(cloudflare.base_url), port_of(s3.endpoint)
            running.fakes = cloudflare, s3
            qa, production = step("an estate", build=lambda: self._estate(cloudflare, s3))
            yield make.Estate(cloudflare, s3, qa, production), patch

    def _estate(self, cloudflare: FakeCloudflare, s3: FakeS3) -> tuple[Namespace, Namespace]:
        self.built.append("estate")
        made = make.estate(cloudflare, s3)
        make.policy()
        made.put(made.qa, "master:a:1")
        return made.qa, made.production

    def back_up(self, estate: make.Estate) -> None:
        """The second step."""
        step("a backup", estate.qa, build=lambda: self._back_up(estate))

    def _back_up(self, estate: make.Estate) -> None:
        self.built.append("backup")
        restore_helpers.verified_backup(estate.qa)


@pytest.fixture
def steps(settings: Settings) -> Iterator[EstateSteps]:
    """Nothing is kept yet, and nothing of this test afterwards."""
    Prepared._process = 0
    yield EstateSteps(settings)
    Prepared._process = 0


def test_rows_and_fakes_are_put_back_exactly_as_they_were_built(steps: EstateSteps) -> None:
    found = []
    for _ in range(2):
        with steps.another_test() as (estate, _patch):
            steps.back_up(estate)
            found.append((prepared.all_rows(), Held.by(estate.cloudflare, estate.s3), len(estate.s3.journal)))
    assert steps.built == ["estate", "backup"]
    assert found[0] == found[1]
    assert found[0][2]


def test_the_product_goes_on_from_what_was_put_back(steps: EstateSteps) -> None:
    for _ in range(2):
        with steps.another_test() as (estate, _patch):
            steps.back_up(estate)
            estate.put(estate.qa, "master:a:2")
            assert restore_helpers.verified_backup(estate.qa).keys == 2


def test_what_a_test_took_from_a_fake_stays_in_it(steps: EstateSteps) -> None:
    for _ in range(2):
        with steps.another_test() as (estate, _patch):
            namespace, objects = estate.cloudflare.namespace(estate.qa.namespace_id), estate.s3.objects
            steps.back_up(estate)
            assert estate.cloudflare.namespace(estate.qa.namespace_id) is namespace
            assert estate.s3.objects is objects
            assert objects


@pytest.mark.parametrize("what", ["put", "object", "row", "fault", "slow", "clock", "patch", "setting", "duration"])
def test_another_estate_gets_another_state(steps: EstateSteps, what: str) -> None:
    with steps.another_test() as (estate, _patch):
        steps.back_up(estate)
    with steps.another_test() as (estate, patch):
        _change(estate, patch, steps.settings, what)
        steps.back_up(estate)
    assert steps.built == ["estate", "backup", "backup"]


def _change(estate: make.Estate, patch: pytest.MonkeyPatch, settings: Settings, what: str) -> None:
    match what:
        case "put":
            estate.put(estate.qa, "master:a:1", b"another")
        case "object":
            estate.s3.objects["qa/other"] = b"object"
        case "row":
            make.person("somebody")
        case "fault":
            estate.cloudflare.fault("scripts", "refusal")
        case "slow":
            estate.cloudflare.latency = 0.001
        case "clock":
            estate.cloudflare.clock = partial(time.time)
        case "patch":
            patch.setattr(make, "SETUP", make.SETUP)
        case "setting":
            settings.VERSION = "another"
        case _:
            patch.setattr(timing, "SETTLE", timing.SETTLE * 2)
