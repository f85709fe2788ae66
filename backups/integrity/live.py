"""Starts a check of KV as it is now, and says before what it costs.

A family with more keys than it reads is checked by its backup, which reads them at its own pace.
"""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from backups.integrity import start as check_start
from backups.integrity.live_side import LISTINGS, MOST
from backups.integrity.start import CheckRefused
from backups.models import Check, Dataset, Generation
from kvops import timing
from kvops.cloudflare import BULK_GET_LIMIT
from kvops.connections import prices
from kvops.models import Key, Namespace, Person, Run, Scan
from kvops.runs import driver as run_driver
from kvops.wording import say


@dataclass(frozen=True)
class LivePlan:
    """What a check can read for a dataset in a namespace: its newest backup, or KV now.

    `keys` is their number by the newest scan, at most one more than a live check reads; None without a scan.
    """

    dataset: Dataset
    namespace: Namespace
    backup: Generation | None
    keys: int | None

    @property
    def too_many(self) -> bool:
        """Whether there are more keys than a live check reads."""
        return self.keys is not None and self.keys > MOST

    @property
    def why_not(self) -> str | Promise:
        """The reason why KV cannot be read now; empty if it can."""
        if not self.too_many:
            return ""
        sentence = _("There are more than %(most)s keys under %(prefix)s. Make a backup, and check the backup.")
        return say(sentence, most=f"{MOST:,}", prefix=self.dataset.prefix)

    @property
    def cost(self) -> prices.Cost:
        """The requests to KV at most. The queries to D1 come on top: one for 5,000 rows."""
        keys = MOST if self.keys is None else min(self.keys, MOST)
        single = "{" not in self.dataset.key
        lists = 0 if single else LISTINGS
        reads = 1 if single else keys
        requests = lists + -(-reads // BULK_GET_LIMIT)
        return prices.Cost(
            operations={"read": reads, "list": lists},
            requests=requests,
            seconds=prices.seconds_for(requests, calls=timing.BUDGET_CALLS, window=timing.BUDGET_WINDOW),
        )


def plan(dataset: Dataset, namespace: Namespace) -> LivePlan:
    """What a check of the dataset in this namespace can read."""
    whole = Generation.objects.of_kv().whole().here().filter(namespace=namespace, prefixes=[dataset.prefix])
    keys = None
    if Scan.objects.filter(namespace=namespace).complete().covering(dataset.prefix).exists():
        keys = Key.objects.filter(namespace=namespace).under(dataset.prefix)[: MOST + 1].count()
    return LivePlan(dataset, namespace, whole.order_by("-started_at", "-pk").first(), keys)


def start_live_check(dataset: Dataset, namespace: Namespace, *, actor: log.Actor, person: Person | None) -> Check:
    """Start the comparison of KV as it is now with D1. Raises CheckRefused and run_driver.AlreadyOpen."""
    if namespace.binding != dataset.binding:
        raise CheckRefused(_("The dataset is of another binding."))
    if why := plan(dataset, namespace).why_not:
        raise CheckRefused(why)
    check_start.insist_usable(dataset, namespace.environment)
    with log.transaction():
        run = run_driver.create(
            Run.Kind.CHECK,
            subject=f"dataset:{namespace.environment_id}/{dataset.pk}/live",
            label=f"{dataset.name}: KV {namespace}"[:300],
            actor=actor,
            person=person,
            environment=namespace.environment,
        )
        return check_start.create(
            run, dataset, namespace.environment, actor, namespace=namespace, source=f"{namespace} now"
        )
