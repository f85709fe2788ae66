"""A search of the code that runs, its hits, and the answers to them, as rows."""

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.db.models.functions import Now

from kvops import clock
from kvops.models import (
    DeployedCode,
    DeployedLook,
    Environment,
    Family,
    Namespace,
    Person,
    ReferenceAnswer,
    ReferenceHit,
    ReferenceSearch,
)

COMMIT = "4f2a91c"


def code(*environments: Environment, hits: Sequence[str] = (), commit: str = COMMIT) -> None:
    """The code of these environments, which runs there, was searched now; a hit is named as `_hit` reads it."""
    for environment in environments:
        runs(environment, commit)
        search(environment, hits=hits, commit=commit)


def once(*environments: Environment, hits: Sequence[str] = ()) -> None:
    """As `code`, in those environments that have no search yet."""
    code(*(one for one in environments if not ReferenceSearch.objects.filter(environment=one).exists()), hits=hits)


def runs(environment: Environment, commit: str = COMMIT) -> None:
    """A Pages project of this commit binds the namespaces. It was looked at so late that it holds for every test."""
    bindings = dict(Namespace.objects.filter(environment=environment).values_list("binding", "namespace_id"))
    deployed = {"commit": commit, "bindings": bindings, "seen_at": Now()}
    DeployedCode.objects.update_or_create(environment=environment, kind="pages", name="site", defaults=deployed)
    look = {"at": Now() + timedelta(days=365), "problem": ""}
    DeployedLook.objects.update_or_create(environment=environment, defaults=look)


def search(
    environment: Environment,
    *,
    hits: Sequence[str] = (),
    commit: str = COMMIT,
    worker: str = "",
    ago: timedelta = timedelta(),
    **more: Any,
) -> ReferenceSearch:
    """One more search, so long ago: of a checkout, or of a deployed Worker."""
    number = ReferenceSearch.objects.count()
    code = (
        {"source": "worker", "worker": worker, "version": "9"} if worker else {"source": "checkout", "commit": commit}
    )
    made = ReferenceSearch.objects.create(
        environment=environment, hit_count=len(hits), digest=f"{number:064}", searched_at=clock.now() - ago,
        **{"files": 3, "made_by": "tests", **code, **more},
    )  # fmt: skip
    ReferenceHit.objects.bulk_create(_hit(made, text) for text in hits)
    return made


def _hit(of: ReferenceSearch, text: str) -> ReferenceHit:
    """A hit from its text: `src/a.ts:7 write certain SETTINGS master:*`."""
    place, access, certainty, family = text.split(" ", 3)
    file, line = place.rsplit(":", 1)
    return ReferenceHit(
        search=of, file=file, line=int(line), column=1, certainty=certainty, access=access, family=family,
        text="env.SETTINGS.get(key)", context=["const key = name;", "env.SETTINGS.get(key)", "}"],
        fingerprint=sha256(f"{file}:{line} {access}".encode()).hexdigest(),
    )  # fmt: skip


def answered(environment: Environment, family: Family, by: Person, **more: Any) -> None:
    """Every hit of the newest search has an answer for the family."""
    newest = ReferenceSearch.objects.filter(environment=environment).latest("searched_at")
    ReferenceAnswer.objects.bulk_create(
        ReferenceAnswer(
            family=family,
            hit=hit,
            fingerprint=hit.fingerprint,
            by=by,
            **{"kind": "falls_back", "reason": "reads D1 first", **more},
        )
        for hit in newest.hits.all()
    )
