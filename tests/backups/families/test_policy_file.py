"""`export_policy` and `apply_policy`: Git and the page do not fight over the families of the policy."""

import json
import tomllib
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from backups import policy
from kvops.approvals import gate as approval_gate, prepared_changes
from kvops.environments import toml_text
from kvops.environments.toml import DefinitionRefused
from kvops.models import Family, PolicyVersion, PreparedChange
from tests import make
from tests.backups.families.registering import approved, asked
from tests.backups.test_policy_changes import NOW, ROOT
from tests.kvops.inventory.test_family_pages import DATASET

ODD = 'a"\\\n\t\x7f\U0001f511 キー'


def exported() -> str:
    out = StringIO()
    call_command("export_policy", stdout=out)
    return out.getvalue()


def apply(text: str, folder: Path, *options: str) -> dict[str, Any]:
    out = StringIO()
    path = folder / "policy.toml"
    path.write_text(text, "utf-8")
    call_command("apply_policy", str(path), "--json", *options, stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def registered(people: make.People, **changes: object) -> int:
    request = approved(asked(people, **changes), people)
    policy.use_change(request, by=people.operator)
    return request.pk


# The round trip


def test_the_exported_policy_changes_nothing(db: None, tmp_path: Path) -> None:
    policy.apply_policy(policy.DEFAULT.read_text() + DATASET, actor=make.SETUP)
    assert apply(exported(), tmp_path) == {"state": "unchanged", "changes": [], "change": None}


def test_odd_texts_and_every_field_come_back_as_they_were(estate: make.Estate, tmp_path: Path) -> None:
    make.family(ODD, "cache", exact=True, note=ODD, owner="a 'b' \"c\"", expiry="regenerate")  # type: ignore[arg-type]
    make.change_families("mastercache:", encrypt=True, qa_may_take=True, notice_days=[9, 2], grace_hours=0)
    assert apply(exported(), tmp_path)["state"] == "unchanged"


def test_a_registered_family_is_exported_with_its_review(
    estate: make.Estate, people: make.People, tmp_path: Path
) -> None:
    number = registered(people)
    text = exported()
    assert f"# Registered on the page for Sign-in, approval {number}.\n# Design review: https://wiki" in text
    assert apply(text, tmp_path)["state"] == "unchanged"


def test_the_export_writes_a_file(estate: make.Estate, tmp_path: Path) -> None:
    call_command("export_policy", "--output", str(tmp_path / "policy.toml"), stdout=StringIO())
    assert (tmp_path / "policy.toml").read_text("utf-8") == exported()
    with pytest.raises(CommandError, match="cannot be written") as error:
        call_command("export_policy", "--output", str(tmp_path), stdout=StringIO())
    assert error.value.returncode == 2


def test_without_a_policy_nothing_is_exported(db: None) -> None:
    with pytest.raises(CommandError, match="There is no policy yet"):
        exported()


def test_an_edited_policy_is_not_exported(estate: make.Estate) -> None:
    Family.objects.filter(pattern="mastercache:").update(note="no longer needed")
    with pytest.raises(CommandError, match="Nobody approved this"):
        exported()


def test_a_value_that_toml_cannot_have_is_refused() -> None:
    with pytest.raises(TypeError):
        toml_text.table_array("family", [{"a": object()}])
    text = toml_text.table_array("x", [{"a b": {"c.d": ["e", 1]}, "rules": [], "no": False}], always=["rules"])
    assert tomllib.loads(text) == {"x": [{"a b": {"c.d": ["e", 1]}, "rules": []}]}


# A file that lacks a registered family


def test_a_file_that_lacks_a_registered_family_is_refused_and_names_it(
    estate: make.Estate, people: make.People, tmp_path: Path
) -> None:
    number = registered(people)
    sentence = rf"family SETTINGS session:\*: it was registered on the page \(approval {number}\)"
    with pytest.raises(CommandError, match=sentence) as error:
        apply(NOW + ROOT, tmp_path)
    assert error.value.returncode == 1
    assert not PreparedChange.objects.filter(kind="policy").exists()


def test_a_family_that_is_registered_while_the_file_is_applied_is_not_removed(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = approved(asked(people), people)

    def used_meanwhile(_policy: policy.Policy) -> tuple[str, ...]:
        monkeypatch.undo()
        policy.use_change(request, by=people.operator)
        return ()

    monkeypatch.setattr(policy.Policy, "look", used_meanwhile)
    with pytest.raises(DefinitionRefused, match="it was registered on the page"):
        policy.apply_policy(NOW + ROOT, actor=make.SETUP)
    assert Family.objects.filter(pattern="session:").exists()
    assert not PreparedChange.objects.filter(kind="policy").exists()


@pytest.mark.parametrize("spelled", ["session:", "session:*", "SETTINGS session:", "SETTINGS session:*"])
def test_a_removal_that_is_meant_is_prepared(
    estate: make.Estate, people: make.People, tmp_path: Path, spelled: str
) -> None:
    registered(people)
    assert apply(NOW + ROOT, tmp_path, "--remove", spelled)["state"] == "prepared"


def test_each_missing_family_is_named(estate: make.Estate, people: make.People, tmp_path: Path) -> None:
    registered(people)
    registered(people, pattern="basket:", sample_key="basket:1")
    with pytest.raises(CommandError, match="session:"):
        apply(NOW + ROOT, tmp_path, "--remove", "basket:")
    outcome = apply(NOW + ROOT, tmp_path, "--remove", "basket:", "--remove", "session:")
    assert outcome["state"] == "prepared"


@pytest.mark.parametrize("pattern", ["master:", "nothing", "session:x"])
def test_a_removal_of_no_registered_family_is_refused(
    estate: make.Estate, people: make.People, tmp_path: Path, pattern: str
) -> None:
    registered(people)
    with pytest.raises(CommandError, match=f"--remove {pattern}: the file lacks no registered family"):
        apply(exported(), tmp_path, "--remove", pattern)


def test_a_removed_family_that_a_file_brings_back_is_one_of_the_file(
    estate: make.Estate, people: make.People, tmp_path: Path
) -> None:
    registered(people)
    with_it = exported()
    for text in (NOW + ROOT, with_it):
        remove = ["--remove", "session:"] if text != with_it else []
        number = apply(text, tmp_path, *remove)["change"]
        request = prepared_changes.submit_change(PreparedChange.objects.get(pk=number), by=people.operator)
        approval_gate.approve(request, by=people.reviewer, shown=request.digest)
        policy.use_change(request, by=people.operator)
    assert Family.objects.get(pattern="session:").registration is None
    assert apply(NOW + ROOT, tmp_path)["state"] == "prepared"


def test_a_changed_field_of_a_registered_family_keeps_its_mark(
    estate: make.Estate, people: make.People, tmp_path: Path
) -> None:
    number = registered(people)
    changed = apply(exported().replace('"ttl:3600"', '"ttl:60"'), tmp_path)["change"]
    request = prepared_changes.submit_change(PreparedChange.objects.get(pk=changed), by=people.operator)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    policy.use_change(request, by=people.operator)
    family = Family.objects.get(pattern="session:")
    assert family.registration is not None
    assert (family.expiry, family.registration.approval_id) == ("ttl:60", number)
    assert PolicyVersion.objects.count() == 3
