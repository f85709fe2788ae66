"""The policy: families and datasets as one definition, and how it takes effect."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Max

from audit.actions import Action
from audit.models import Entry
from backups import policy
from backups.models import Check, CleanupRequest, Dataset
from kvops.approvals import evidence, gate as approval_gate, prepared_changes
from kvops.environments.effect import Applied
from kvops.environments.toml import DefinitionRefused, TomlTable, load
from kvops.inventory import browse, scan as inventory_scan
from kvops.models import Category, Family, Key, PolicyVersion, PreparedChange, Run
from tests import make

FAMILY = """\
[[family]]
binding = "SETTINGS"
pattern = "master:"
category = "legacy"
owner = "platform"
expiry = "none"
note = "migrated to D1"
"""
DATASET = """\
[[dataset]]
name = "masters"
binding = "SETTINGS"
prefix = "master:"
database = "MASTERS_D1"
table = "masters"
key = "master:{type}:{id}"
fields = { id = "id", type = "type", name = "name" }
ignore = ["updated_at"]
only_in_d1 = "block"
"""
TEXT = FAMILY + DATASET
NEWER = """migrated_at = { qa = "2025-09-01T00:00:00+09:00" }
newer_by = { qa = ["updated_at", "time_seconds", "Asia/Tokyo"] }"""


def parsed(text: str) -> policy.Policy:
    return policy.Policy.read(load(text))


def prepared(text: str) -> PreparedChange:
    change = policy.apply_policy(text, actor=make.SETUP)
    assert isinstance(change, PreparedChange)
    return change


def use(text: str, people: make.People) -> Applied:
    request = prepared_changes.submit_change(prepared(text), by=people.operator)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    return policy.use_change(request, by=people.operator)


# Reading


def test_a_policy_survives_being_kept_as_json() -> None:
    wanted = parsed(TEXT)
    kept = evidence.canonical_evidence(wanted.as_data())
    assert policy.Policy.read(TomlTable(json.loads(kept))) == wanted


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('key = "master:{type}:{id}"', 'key = "master:{type}{id}"', "text between two columns"),
        ('key = "master:{type}:{id}"', 'key = "master:all"', "takes the key's name with columns"),
        ('key = "master:{type}:{id}"', 'key = "other:{id}"', "must begin with the prefix"),
        ('key = "master:{type}:{id}"', 'key = "{type}:{id}"', "must begin with the prefix"),
        ('key = "master:{type}:{id}"', 'key = "master:{id"', "dataset 1, key: is not well-formed"),
        ('key = "master:{type}:{id}"', 'key = "master:{id:>5}"', "may not format"),
        ('key = "master:{type}:{id}"', 'key = "master:{id.x}"', "takes the key's name with columns"),
        ('prefix = "master:"', 'prefix = "staff:"', "must begin with the prefix|covers it"),
        ('pattern = "master:"', 'pattern = "master:x:"', "no .* of SETTINGS covers it"),
        ('pattern = "master:"', 'pattern = "master:"\nexact = true', "no .* of SETTINGS covers it"),
        ('name = "name" }', 'name = "no column" }', "'no column' is not the name of a column"),
        ('["updated_at"]', '["name"]', "either compared or ignored"),
        ('["updated_at"]', '["x", "x"]', "names something twice"),
        ('fields = { id = "id", type = "type", name = "name" }', "fields = {}", "takes pairs of texts"),
        ('table = "masters"', 'table = "masters; DROP TABLE x"', "takes the name of a table"),
        ('"block"', '"maybe"', "takes one of block, allow"),
        ('name = "masters"', 'name = "The Masters"', "dataset 1, name: takes a-z"),
        ('name = "masters"', 'name = "masters"\nhost = "x"', "dataset 1, host: is not a field here"),
        ("[[dataset]]", DATASET + "[[dataset]]", "dataset masters is used twice"),
        (FAMILY, "", "covers it"),
        (FAMILY, f"{FAMILY}rotate_days = 90\n", "family 1, rotate_days: was taken out: remove the line"),
        (TEXT, "", "There is no .*family"),
        (TEXT, "x = 1", "x: is not a field here"),
        (
            '"block"',
            '"block"\nrules = ["numbers"]',
            "'numbers' is no type rule. The rules are integer_boolean, null_absent",
        ),
        ('"block"', '"block"\nfield_rules = { name = ["numbers"] }', "field_rules: 'numbers' is no type rule"),
        ('"block"', '"block"\nfield_rules = { other = ["nfc"] }', "names 'other', which is not compared"),
        ('"block"', '"block"\nfield_rules = { name = "nfc" }', "name: takes a list of texts"),
        ('"block"', '"block"\nrules = ["time", "time_seconds"]', "exclude each other"),
        ('"block"', '"block"\nholds = "list"', "takes one of row, array, object"),
        ('"block"', '"block"\nholds = "array"', "row: is missing"),
        ('"block"', '"block"\nrow = "{id}"', "is for a key that `holds`"),
        ('"block"', '"block"\nholds = "array"\nrow = "{other}"', "no field is compared with other"),
        ('"block"', '"block"\nholds = "array"\nrow = "{type}{id}"', "needs text between two columns"),
        ('"block"', '"block"\npath = "a..b"', "is no path"),
        ('"block"', '"block"\nbeside = ["version"]', "names members beside the `path`"),
        ('name = "name" }', 'name = "name", "name.x" = "x" }', "another path"),
        ('"block"', '"block"\nmigrated_at = { qa = "2025-09-01T00:00:00Z" }', "'qa' has only one of them"),
        ('"block"', f'"block"\n{NEWER.replace("+09:00", "")}', "qa takes a time with its zone"),
        ('"block"', f'"block"\n{NEWER.replace("Asia/Tokyo", "Asia/Nowhere")}', "newer_by: qa takes column, type"),
        ('"block"', f'"block"\n{NEWER.replace("time_seconds", "hours")}', "newer_by: qa takes column, type"),
        ('"block"', '"block"\norphans = ["staff:1"]', "'staff:1' does not begin with the prefix"),
    ],
)
def test_a_policy_that_is_not_clear_is_refused(old: str, new: str, sentence: str) -> None:
    assert old in TEXT
    with pytest.raises(DefinitionRefused, match=sentence):
        parsed(TEXT.replace(old, new))


def test_a_dataset_says_per_environment_since_when_rows_are_newer_and_which_keys_need_none() -> None:
    more = f'"block"\n{NEWER}\norphans = ["master:a:1"]'
    [found] = parsed(TEXT.replace('"block"', more)).datasets
    assert found.migrated_at == {"qa": "2025-09-01T00:00:00+09:00"}
    assert found.newer_by == {"qa": ["updated_at", "time_seconds", "Asia/Tokyo"]}
    assert found.orphans == ("master:a:1",)
    wanted = parsed(TEXT.replace('"block"', more))
    assert policy.Policy.read(TomlTable(json.loads(evidence.canonical_evidence(wanted.as_data())))) == wanted


def test_one_key_may_hold_all_rows_and_its_family_may_be_the_key() -> None:
    one = DATASET.replace('"master:{type}:{id}"', '"master:"').replace(
        "[[dataset]]", '[[dataset]]\nholds = "array"\nrow = "{id}"'
    )
    [found] = parsed(FAMILY.replace('pattern = "master:"', 'pattern = "master:"\nexact = true') + one).datasets
    assert (found.key, found.holds, found.row) == ("master:", "array", "{id}")
    with pytest.raises(DefinitionRefused, match="`prefix` must be its name"):
        parsed(FAMILY + one.replace('key = "master:"', 'key = "master:all"'))


def test_a_dataset_that_names_no_rules_has_those_that_always_applied() -> None:
    [silent] = parsed(TEXT).datasets
    [strict] = parsed(TEXT.replace('"block"', '"block"\nrules = []')).datasets
    assert (silent.rules, strict.rules) == (("integer_boolean", "null_absent"), ())


def test_a_policy_of_an_older_version_is_not_taken_for_edited(db: None) -> None:
    policy.apply_policy(TEXT, actor=make.SETUP)
    older = json.loads(PolicyVersion.objects.get().definition)
    for name in ("holds", "path", "row", "beside", "rules", "field_rules"):
        del older["dataset"][0][name]
    text = evidence.canonical_evidence(older)
    PolicyVersion.objects.create(number=2, digest=evidence.digest_of(text), definition=text, applied_by="x")
    assert policy.shown()["version"] == 2
    Dataset.objects.update(rules=["nfc"])
    with pytest.raises(policy.PolicyEdited, match="Type rules"):
        policy.shown()


def test_two_datasets_cannot_share_a_prefix() -> None:
    with pytest.raises(DefinitionRefused, match="prefix of a dataset SETTINGS master: is used twice"):
        parsed(TEXT + DATASET.replace('name = "masters"', 'name = "other"'))


# The policy that ships


def test_the_policy_that_ships_has_the_policys_own_patterns_and_marks_its_samples(db: None) -> None:
    policy.apply_policy(policy.DEFAULT.read_text(), actor=make.SETUP)
    own = Family.objects.filter(sample=False).values_list("pattern", "exact", "category")
    assert set(own) == {
        ("system-root", True, "settings"),
        ("mastercache:", False, "cache"),
        ("clinic:summary:", False, "cache"),
        ("master:", False, "legacy"),
        ("clinic:", False, "legacy"),
        ("clinic:id:", False, "legacy"),
    }
    assert Family.objects.filter(sample=True).exists()


def test_the_policy_of_the_sandbox_is_a_policy() -> None:
    text = (Path(__file__).parents[2] / "sandbox" / "policy.toml").read_text()
    assert {d.name for d in parsed(text).datasets} == {"masters", "clinics", "facilities", "staff", "service-codes"}


# Taking effect


def test_the_first_policy_takes_effect_at_once(db: None) -> None:
    policy.apply_policy(TEXT, actor=make.SETUP)
    version = PolicyVersion.objects.get()
    assert (version.number, version.applied_by) == (1, make.SETUP.text)
    assert version.digest == evidence.digest_of(version.definition)
    assert Dataset.objects.get().fields == {"id": "id", "type": "type", "name": "name"}
    assert Entry.objects.get(action=Action.POLICY_APPLIED).digest == version.digest


def test_the_same_policy_again_is_nothing_to_do(db: None) -> None:
    policy.apply_policy(TEXT, actor=make.SETUP)
    assert policy.apply_policy(TEXT, actor=make.SETUP) == Applied(())
    assert PolicyVersion.objects.count() == 1


def test_a_later_policy_waits_and_says_what_differs(db: None) -> None:
    policy.apply_policy(TEXT, actor=make.SETUP)
    change = prepared(TEXT.replace('"legacy"', '"settings"').replace('"block"', '"allow"'))
    assert change.summary.splitlines() == [
        "family SETTINGS master:*: category legacy → settings",
        "dataset masters: only_in_d1 block → allow",
    ]
    assert Family.objects.get().category == Category.LEGACY


def test_an_approved_policy_takes_effect_and_is_the_next_version(db: None, people: make.People) -> None:
    policy.apply_policy(TEXT, actor=make.SETUP)
    use(TEXT.replace('"block"', '"allow"'), people)
    assert Dataset.objects.get().only_in_d1 == "allow"
    assert PolicyVersion.objects.aggregate(last=Max("number"))["last"] == 2


def test_an_approved_policy_reassigns_the_inventory(estate: make.Estate, people: make.People) -> None:
    estate.put(estate.qa, "master:1")
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    use(TEXT.replace('"legacy"', '"settings"'), people)
    assert Key.objects.get().category == Category.SETTINGS
    assert browse.by_category(estate.qa)["settings"] == 1


def test_a_policy_nobody_approved_cannot_be_used(db: None, people: make.People) -> None:
    policy.apply_policy(TEXT, actor=make.SETUP)
    request = prepared_changes.submit_change(prepared(TEXT.replace('"block"', '"allow"')), by=people.operator)
    with pytest.raises(approval_gate.ApprovalRefused):
        policy.use_change(request, by=people.operator)
    assert Dataset.objects.get().only_in_d1 == "block"


def test_the_rehearsal_of_a_later_policy_changes_nothing(estate: make.Estate) -> None:
    estate.put(estate.qa, "mastercache:1")
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    prepared(TEXT)
    assert Key.objects.get().category == Category.CACHE
    assert not Dataset.objects.exists()


def test_a_family_with_clean_up_requests_cannot_be_left_out(estate: make.Estate, people: make.People) -> None:
    CleanupRequest.objects.create(
        binding="SETTINGS",
        prefix="mastercache:",
        family=Family.objects.get(pattern="mastercache:"),
        category="cache",
        reason="test as agreed",
        requested_by=people.operator,
    )
    with pytest.raises(DefinitionRefused, match=r"mastercache:.* has clean-up requests"):
        policy.apply_policy(TEXT, actor=make.SETUP)


def test_a_dataset_with_checks_cannot_be_left_out(estate: make.Estate) -> None:
    dataset = Dataset.objects.create(
        name="old", binding="SETTINGS", prefix="x", database="D", table="t", key="x{id}", fields={"id": "id"}
    )
    make.keep_policy()
    run = Run.objects.create(kind=Run.Kind.CHECK, subject="x", label="x", actor="x")
    environment = estate.qa.environment
    Check.objects.create(environment=environment, dataset=dataset, definition={}, source="x", run=run)
    with pytest.raises(DefinitionRefused, match="dataset old has integrity checks"):
        policy.apply_policy(TEXT, actor=make.SETUP)


# apply_policy


def test_the_command_without_a_file_applies_the_policy_that_ships(db: None) -> None:
    out = StringIO()
    call_command("apply_policy", "--json", stdout=out)
    assert json.loads(out.getvalue())["state"] == "applied"
    assert PolicyVersion.objects.get().applied_by.startswith("cli:")


def test_the_command_prepares_a_later_policy(db: None, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(TEXT)
    call_command("apply_policy", stdout=StringIO())
    out = StringIO()
    call_command("apply_policy", str(tmp_path / "policy.toml"), stdout=out)
    assert out.getvalue().startswith(f"Prepared as change {PreparedChange.objects.get().pk}:")


def test_the_command_refuses_with_1(db: None, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("x = 1")
    with pytest.raises(CommandError, match="x: is not a field here") as refused:
        call_command("apply_policy", str(tmp_path / "policy.toml"))
    assert refused.value.returncode == 1
