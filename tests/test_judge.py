"""The judge of the journals refuses what must never show in one."""

from hashlib import sha256

import pytest

from tests import judge, make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.cloudflare import ApiCall
from tests.fakes.cloudflare_api import Answered

NAME = "master:a:1"
VALUE = sha256(b"value").hexdigest()
APPROVED = [judge.Approved("n1", {NAME: VALUE})]


def call(method: str, route: str) -> ApiCall:
    return ApiCall(method, route, "/path", 200, "a", "n1", {}, {}, 0.0)


def delete(deleted: dict[str, str | None], namespace: str = "n1") -> ApiCall:
    return ApiCall("POST", "bulk_delete", "/path", 200, "a", namespace, deleted, {}, 0.0)


def test_a_delete_of_approved_and_backed_up_values_passes() -> None:
    assert judge.problems([call("GET", "keys"), delete({NAME: VALUE}), delete({NAME: None})], APPROVED) == []


@pytest.mark.parametrize(
    ("method", "route"), [("DELETE", "delete_value"), ("DELETE", "delete_namespace"), ("GET", "unknown")]
)
def test_a_call_outside_the_list_is_caught(method: str, route: str) -> None:
    assert judge.problems([call(method, route)], APPROVED) == [f"{method} /path is not a call of the product."]


def test_a_name_outside_every_approved_set_is_caught() -> None:
    [sentence] = judge.problems([delete({NAME: VALUE, "master:a:2": None})], APPROVED)
    assert "'master:a:2' of n1 was deleted and is in no approved set" in sentence


def test_a_name_approved_in_another_namespace_is_caught() -> None:
    [sentence] = judge.problems([delete({NAME: VALUE}, "n2")], APPROVED)
    assert "in no approved set" in sentence


@pytest.mark.parametrize("backed_up", [sha256(b"older").hexdigest(), None])
def test_a_value_that_is_not_the_backed_up_one_is_caught(backed_up: str | None) -> None:
    [sentence] = judge.problems([delete({NAME: VALUE})], [judge.Approved("n1", {NAME: backed_up})])
    assert "had another value than its copy" in sentence


def test_a_delete_after_a_read_of_another_value_is_caught() -> None:
    call = delete({NAME: VALUE})
    call.read[NAME] = Answered(0.0, sha256(b"another").hexdigest())
    [sentence] = judge.problems([call], APPROVED)
    assert "was read with another value than its copy" in sentence


OLDER = sha256(b"older").hexdigest()
WRITABLE = [judge.Writable("n1", {NAME: VALUE}, {NAME: OLDER})]


def write(written: dict[str, str], replaced: dict[str, str] | None = None, namespace: str = "n1") -> ApiCall:
    return ApiCall("PUT", "bulk_put", "/path", 200, "a", namespace, {}, written, 0.0, replaced or {})


def test_a_write_of_approved_and_backed_up_values_passes() -> None:
    journal = [write({NAME: VALUE}), write({NAME: VALUE}, {NAME: VALUE}), write({NAME: VALUE}, {NAME: OLDER})]
    assert judge.problems(journal, APPROVED, WRITABLE) == []


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        (write({"master:a:2": VALUE}), "was written and is in no approved set"),
        (write({NAME: VALUE}, namespace="n2"), "was written and is in no approved set"),
        (write({NAME: OLDER}), "was written with another value than its copy"),
        (write({NAME: VALUE}, {NAME: sha256(b"newer").hexdigest()}), "what it held is in no copy made for that"),
    ],
    ids=["name", "namespace", "value", "overwritten"],
)
def test_a_forged_write_is_caught(forged: ApiCall, said: str) -> None:
    [sentence] = judge.problems([forged], APPROVED, WRITABLE)
    assert said in sentence


BESIDE = [judge.Writable("n1", {NAME: VALUE}, {NAME: VALUE}, {NAME: (9, '{"v": 1}')})]


@pytest.mark.parametrize(
    ("beside", "passes"), [((9, '{"v": 1}'), True), ((8, '{"v": 1}'), False), ((9, None), False), ((None, None), False)]
)
def test_a_write_with_another_expiration_or_metadata_than_approved_is_caught(
    beside: tuple[int | None, str | None], passes: bool
) -> None:
    call = write({NAME: VALUE}, {NAME: VALUE})
    call.beside[NAME] = beside
    found = judge.problems([call], APPROVED, BESIDE)
    assert found == (
        [] if passes else [f"{NAME!r} of n1 was written with an expiration or metadata that nobody approved."]
    )


def test_another_set_of_the_name_lets_no_other_expiration_pass() -> None:
    call = write({NAME: VALUE}, {NAME: VALUE})
    call.beside[NAME] = (8, '{"v": 1}')
    another = judge.Writable("n1", {NAME: OLDER}, {NAME: OLDER}, {NAME: (8, '{"v": 1}')})
    unread = judge.Writable("n1", {NAME: OLDER})
    [sentence] = judge.problems([call], APPROVED, [*BESIDE, another, unread])
    assert "an expiration or metadata that nobody approved" in sentence


def test_an_approved_deletion_is_no_permission_to_write() -> None:
    [sentence] = judge.problems([write({NAME: VALUE})], APPROVED)
    assert "was written and is in no approved set" in sentence


@pytest.fixture
def stage(estate: make.Estate, people: make.People) -> make.Estate:
    """A deletion of three masters of QA that was approved and claimed."""
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.started(cleanup_helpers.asked(people), people)
    return estate


def test_an_approved_set_is_read_from_the_evidence_and_the_bucket(stage: make.Estate) -> None:
    values = {name: cleanup_helpers.digest(cleanup_helpers.master(name)) for name in cleanup_helpers.NAMES}
    assert judge.approved_sets(stage.s3.objects) == [judge.Approved(make.NAMESPACES["qa"], values)]


def test_what_was_approved_and_not_claimed_is_no_set(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    assert judge.approved_sets(estate.s3.objects) == []


@pytest.mark.parametrize("suffix", [".json", ".manifest.json"])
def test_a_backup_that_is_not_the_approved_one_covers_nothing(stage: make.Estate, suffix: str) -> None:
    key = next(key for key in stage.s3.objects if key.endswith(suffix))
    broken = {**stage.s3.objects, key: stage.s3.objects[key].replace(b"1", b"2")}
    [found] = judge.approved_sets(broken)
    assert set(found.values.values()) <= {None}


def test_names_that_are_not_the_approved_ones_cover_nothing(
    stage: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "_names_sha256", lambda _: "0" * 64)
    [found] = judge.approved_sets(stage.s3.objects)
    assert found.values == {}
