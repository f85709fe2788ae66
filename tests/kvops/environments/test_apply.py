"""Environments: what a definition may say, what is probed, and how it takes effect."""

import json

import pytest

from audit.actions import Action
from audit.models import Entry
from kvops.approvals import evidence, gate as approval_gate, prepared_changes
from kvops.cloudflare import ConfigurationError
from kvops.connections import clients
from kvops.environments import apply as environments_apply, definition as environments_definition
from kvops.environments.effect import Applied, StillInUse
from kvops.environments.toml import DefinitionRefused, TomlTable, load
from kvops.inventory import scan as inventory_scan
from kvops.models import ApprovalRequest, Database, Environment, Namespace, PreparedChange
from tests import make
from tests.fakes.cloudflare import FakeCloudflare
from tests.kvops.environments import estate_toml

QA, PRODUCTION = make.NAMESPACES["qa"], make.NAMESPACES["production"]


@pytest.fixture
def toml(cloudflare: FakeCloudflare) -> str:
    return estate_toml.text(cloudflare)


@pytest.fixture
def applied(db: None, toml: str) -> str:
    environments_apply.apply_environments(toml, actor=make.SETUP)
    return toml


def parsed(text: str) -> tuple[environments_definition.EnvironmentDefinition, ...]:
    return environments_definition.read_environments(load(text))


def in_environment(toml: str, slug: str, old: str, new: str) -> str:
    """The text with a change in one environment only."""
    start = toml.index(f'[[environment]]\nslug = "{slug}"')
    end = toml.find("[[environment]]\n", start + 1)
    part = toml[start:end] if end > 0 else toml[start:]
    assert old in part
    return toml.replace(part, part.replace(old, new))


def prepared(text: str) -> PreparedChange:
    change = environments_apply.apply_environments(text, actor=make.SETUP)
    assert isinstance(change, PreparedChange)
    return change


def approved(change: PreparedChange, people: make.People) -> ApprovalRequest:
    request = prepared_changes.submit_change(change, by=people.operator)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    return request


# Reading


