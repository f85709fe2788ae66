"""The metrics for Prometheus; the example rules and the dashboard name no other."""

import json
import re
import subprocess
from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.conf import settings as product
from django.db.models.functions import Now
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from audit import log
from kvops.approvals import gate as approval_gate
from kvops.connections import clients, refused_tokens
from kvops.inventory import scan as inventory_scan
from kvops.models import ApprovalRequest, Family, Heartbeat, NotificationEvent, Run
from kvops.notifications import outbox
from kvops.supervision import heartbeats
from tests import make
from tests.audit.make import sql
from tests.signing import signed_in

pytestmark = pytest.mark.django_db

MONITORING = product.BASE_DIR / "docs/monitoring"


@pytest.fixture(autouse=True)
def _admitted(settings: Settings) -> None:
    settings.KVOPS_METRICS_HOSTS = (ip_network("127.0.0.1"),)


def scraped() -> str:
    answer = Client().get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return answer.content.decode()


def number(sample: str, /, **labels: str) -> float | None:
    """The value of a sample, by its name and labels."""
    samples = [one for family in text_string_to_metric_families(scraped()) for one in family.samples]
    return next((one.value for one in samples if one.name == sample and labels.items() <= one.labels.items()), None)


@pytest.fixture
def busy(people: make.People, estate: make.Estate) -> make.Estate:
    """An installation in which each metric has a number."""
    estate.put(estate.qa, "master:1")
    estate.put(estate.qa, "mail:smtp")
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    Family.objects.filter(category="settings").update(interval_hours=24)
    Run.objects.create(kind="scan", subject="x", label="x", actor="x", waiting_since=Now() - timedelta(seconds=60))
    refused_tokens.note_refused(estate.qa.environment, "env:QA_WRITE", {"bulk_put": 403})
    with log.transaction():
        outbox.post(NotificationEvent.RUN_FINISHED, subject="run:1", title="x", to=[people.operator])
    for name in ("worker", "sweep", "canary"):
        heartbeats.beat(name)
    return estate


def test_the_numbers_are_those_of_the_database(busy: make.Estate, people: make.People) -> None:
    assert number("kvops_keys", environment="qa", binding="SETTINGS", category="legacy") == 1
    assert number("kvops_runs", kind="scan", state="succeeded") == 1
    assert number("kvops_work_goes_on") == 1
    assert (number("kvops_heartbeat_age_seconds", name="sweep") or -1) >= 0
    assert number("kvops_refused_token", reference="env:QA_WRITE") == 1
    assert number("kvops_outbox_messages", state="waiting") == 1
    assert number("kvops_backup_age_seconds", environment="production", light="never") == float("inf")
    assert (number("kvops_run_waiting_seconds") or 0) >= 60
    assert (number("kvops_audit_entries_total") or 0) > 0


def test_answers_of_cloudflare_are_a_histogram(busy: make.Estate) -> None:
    with clients.reader(busy.qa.environment) as reader:
        reader.namespace(busy.qa.namespace_id)
    assert number("kvops_cloudflare_answer_seconds_count", route="namespace", status="200") == 1
    assert number("kvops_cloudflare_answer_seconds_bucket", route="namespace", status="200", le="+Inf") == 1
    assert (number("kvops_request_budget_left", environment="qa") or 960) < 960


def test_work_that_stopped_is_a_number(busy: make.Estate) -> None:
    Heartbeat.objects.of("worker").update(at=Now() - timedelta(hours=1))
    assert number("kvops_work_goes_on") == 0


def test_waiting_requests_are_counted(busy: make.Estate, people: make.People) -> None:
    with log.transaction():
        approval_gate.submit(
            ApprovalRequest.Kind.DELETE_KEYS, subject="stage:1", title="x", evidence={}, requester=people.operator
        )
    assert number("kvops_approvals_waiting", kind="delete_keys") == 1


def test_no_label_has_the_name_of_a_key(busy: make.Estate) -> None:
    assert "master:1" not in scraped()


def test_only_known_hosts_read_it(settings: Settings, people: make.People) -> None:
    settings.KVOPS_METRICS_HOSTS = ()
    for client in (Client(), signed_in(people.operator)):
        assert client.get("/metrics").status_code == 403
    settings.KVOPS_METRICS_TOKEN = "t" * 40
    assert Client().get("/metrics", HTTP_AUTHORIZATION=f"Bearer {'t' * 40}").status_code == 200


def test_without_a_database_there_are_no_numbers() -> None:
    sql("ALTER TABLE kvops_heartbeat RENAME COLUMN at TO elsewhere")
    answer = Client().get("/metrics")
    assert (answer.status_code, answer.content) == (503, b"unavailable\n")


# The examples


def named() -> dict[str, set[str]]:
    """The metrics that each example file names."""
    return {path.name: set(re.findall(r"\bkvops_[a-z_]+", path.read_text())) for path in sorted(MONITORING.iterdir())}


def test_the_examples_name_only_metrics_that_there_are(busy: make.Estate) -> None:
    with clients.reader(busy.qa.environment) as reader:
        reader.namespace(busy.qa.namespace_id)
    families = list(text_string_to_metric_families(scraped()))
    there = {one.name for family in families for one in family.samples} | {"kvops_approvals_waiting"}
    assert set(named()) == {"alerts.yml", "dashboard.json"}
    assert {name: found - there for name, found in named().items() if found - there} == {}


def test_each_metric_is_on_the_dashboard(busy: make.Estate) -> None:
    families = {family.name for family in text_string_to_metric_families(scraped())}
    shown = named()["dashboard.json"]
    assert {name for name in families if not any(one.startswith(name) for one in shown)} == set()


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    panels = dashboard["panels"]
    assert all(panel["targets"] and panel["title"] and panel["datasource"] for panel in panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len({panel["id"] for panel in panels}) == len(panels)


def test_prometheus_accepts_the_alert_rules() -> None:
    # `promtool` comes with Debian's package prometheus, which .ci/system installs.
    done = subprocess.run(
        ["promtool", "check", "rules", str(MONITORING / "alerts.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 rules found" in done.stdout


def test_prometheus_accepts_what_it_scrapes(busy: make.Estate) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scraped(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
