"""How a bucket is guarded, as Cloudflare says it."""

import pytest

from kvops.cloudflare import AuthError, Cloudflare, NotFound
from tests.contract.target import UNKNOWN_TOKEN, Target
from tests.fakes.s3 import FakeS3, Refusal


@pytest.mark.usefixtures("furnished")
def test_a_bucket_tells_its_lock_rules(cf: Cloudflare, target: Target) -> None:
    (rule,) = cf.bucket_locks(target.bucket)
    assert (rule.enabled, rule.forever, rule.date) == (True, False, "")
    assert rule.prefix.endswith("backups/")
    assert rule.seconds is not None
    assert rule.seconds >= 14 * 86_400


@pytest.mark.usefixtures("furnished")
def test_a_bucket_tells_the_rules_by_which_it_deletes(cf: Cloudflare, target: Target) -> None:
    rules = cf.bucket_lifecycle(target.bucket)
    assert [rule.prefix for rule in rules] == ["investigations/", "proposals/"]
    assert {(rule.enabled, rule.seconds) for rule in rules} == {(True, 30 * 86_400)}


def test_a_bucket_tells_the_addresses_under_which_it_could_be_read(cf: Cloudflare, target: Target) -> None:
    managed = cf.managed_domain(target.bucket)
    assert managed.name.endswith(".r2.dev")
    assert not managed.enabled
    assert cf.custom_domains(target.bucket) == []


def test_an_unknown_bucket_is_404_with_its_code(cf: Cloudflare) -> None:
    for ask in (cf.bucket_locks, cf.bucket_lifecycle, cf.managed_domain, cf.custom_domains):
        with pytest.raises(NotFound, match="10006"):
            ask("there-is-no-such-bucket")


def test_an_unknown_token_learns_nothing_of_a_bucket(target: Target) -> None:
    with target.reader(token=UNKNOWN_TOKEN) as cf, pytest.raises(AuthError):
        cf.bucket_locks(target.bucket)


def test_a_lock_is_enforced_by_the_fake_only() -> None:
    """R2 answers so; wrangler's local R2, and with it the sandbox, enforces no lock."""
    with FakeS3() as s3:
        s3.keep("backups/")
        s3.put("backups/a", b"one", {})
        with pytest.raises(Refusal, match="ObjectLockedByBucketPolicy"):
            s3.put("backups/a", b"one", {"if-none-match": "*"})
        with pytest.raises(Refusal, match="ObjectLockedByBucketPolicy"):
            s3.delete("backups/a")
        assert s3.delete("other/a").status == 204
