"""Deployed Workers and Pages projects, as Cloudflare tells them."""

from datetime import UTC, datetime, timedelta

import pytest

from kvops.cloudflare import AuthError, Cloudflare, ConfigurationError, NotFound
from tests.contract.target import UNKNOWN_TOKEN, Target

pytestmark = pytest.mark.usefixtures("furnished")
UNKNOWN = "00000000-0000-4000-8000-00000000ffff"


def test_a_worker_tells_the_version_that_runs_and_its_bindings(cf: Cloudflare, target: Target) -> None:
    assert target.worker in cf.scripts()
    deployment = cf.deployment(target.worker)
    assert deployment is not None
    (version,) = deployment.versions
    found = cf.worker_version(target.worker, version)
    assert (found.id, found.kv) == (version, {"SETTINGS": target.namespace_id})
    assert found.etag


def test_the_modules_of_a_version_are_its_code(cf: Cloudflare, target: Target) -> None:
    deployment = cf.deployment(target.worker)
    assert deployment is not None
    modules = cf.modules(target.worker, deployment.versions[0])
    assert any(b"SETTINGS" in module.data for module in modules)
    assert {module.content_type for module in modules} == {"application/javascript+module"}


def test_workers_builds_tells_the_commit_of_a_version(cf: Cloudflare, target: Target) -> None:
    deployment = cf.deployment(target.worker)
    assert deployment is not None
    assert cf.build_commits([*deployment.versions, UNKNOWN]) == {deployment.versions[0]: target.commit}


def test_a_project_tells_its_commit_and_the_bindings_of_production(cf: Cloudflare, target: Target) -> None:
    assert target.project in cf.pages_projects()
    found = cf.pages_project(target.project)
    assert (found.commit, found.dirty, found.kv) == (target.commit, False, {"SETTINGS": target.namespace_id})
    assert found.preview_kv == {"SETTINGS": target.namespace_id}
    assert found.deployment
    assert found.at is not None


def test_unknown_code_is_404(cf: Cloudflare, target: Target) -> None:
    for ask in (cf.deployment, cf.pages_project):
        with pytest.raises(NotFound):
            ask("no-such-code")
    for read in (cf.worker_version, cf.modules):
        with pytest.raises(NotFound):
            read(target.worker, UNKNOWN)


def test_a_name_that_is_no_segment_is_refused_here(cf: Cloudflare, target: Target) -> None:
    for name in ("", "..", "a/b", "a?b", "a%2Fb", "x" * 200):
        for ask in (cf.deployment, cf.pages_project):
            with pytest.raises(ConfigurationError):
                ask(name)
    with pytest.raises(ConfigurationError):
        cf.modules(target.worker, "latest")


def test_an_unknown_token_learns_nothing_of_the_code(target: Target) -> None:
    with target.reader(token=UNKNOWN_TOKEN) as cf:
        for ask in (cf.scripts, cf.pages_projects):
            with pytest.raises(AuthError):
                ask()


def test_the_audit_log_tells_who_changed_a_namespace(cf: Cloudflare, target: Target) -> None:
    until = datetime.now(UTC)
    entries, longer = cf.changes_of_namespace(target.namespace_id, until - timedelta(days=1), until)
    (entry,) = entries
    assert (entry.actor, entry.token, entry.context) == ("somebody@example.com", "", "oauth")
    assert (entry.address, entry.method, longer) == ("192.0.2.7", "DELETE", False)
    assert entry.path.endswith("/values/master%3Aarea%3A99")
    assert cf.changes_of_namespace(target.namespace_id, until - timedelta(minutes=5), until) == ([], False)
    assert cf.changes_of_namespace("e" * 32, until - timedelta(days=1), until) == ([], False)