def test_a_definition_survives_being_kept_as_json(toml: str) -> None:
    wanted = parsed(toml)
    kept = evidence.canonical_evidence(environments_apply.Environments(wanted).as_data())
    assert environments_definition.read_environments(TomlTable(json.loads(kept))) == wanted


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('slug = "qa"', 'slug = "Q A"', "environment 1, slug: takes a-z"),
        ('slug = "qa"', "", "environment 1, slug: is missing"),
        ("order = 1", 'order = "first"', "environment 1, order: takes a whole number"),
        ("order = 1", "order = 1\ncolour = 'red'", "environment 1, colour: is not a field here"),
        ('binding = "SETTINGS"', 'binding = "SETTINGS"\nid = "1"', "environment 1, kv 1, id: is not a field here"),
        ("[environment.r2]", "[environment.s3]", "environment 1, r2: is missing"),
        ('bucket = "qa-media"', 'bucket = "QA media"', "environment 1, r2.bucket: takes the name of a bucket"),
        ('"https://qa.r2', '"http://qa.r2', "environment 1, r2.endpoint: takes an https:// address"),
        ('bucket = "qa-media"', 'bucket = "q"\nkey_template = "{day}/x"', "knows the placeholder {environment} only"),
        ('bucket = "qa-media"', 'bucket = "q"\nkey_template = "a//b"', "has an empty or dot segment"),
        ("order = 1", 'order = 1\nhours = "9-18"', "environment 1, hours: takes hours such as"),
        ("order = 1", 'order = 1\nhours = "09:00-09:00"', "environment 1, hours: begins and ends at the same time"),
        ("order = 1", "order = 1\nvault = 5", "environment 1, vault: takes the name of a 1Password vault"),
        ("order = 1", 'order = 1\nbudget = "A B"', "environment 1, budget: takes a-z, 0-9 and -"),
        ("order = 1", "order = 1\nrequests = 479", "environment 1, requests: takes a whole number"),
        ("order = 1", "order = 1\nrequests = 961", "environment 1, requests: takes a whole number"),
        ("order = 1", "order = 1\nrequests = 500", "the budget shared says other `requests`"),
        ("order = 1", 'order = 1\ndays = "mon"', "environment 1, days: needs hours"),
        ("order = 1", 'order = 1\nhours = "09:00-18:00"\ndays = "monday"', "environment 1, days: takes days such as"),
        ("order = 1", "order = ", "This is not TOML: .*line 4"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(toml: str, old: str, new: str, place: str) -> None:
    with pytest.raises(DefinitionRefused, match=place):
        parsed(toml.replace(old, new, 1))


@pytest.mark.parametrize("field", ["read_token", "write_token", "access_key_id", "secret_access_key"])
def test_a_literal_secret_is_refused_and_not_repeated(toml: str, field: str) -> None:
    lines = [f'{field} = "hunter2hunter2"' if line.startswith(field) else line for line in toml.splitlines()]
    with pytest.raises(DefinitionRefused, match="never the secret itself") as refused:
        parsed("\n".join(lines))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("reference", ["env:A_TOKEN", "file:/run/secrets/token", "op://vault/item/field"])
def test_the_three_forms_of_a_reference_are_taken(toml: str, reference: str) -> None:
    assert parsed(toml.replace("env:QA_READ", reference))[0].read_token == reference


# Twelve ways to bind QA and production wrongly (B27)

KV_2 = '[[environment.kv]]\nbinding = "CACHE"\nnamespace_id = "3"\n'
MIS_BINDINGS = {
    "two environments on one namespace": ("production", f'"{PRODUCTION}"', f'"{QA}"', "namespace .* is used twice"),
    "two bindings on one namespace": (
        "qa",
        "[[environment.d1]]",
        f'[[environment.kv]]\nbinding = "CACHE"\nnamespace_id = "{QA}"\nunpaired = "test"\n[[environment.d1]]',
        "namespace .* is used twice",
    ),
    "two environments on one database": (
        "production",
        make.DATABASES["production"],
        make.DATABASES["qa"],
        "database .* is used twice",
    ),
    "the token of QA in production, by reference": (
        "production",
        "env:PRODUCTION_READ",
        "env:QA_READ",
        "is used twice",
    ),
    "one token for reading and writing": ("qa", "env:QA_WRITE", "env:QA_READ", "is used twice"),
    "a binding without its pair": (
        "qa",
        "[[environment.d1]]",
        KV_2 + "[[environment.d1]]",
        "has no pair in production",
    ),
    "a pair that says unpaired": (
        "qa",
        'binding = "SETTINGS"',
        'binding = "SETTINGS"\nunpaired = "why not"',
        "every environment has it",
    ),
    "the write token of QA in production": ("production", "env:PRODUCTION_WRITE", "env:QA_WRITE", "is used twice"),
    "QA after production": ("qa", "order = 1", "order = 3", "Production must come after"),
    "one bucket without {environment}": ("production", "production-media", "qa-media", "both write to the bucket"),
    "one slug twice": ("production", 'slug = "production"', 'slug = "qa"', "slug qa is used twice"),
    "one order twice": ("production", "order = 2", "order = 1", "order 1 is used twice"),
}


@pytest.mark.parametrize("case", MIS_BINDINGS)
def test_a_mis_binding_is_refused_on_reading(toml: str, case: str) -> None:
    slug, old, new, sentence = MIS_BINDINGS[case]
    with pytest.raises(DefinitionRefused, match=sentence):
        parsed(in_environment(toml, slug, old, new))


def test_one_bucket_is_fine_when_both_templates_name_the_environment(toml: str) -> None:
    template = 'bucket = "media"\nkey_template = "{environment}/backups"'
    both = toml.replace('bucket = "qa-media"', template).replace('bucket = "production-media"', template)
    assert {d.key_template for d in parsed(both)} == {"{environment}/backups"}


def test_a_binding_of_one_environment_says_why(toml: str) -> None:
    alone = KV_2 + 'unpaired = "only tried in QA"\n'
    wanted = parsed(toml.replace("[[environment.d1]]", alone + "[[environment.d1]]", 1))
    assert wanted[0].kv[1].unpaired == "only tried in QA"


# Probing


@pytest.mark.parametrize(
    ("slug", "old", "new"),
    [
        ("production", f'"{PRODUCTION}"', '"9999"'),  # a namespace that does not exist
        ("production", make.ACCOUNTS["production"], make.ACCOUNTS["qa"]),  # the other account
        ("production", make.DATABASES["production"], "00000000-0000-4000-8000-00000000000f"),  # no such database
        ("production", "env:PRODUCTION_READ", "env:NOT_SET"),  # no token
    ],
)
def test_what_the_read_token_cannot_see_is_refused(db: None, toml: str, slug: str, old: str, new: str) -> None:
    with pytest.raises(environments_apply.NotVisible, match=r"^production: "):
        environments_apply.apply_environments(in_environment(toml, slug, old, new), actor=make.SETUP)
    assert not Environment.objects.exists()


def test_swapped_tokens_are_refused_because_they_cannot_see_the_namespaces(
    db: None, toml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QA_READ", "production-read-token")
    monkeypatch.setenv("PRODUCTION_READ", "qa-read-token")
    with pytest.raises(environments_apply.NotVisible, match="another environment's token"):
        environments_apply.apply_environments(toml, actor=make.SETUP)


def test_swapped_namespaces_are_refused(db: None, toml: str) -> None:
    swapped = toml.replace(QA, "x").replace(PRODUCTION, QA).replace("x" + '"', PRODUCTION + '"')
    with pytest.raises(environments_apply.NotVisible):
        environments_apply.apply_environments(swapped, actor=make.SETUP)


def test_the_probe_only_reads(applied: str, cloudflare: FakeCloudflare) -> None:
    assert cloudflare.journal_routes() == {("GET", "namespace"), ("GET", "databases")}


def test_a_reader_without_its_token_says_which(applied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QA_READ")
    with pytest.raises(ConfigurationError, match=r"read token of qa .* QA_READ is not set"):
        clients.reader(Environment.objects.get(slug="qa"))


# Taking effect


def test_an_empty_estate_takes_the_definition_at_once(applied: str) -> None:
    namespace = environments_apply.find_namespace("production/SETTINGS")
    assert (namespace.title, namespace.environment.order) == ("production-settings", 2)
    assert Database.objects.count() == 2
    assert Entry.objects.filter(action=Action.ENVIRONMENT_APPLIED).count() == 1


def test_the_same_definition_again_is_nothing_to_do(applied: str, cloudflare: FakeCloudflare) -> None:
    cloudflare.journal.clear()
    assert environments_apply.apply_environments(applied, actor=make.SETUP) == Applied(())
    assert not cloudflare.journal


def test_a_later_change_waits_and_says_what_differs(applied: str) -> None:
    change = prepared(applied.replace('name = "Qa"', 'name = "QA"'))
    assert "qa: name Qa → QA" in change.summary
    assert "“production-settings”" in change.summary
    assert Environment.objects.get(slug="qa").name == "Qa"


def test_an_approved_change_takes_effect(applied: str, people: make.People) -> None:
    request = approved(prepared(applied.replace("order = 2", "order = 7")), people)
    assert environments_apply.use_change(request, by=people.operator).changes == ("production: order 2 → 7",)
    assert Environment.objects.get(slug="production").order == 7


def test_an_environment_that_stays_as_it_is_was_not_changed(applied: str, people: make.People) -> None:
    before = dict(Environment.objects.values_list("slug", "updated_at"))
    request = approved(prepared(applied.replace('name = "Qa"', 'name = "QA"')), people)
    environments_apply.use_change(request, by=people.operator)
    after = dict(Environment.objects.values_list("slug", "updated_at"))
    assert [slug for slug in before if after[slug] != before[slug]] == ["qa"]


def test_a_change_is_probed_again_before_it_is_used(
    applied: str, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = approved(prepared(applied.replace("order = 2", "order = 7")), people)
    monkeypatch.setenv("PRODUCTION_READ", "qa-read-token")
    with pytest.raises(environments_apply.NotVisible):
        environments_apply.use_change(request, by=people.operator)
    request.refresh_from_db()
    assert request.state == ApprovalRequest.State.APPROVED


def test_environments_can_change_places(applied: str, people: make.People) -> None:
    text = applied.replace("production = true", "production = false")
    text = text.replace("order = 1", "order = 9").replace("order = 2", "order = 1").replace("order = 9", "order = 2")
    environments_apply.use_change(approved(prepared(text), people), by=people.operator)
    assert list(Environment.objects.order_by("order").values_list("slug", flat=True)) == ["production", "qa"]


def test_an_unused_environment_can_be_left_out(applied: str, people: make.People) -> None:
    alone = applied[: applied.index("[[environment]]", 5)]
    environments_apply.use_change(approved(prepared(alone), people), by=people.operator)
    assert [str(n) for n in Namespace.objects.all()] == ["qa/SETTINGS"]


def test_an_environment_with_runs_cannot_be_left_out(applied: str) -> None:
    inventory_scan.start_scan(environments_apply.find_namespace("production/SETTINGS"), actor=make.SETUP)
    with pytest.raises(StillInUse, match="production/SETTINGS has runs, scans"):
        environments_apply.apply_environments(applied[: applied.index("[[environment]]", 5)], actor=make.SETUP)
    assert Environment.objects.count() == 2


def test_a_scanned_binding_cannot_be_given_another_namespace(applied: str, cloudflare: FakeCloudflare) -> None:
    inventory_scan.start_scan(environments_apply.find_namespace("qa/SETTINGS"), actor=make.SETUP)
    cloudflare.add_namespace(make.ACCOUNTS["qa"], "4" * 32, "another")
    with pytest.raises(StillInUse, match="bound to another namespace"):
        environments_apply.apply_environments(applied.replace(QA, "4" * 32), actor=make.SETUP)


def test_an_unknown_address_lists_the_known_ones(applied: str) -> None:
    with pytest.raises(environments_apply.UnknownNamespace, match="qa/SETTINGS, production/SETTINGS"):
        environments_apply.find_namespace("qa/NOTHING")
