"""Copies of settings and of unclassified keys: encrypted, read back, put back, and telling nothing of their values."""

import json
import runpy
from collections.abc import Mapping
from hashlib import sha256
from io import StringIO

import pyrage
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

from backups import archive
from backups.comparisons import start as comparison_start, values as comparison_values
from backups.generations import recovery, scope, start as generation_start
from backups.generations.export import Export
from backups.masters import start as masters_start
from backups.models import Check, Generation
from kvops import timing
from kvops.cloudflare import KvEntry
from kvops.env import SettingError, recipients, reference
from kvops.models import Category, Run
from kvops.runs import driver as run_driver, outcomes
from tests import keys, make
from tests.backups.generations import helpers as generation_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.backups.restores.helpers import Policy
from tests.signing import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]
SECRET = b"hunter2"
SYSTEM_ROOT = KvEntry("system-root", SECRET, None, '{"owner":"op"}')


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


def backed_up(estate: make.Estate, *entries: KvEntry, prefix: str = "system-root") -> Generation:
    """A copy of these, or of one secret, in QA."""
    restore_helpers.put(estate, estate.qa, *(entries or [SYSTEM_ROOT]))
    made = generation_start.start_backup(estate.qa, prefixes=[prefix], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    return made


def opened(estate: make.Estate, generation: Generation) -> dict[str, KvEntry]:
    """What the copy holds, by the identity that is kept offline."""
    bodies = [pyrage.decrypt(estate.s3.objects[key], [keys.OFFLINE]) for key in generation.object_keys()]
    return {entry.name: entry for body in bodies for entry in archive.read_entries([body])}


def document(estate: make.Estate, generation: Generation) -> Mapping[str, object]:
    found: dict[str, object] = json.loads(estate.s3.objects[generation.manifest_key])
    return found


def test_a_backup_of_settings_is_encrypted_to_everybody_and_verified(estate: make.Estate) -> None:
    made = backed_up(estate)
    assert (made.status, made.category, made.patterns) == ("verified", "settings", ["system-root"])
    assert made.object_keys() == [f"{made.stem}.json.age"]
    assert opened(estate, made) == {"system-root": SYSTEM_ROOT}
    assert (made.recipients, document(estate, made)["recipients"]) == ([*keys.RECIPIENTS], [*keys.RECIPIENTS])
    assert document(estate, made)["digest_key"] == made.digest_key == archive.key_id(keys.DIGEST_KEY.encode())


def test_one_unclassified_key_makes_the_whole_backup_encrypted(estate: make.Estate) -> None:
    made = backed_up(
        estate, generation_helpers.entry("master:1", 1), generation_helpers.entry("mystery", 2), prefix="m"
    )
    assert (made.status, made.category, made.patterns) == ("verified", "unclassified", ["master:*"])
    assert set(opened(estate, made)) == {"master:1", "mystery"}


def test_a_family_may_ask_for_encryption(estate: make.Estate) -> None:
    make.change_families("master:", encrypt=True)
    made = backed_up(estate, generation_helpers.entry("master:1", "Jane"), prefix="master:")
    assert (made.status, made.category, made.encrypted) == ("verified", "legacy", True)


def test_a_namespace_without_workable_names_is_backed_up_in_the_clear_where_nothing_is_set_for_encryption(
    estate: make.Estate, settings: Settings
) -> None:
    settings.AGE_RECIPIENTS = ()
    estate.put(estate.qa, "a\0b")
    made = generation_start.start_backup(estate.qa, prefixes=[""], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert (made.status, made.keys, made.category, made.encrypted) == ("partial", 0, "legacy", False)


def test_what_a_restore_overwrites_beside_settings_is_backed_up_in_the_clear(
    estate: make.Estate, people: make.People
) -> None:
    make.family("mail:", Category.SETTINGS)
    make.family("mab:", Category.CACHE)
    made = backed_up(estate, generation_helpers.entry("mab:1", 1), generation_helpers.entry("master:1", 1), prefix="ma")
    for name in ("mab:1", "master:1"):
        estate.put(estate.qa, name, b"newer")
    restore = restore_helpers.done(made, people, on_conflict=Policy.OVERWRITE)
    assert restore.safety is not None
    assert (restore.safety.status, restore.safety.category, restore.safety.encrypted) == ("verified", "legacy", False)


def test_other_backups_stay_in_the_clear(estate: make.Estate) -> None:
    made = backed_up(estate, generation_helpers.entry("master:1", 1), prefix="master:")
    assert (made.status, made.recipients, made.digest_key) == ("verified", [], "")
    assert "digest_key" not in document(estate, made)


def test_what_wrangler_refuses_is_encrypted_beside_the_rest(estate: make.Estate) -> None:
    made = backed_up(estate, SYSTEM_ROOT, KvEntry("system-root2", b"x", None, "[1]"))
    assert [key.removeprefix(made.stem) for key in made.object_keys()] == [".json.age", ".api-only.json.age"]
    assert (made.status, len(opened(estate, made))) == ("verified", 2)


def test_neither_digests_nor_rows_tell_what_a_short_secret_is(estate: make.Estate) -> None:
    made = backed_up(estate)
    metadata = '{"owner":"op"}'
    told = {
        sha256(SECRET).hexdigest(),
        sha256(metadata.encode()).hexdigest(),
        (entry := archive.entry_digest("system-root", sha256(SECRET).digest(), metadata, None)).hex(),
        (root := archive.digest_root([entry])),
        archive.digest_root([bytes.fromhex(root)]),
    }
    bucket = b"".join(estate.s3.objects.values()).decode("latin-1")
    rows = f"{made.__dict__} {list(made.parts.values())} {[bytes(e.digest or b'').hex() for e in made.entries.all()]}"
    assert not [one for one in told if one in bucket or one in rows]


# Opening it again


@pytest.mark.hazard("B42")
@pytest.mark.parametrize("identity", ["", str(keys.STRANGER)], ids=["none", "another"])
def test_a_backup_nobody_here_can_open_is_not_verified_and_not_damaged(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch, identity: str
) -> None:
    monkeypatch.setenv("TEST_AGE_IDENTITY", identity)
    made = backed_up(estate)
    run = Run.objects.get(verified_generations=made)
    assert (made.status, run.state, run.error_code) == ("complete", "failed", "encryption")
    assert "KVOPS_AGE_IDENTITY" in run.error
    monkeypatch.setenv("TEST_AGE_IDENTITY", str(keys.OPERATIONS))
    run_driver.resume(run, actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert made.status == "verified"


@pytest.mark.hazard("B42")
def test_an_older_identity_and_an_older_key_may_stand_below_the_newer_ones(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    made = backed_up(estate)
    settings.AGE_RECIPIENTS = (str(keys.STRANGER.to_public()), keys.RECIPIENTS[1])
    monkeypatch.setenv("TEST_AGE_IDENTITY", f"{keys.STRANGER}\n{keys.OPERATIONS}")
    monkeypatch.setenv("TEST_DIGEST_KEY", f"{'n' * 40}\n{keys.DIGEST_KEY}")
    generation_start.start_verification(made, actor=make.SETUP)
    make.work()
    newer = backed_up(estate)
    made.refresh_from_db()
    assert (made.status, newer.status, newer.digest_key == made.digest_key) == ("verified", "verified", False)


@pytest.mark.hazard("B42")
def test_a_lost_key_of_digests_is_named(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    made = backed_up(estate)
    monkeypatch.setenv("TEST_DIGEST_KEY", "n" * 40)
    run = generation_start.start_verification(made, actor=make.SETUP)
    make.work()
    run.refresh_from_db()
    assert (run.error_code, made.digest_key in run.error) == ("encryption", True)


@pytest.mark.parametrize("key", ["", "short"])
def test_no_backup_is_made_without_a_good_key_of_digests(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("TEST_DIGEST_KEY", key)
    made = backed_up(estate)
    assert (made.status, made.run.error_code) == ("writing", "encryption")
    assert "KVOPS_DIGEST_KEY" in made.run.error
    assert estate.s3.objects == {}


@pytest.mark.parametrize("at", [10, 150, -1])
def test_an_encrypted_object_that_was_changed_is_damaged(estate: make.Estate, at: int) -> None:
    made = backed_up(estate)
    key = made.object_keys()[0]
    body = bytearray(estate.s3.objects[key])
    body[at] ^= 1
    estate.s3.objects[key] = bytes(body)
    generation_start.start_verification(made, actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert made.status == "damaged"


def test_an_object_that_was_encrypted_by_somebody_else_is_damaged(estate: make.Estate) -> None:
    made = backed_up(estate)
    forged = pyrage.encrypt(b'[\n{"key":"system-root","value":"forged"}\n]\n', [keys.OPERATIONS.to_public()])
    estate.s3.objects[made.object_keys()[0]] = forged
    generation_start.start_verification(made, actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert made.status == "damaged"
    assert "hunter2" not in made.problem


def test_an_outage_at_an_encrypted_object_damages_nothing(estate: make.Estate) -> None:
    made = backed_up(estate)
    estate.s3.fault("503", "GET", key=made.object_keys()[0], times=5)
    generation_start.start_verification(made, actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert made.status == "verified"


def test_an_encrypted_object_that_is_gone_is_not_called_changed(estate: make.Estate) -> None:
    made = backed_up(estate)
    del estate.s3.objects[made.object_keys()[0]]
    generation_start.start_verification(made, actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert made.status == "damaged"
    assert "changed" not in made.problem


def test_a_part_that_is_encrypted_anew_after_a_crash_has_the_name_of_the_next_attempt(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Export._commit

    def crash(self: Export, *args: object) -> None:
        monkeypatch.setattr(Export, "_commit", real)
        raise outcomes.TryLater("The worker is gone.")

    monkeypatch.setattr(Export, "_commit", crash)
    made = backed_up(estate)
    assert (made.status, made.object_keys()) == ("verified", [f"{made.stem}.try-2.json.age"])


def test_many_parts_are_encrypted_one_by_one(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (archive, archive.writing):
        monkeypatch.setattr(module, "MAX_KEYS", 2)
    made = backed_up(estate, *(generation_helpers.entry(f"system:{n}", n) for n in range(5)), prefix="system:")
    assert (made.status, len(made.object_keys()), len(opened(estate, made))) == ("verified", 3, 5)


# Without recipients


def test_nothing_is_backed_up_while_there_is_nobody_to_encrypt_to(estate: make.Estate, settings: Settings) -> None:
    settings.AGE_RECIPIENTS = ()
    with pytest.raises(scope.BackupRefused, match="Set KVOPS_AGE_RECIPIENTS"):
        backed_up(estate)


def test_a_backup_of_what_is_only_backed_up_encrypted_never_goes_to_a_plain_file(
    estate: make.Estate, tmp_path_factory: pytest.TempPathFactory
) -> None:
    estate.put(estate.qa, "system-root", SECRET)
    file = tmp_path_factory.mktemp("dump") / "plain.json"
    with pytest.raises(CommandError, match="not exported in the clear"):
        call_command("kv_dump", "qa/SETTINGS", "--prefix", "system-root", "--output", str(file), skip_checks=True)
    assert not file.exists()


def test_a_command_backups_settings_to_r2_and_reads_them_back(estate: make.Estate) -> None:
    estate.put(estate.qa, "system-root", SECRET)
    out = StringIO()
    arguments = ["qa/SETTINGS", "--prefix", "system-root", "--to-r2", "--json"]
    call_command("kv_dump", *arguments, stdout=out, stderr=StringIO(), skip_checks=True)
    said = json.loads(out.getvalue())
    assert (said["status"], said["objects"][0].endswith(".json.age")) == ("verified", True)
    call_command("verify_generation", str(said["generation"]), stdout=StringIO(), skip_checks=True)


# Putting back, and comparing


def test_settings_are_restored_from_their_encrypted_backup(estate: make.Estate, people: make.People) -> None:
    made = backed_up(estate)
    before = restore_helpers.held(estate, estate.qa)
    restore_helpers.wipe(estate, estate.qa)
    restore = restore_helpers.done(made, people)
    assert restore_helpers.held(estate, estate.qa) == before
    assert (restore.written, restore.left) == (1, 0)


def test_what_a_restore_overwrites_of_settings_is_backed_up_encrypted_first(
    estate: make.Estate, people: make.People
) -> None:
    made = backed_up(estate)
    estate.put(estate.qa, "system-root", b"newer")
    restore = restore_helpers.done(made, people, on_conflict=Policy.OVERWRITE)
    assert restore_helpers.outcomes(restore) == {"system-root": "written"}
    assert restore.safety is not None
    assert (restore.safety.status, restore.safety.encrypted) == ("verified", True)
    assert opened(estate, restore.safety)["system-root"].data == b"newer"


def test_a_restore_without_the_identity_writes_nothing_and_says_why(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backed_up(estate)
    restore_helpers.wipe(estate, estate.qa)
    run = restore_helpers.started(restore_helpers.prepared(made, people), people)
    monkeypatch.setenv("TEST_AGE_IDENTITY", str(keys.STRANGER))
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, restore_helpers.held(estate, estate.qa)) == ("failed", "encryption", {})


def test_master_data_of_a_family_that_asks_for_it_is_encrypted_too(estate: make.Estate) -> None:
    make.change_families("master:", encrypt=True)
    generation_helpers.dataset()
    generation_helpers.rows(estate, ("a", "1", "One"))
    made = masters_start.start_export(masters_start.choose(estate.qa.environment), actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert (made.status, made.encrypted, set(opened(estate, made))) == ("verified", True, {"master:a:1"})
    assert "age --decrypt" in estate.s3.objects[f"{made.stem}.RESTORE.md"].decode()


def test_an_encrypted_backup_is_checked_against_d1(estate: make.Estate) -> None:
    make.change_families("master:", encrypt=True)
    generation_helpers.dataset()
    generation_helpers.rows(estate, ("a", "1", "One"))
    made = backed_up(estate, generation_helpers.master("a", "1", "One"), prefix="master:")
    check = make.check(made)
    make.work()
    check.refresh_from_db()
    assert (made.encrypted, check.outcome, check.keys) == (True, Check.Outcome.PASSED, 1)


# What people see


def test_the_recovery_steps_say_which_identity_opens_it(estate: make.Estate) -> None:
    made = backed_up(estate)
    steps = estate.s3.objects[f"{made.stem}.RESTORE.md"].decode()
    assert recovery.recovery_steps(made) == steps
    assert all(f"- `{recipient}`" in steps for recipient in keys.RECIPIENTS)
    assert 'age --decrypt --identity "$AGE_IDENTITY" --output part-00001.json part-00001.json.age' in steps
    assert steps.index("age --decrypt") < steps.index("npx wrangler kv bulk put part-00001.json ")


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def test_the_page_names_the_recipients_and_offers_no_value(estate: make.Estate, operator: Client) -> None:
    make.change_families("system-root", category=Category.LEGACY, encrypt=True)
    made = backed_up(estate)
    page = operator.get(f"/backups/{made.pk}/").content.decode()
    assert keys.RECIPIENTS[0] in page
    assert "Show value" not in page
    read = len(estate.s3.calls("GET"))
    answer = operator.post(f"/backups/{made.pk}/entries/0/value", follow=True).content.decode()
    assert "This backup is encrypted, and the web server cannot decrypt it." in answer
    assert ("hunter2" in answer, len(estate.s3.calls("GET"))) == (False, read)


# Settings of the process


@pytest.mark.parametrize("setting", ["AGE_IDENTITY", "DIGEST_KEY"])
def test_the_web_server_does_not_start_with_what_opens_backups(
    settings: Settings, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.AGE_IDENTITY, settings.DIGEST_KEY = "", ""
    setattr(settings, setting, "file:/run/secrets/it")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("kvops.wsgi")
    assert ended.value.code == 3  # gunicorn starts no other worker
    assert "for the worker" in capsys.readouterr().err


def test_the_web_server_does_not_start_with_a_review_key_that_opens_backups(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, encrypting: None, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.AGE_IDENTITY, settings.DIGEST_KEY = "", ""
    monkeypatch.setenv("TEST_REVIEW_IDENTITY", str(keys.OPERATIONS))
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("kvops.wsgi")
    assert ended.value.code == 3
    assert "also a recipient of backups" in capsys.readouterr().err


def test_the_web_server_starts_with_recipients_alone(settings: Settings) -> None:
    settings.AGE_IDENTITY, settings.DIGEST_KEY = "", ""
    assert callable(runpy.run_module("kvops.wsgi")["application"])


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (keys.RECIPIENTS[0], "at least two"),
        (f"{keys.RECIPIENTS[0]}, {keys.RECIPIENTS[0]}", "twice"),
        (f"{keys.RECIPIENTS[0]},age1nonsense", "'age1nonsense' is not one"),
        (f"{keys.RECIPIENTS[0]},ssh-ed25519 AAAA", "is not one"),
    ],
    ids=["one", "twice", "nonsense", "of another kind"],
)
def test_recipients_that_cannot_be_right_stop_the_process(value: str, sentence: str) -> None:
    with pytest.raises(SettingError, match=f"R takes.*{sentence}|R names.*{sentence}"):
        recipients("R", {"R": value})


def test_recipients_are_taken_as_they_are_and_may_be_none() -> None:
    assert recipients("R", {"R": " , ".join(keys.RECIPIENTS)}) == keys.RECIPIENTS
    assert recipients("R", {}) == ()


def test_a_secret_where_a_reference_belongs_stops_the_process() -> None:
    assert reference("K", {"K": "file:/run/secrets/age"}) == "file:/run/secrets/age"
    with pytest.raises(SettingError, match="never the secret itself") as refused:
        reference("K", {"K": str(keys.OPERATIONS)})
    assert str(keys.OPERATIONS) not in str(refused.value)


# Comparing two copies


def test_an_encrypted_backup_is_compared_with_what_kv_holds(estate: make.Estate) -> None:
    made = backed_up(estate)
    estate.put(estate.qa, "system-root", b"newer")
    comparison = comparison_start.with_kv(made, estate.qa, actor=make.SETUP)
    make.work()
    assert [(one.name, one.kind) for one in comparison.entries.all()] == [("system-root", "value")]


def test_backups_whose_digests_have_different_keys_are_not_compared(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backed_up(estate)
    monkeypatch.setenv("TEST_DIGEST_KEY", f"{'n' * 40}\n{keys.DIGEST_KEY}")
    newer = backed_up(estate)
    with pytest.raises(comparison_start.ComparisonRefused, match="different keys"):
        comparison_start.of_backups(made, newer, actor=make.SETUP)


def test_a_value_of_an_encrypted_backup_is_not_shown_beside_another(estate: make.Estate, people: make.People) -> None:
    make.change_families("system-root", category=Category.LEGACY, encrypt=True)
    made = backed_up(estate)
    difference = comparison_values.view_difference(made, estate.qa, "system-root", by=people.operator)
    assert (difference.compared, "encrypted" in str(difference.hidden)) == (None, True)
