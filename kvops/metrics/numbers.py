"""The metrics and where each number comes from."""

from collections import defaultdict
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, Min
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from audit.models import Head
from kvops import clock, rollback
from kvops.connections.answers import WITHIN
from kvops.connections.budget import SharedBudget
from kvops.models import AnswerCount, ApprovalRequest, Environment, Notification, RefusedToken, Run
from kvops.operations import registry
from kvops.operations.parts import Question
from kvops.overview import estate
from kvops.supervision import heartbeats, work


class Numbers(Collector):
    """Every metric, read anew at each scrape."""

    def collect(self) -> Iterator[Metric]:
        """The metrics of background work first, then those of each part."""
        yield _gauge("kvops_build_info", "The version of the product.", {"version": settings.VERSION}, 1.0)
        yield _gauge("kvops_work_goes_on", "1 while /healthz/work answers 200.", {}, float(not work.missing()))
        yield from (_heartbeats(), _runs(), _waiting_runs(), _keys(), _backups(), _budget(), _answers())
        yield from (_refused_tokens(), _rolled_back(), _approvals(), *_outbox(), _audit_head())


def _gauge(name: str, text: str, labels: dict[str, str], value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _heartbeats() -> Metric:
    ages = GaugeMetricFamily(
        "kvops_heartbeat_age_seconds",
        "Seconds since worker, sweep and an executed task (canary) were seen, by host; absent if never.",
        labels=["name", "host"],
    )
    now = clock.now()
    # The one seen longest ago comes first: it counts for a host with several workers.
    oldest = {(one.process, one.host): one.at for one in reversed(heartbeats.seen())}
    for (name, host), at in oldest.items():
        ages.add_metric([name, host], (now - at).total_seconds())
    return ages


def _runs() -> Metric:
    runs = GaugeMetricFamily("kvops_runs", "Runs by kind and state.", labels=["kind", "state"])
    for kind, state, count in Run.objects.order_by().values_list("kind", "state").annotate(Count("pk")):
        runs.add_metric([kind, state], count)
    return runs


def _waiting_runs() -> Metric:
    waiting = GaugeMetricFamily(
        "kvops_run_waiting_seconds",
        "The longest wait of a run for a service, without progress.",
        labels=["environment"],
    )
    now = clock.now()
    found = Run.objects.open().filter(waiting_since__isnull=False).order_by()
    for environment, since in found.values_list("environment__slug").annotate(Min("waiting_since")):
        waiting.add_metric([environment or ""], (now - since).total_seconds())
    return waiting


def _keys() -> Metric:
    keys = GaugeMetricFamily("kvops_keys", "Keys at the newest scan.", labels=["environment", "binding", "category"])
    for column in estate.Estate().columns:
        for held in column.holdings:
            for category, count in held.categories:
                keys.add_metric([column.environment.slug, held.namespace.binding, category], count)
    return keys


def _backups() -> Metric:
    ages = GaugeMetricFamily(
        "kvops_backup_age_seconds",
        "Seconds since the newest verified backup of a family that expects one; +Inf if it was never backed up.",
        labels=["environment", "binding", "family", "light"],
    )
    for labels, age in registry.ask(Question.BACKUP_AGES):
        ages.add_metric(labels, age)
    return ages


def _budget() -> Metric:
    left = GaugeMetricFamily(
        "kvops_request_budget_left", "Requests to Cloudflare that could be sent now.", labels=["environment"]
    )
    for environment in Environment.objects.order_by("order"):
        left.add_metric([environment.slug], SharedBudget.of(environment).left().calls)
    return left


def _answers() -> Metric:
    family = HistogramMetricFamily(
        "kvops_cloudflare_answer_seconds",
        "Answers of Cloudflare by call and status, with the seconds until each was read; status 0 is no answer.",
        labels=["route", "status"],
    )
    counts: dict[tuple[str, int], dict[float, int]] = defaultdict(dict)
    seconds: dict[tuple[str, int], float] = defaultdict(float)
    for one in AnswerCount.objects.order_by("route", "status"):
        counts[one.route, one.status][one.within] = one.answers
        seconds[one.route, one.status] += one.seconds
    for (route, answer), found in counts.items():
        total, buckets = 0, []
        for bound in WITHIN:
            total += found.get(bound, 0)
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
        family.add_metric([route, str(answer)], buckets, seconds[route, answer])
    return family


def _refused_tokens() -> Metric:
    refused = GaugeMetricFamily(
        "kvops_refused_token", "1 for each secret that a service refuses.", labels=["environment", "reference"]
    )
    for environment, reference in RefusedToken.objects.filter(over_at=None).values_list(
        "environment__slug", "reference"
    ):
        refused.add_metric([environment, reference], 1.0)
    return refused


def _rolled_back() -> Metric:
    text = (
        "1 while a bucket holds a backup that the database does not know, so that KVOps is read-only until"
        " accept_restored_database accepts it."
    )
    return _gauge("kvops_database_rolled_back", text, {}, float(rollback.rollback_in_force() is not None))


def _approvals() -> Metric:
    waiting = GaugeMetricFamily("kvops_approvals_waiting", "Requests that wait for a decision.", labels=["kind"])
    pending = ApprovalRequest.objects.filter(state=ApprovalRequest.State.PENDING).order_by()
    for kind, count in pending.values_list("kind").annotate(Count("pk")):
        waiting.add_metric([kind], count)
    return waiting


def _outbox() -> Iterator[Metric]:
    undelivered = Notification.objects.undelivered().order_by()
    messages = GaugeMetricFamily("kvops_outbox_messages", "Messages that are not delivered.", labels=["state"])
    for state, count in undelivered.values_list("state").annotate(Count("pk")):
        messages.add_metric([state], count)
    yield messages
    oldest = undelivered.exclude(state=Notification.State.FAILED).aggregate(Min("created_at"))["created_at__min"]
    age = (clock.now() - oldest).total_seconds() if oldest else 0.0
    yield _gauge("kvops_outbox_oldest_seconds", "The age of the oldest message that waits to be sent.", {}, age)


def _audit_head() -> Metric:
    head = Head.objects.values_list("seq", flat=True).first()
    return CounterMetricFamily(
        "kvops_audit_entries", "The number of the newest entry of the audit log.", value=head or 0
    )
