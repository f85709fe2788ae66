"""`manage.py scan` and `manage.py apply_environments`."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django_q.models import OrmQ

from audit.actions import Action
from audit.models import Entry
from kvops.inventory import scan as inventory_scan
from kvops.models import Environment, Key, PreparedChange
from tests import make
from tests.fakes.cloudflare import FakeCloudflare
from tests.kvops.environments import estate_toml


def output(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out)
    return out.getvalue()


@pytest.fixture
def filled(estate: make.Estate) -> make.Estate:
    for name in ("master:1", "mastercache:1", "else"):
        estate.put(estate.qa, name)
    return estate


def test_scan_reports_as_json_with_the_documented_keys(filled: make.Estate) -> None:
    assert json.loads(output("scan", "qa/SETTINGS", "--json")) == {
        "environment": "qa",
        "binding": "SETTINGS",
        "keys": 3,
        "added": 3,
        "changed": 0,
        "gone": 0,
        "calls": 1,
        "categories": {"settings": 0, "cache": 1, "legacy": 1, "unclassified": 1},
    }


def test_scan_reports_in_words(filled: make.Estate) -> None:
    filled.put(filled.qa, "nul\0")
    text = output("scan", "qa/SETTINGS")
    assert "qa/SETTINGS: 3 keys (3 new, 0 changed, 0 gone) in 1 call" in text
    assert "names left out, which cannot be worked with (NUL, no UTF-8 form, or a path): 1\n" in text


def test_scan_of_a_prefix_lists_only_that(filled: make.Estate) -> None:
    output("scan", "qa/SETTINGS", "--prefix", "master:")
    assert list(Key.objects.values_list("name", flat=True)) == ["master:1"]


def test_scan_works_without_a_worker_under_the_name_of_the_shell_user(filled: make.Estate) -> None:
    output("scan", "qa/SETTINGS")
    assert not OrmQ.objects.exists()
    assert Entry.objects.get(action=Action.SCAN_STARTED).actor.startswith("cli:")


@pytest.mark.parametrize(
    "arguments", [["qa"], ["qa/NOTHING"], ["nowhere/SETTINGS"], ["qa/SETTINGS", "--prefix", "\ud800"]]
)
def test_scan_of_what_is_not_there_is_bad_usage(filled: make.Estate, arguments: list[str]) -> None:
    with pytest.raises(CommandError) as refused:
        output("scan", *arguments)
    assert refused.value.returncode == 2


def test_scan_that_fails_says_why(filled: make.Estate) -> None:
    filled.cloudflare.fault("keys", "too_large")
    with pytest.raises(CommandError, match="413") as failed:
        output("scan", "qa/SETTINGS")
    assert failed.value.returncode == 1


def test_scan_waits_for_cloudflare_and_goes_on(filled: make.Estate) -> None:
    filled.cloudflare.fault("keys", "error", times=4)
    assert json.loads(output("scan", "qa/SETTINGS", "--json"))["keys"] == 3


def test_scan_beside_another_one_is_refused(filled: make.Estate) -> None:
    inventory_scan.start_scan(filled.qa, actor=make.SETUP)
    with pytest.raises(CommandError, match="already running") as refused:
        output("scan", "qa/SETTINGS")
    assert refused.value.returncode == 1


# apply_environments


@pytest.fixture
def file(db: None, cloudflare: FakeCloudflare, tmp_path: Path) -> Path:
    path = tmp_path / "environments.toml"
    path.write_text(estate_toml.text(cloudflare))
    return path


def test_environments_are_applied_at_once_and_then_prepared(file: Path) -> None:
    assert json.loads(output("apply_environments", str(file), "--json"))["state"] == "applied"
    assert json.loads(output("apply_environments", str(file), "--json"))["state"] == "unchanged"
    file.write_text(file.read_text().replace("order = 2", "order = 3"))
    outcome = json.loads(output("apply_environments", str(file), "--json"))
    assert (outcome["state"], outcome["change"]) == ("prepared", PreparedChange.objects.get().pk)
    assert outcome["changes"][0] == "production: order 2 → 3"


def test_environments_that_are_refused_exit_with_1(file: Path) -> None:
    file.write_text(file.read_text().replace("order = 2", "order = 1"))
    with pytest.raises(CommandError, match="order 1 is used twice") as refused:
        output("apply_environments", str(file))
    assert (refused.value.returncode, Environment.objects.count()) == (1, 0)


def test_environments_without_their_file_are_bad_usage(db: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError) as refused:
        output("apply_environments", str(tmp_path / "nothing.toml"))
    assert refused.value.returncode == 2
