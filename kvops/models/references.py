"""Code references to the keys: searches with their hits, people's answers, and the code that is deployed."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kvops.models.categories import Family
from kvops.models.environments import Environment
from kvops.models.people import Person


class ReferenceSearch(models.Model):
    """One search of an environment's code for code references. Neither it nor its hits are ever edited.

    `searched_at` is the time of the search, `at` the time of its arrival here. A search of a deployed Worker names its
    version and etag; a search of a checkout names its repository and its commit. `unparsed` has the files that could
    not be parsed. `place` is the searched folder, or the name of the file. `content` is the digest of the hits without
    their time. `fewer_than` is an earlier search with more files or hits than this one, which came as a file.
    """

    seen_before: bool = False
    """Set by `store` if the search had arrived before."""

    class Source(models.TextChoices):
        """How the hits came here."""

        CHECKOUT = "checkout", _("checkout on this machine")
        FILE = "file", _("file of a search elsewhere")
        WORKER = "worker", _("deployed script")

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="searches")
    source = models.CharField(max_length=10, choices=Source)
    commit = models.CharField(max_length=100, blank=True)
    worker = models.CharField(max_length=100, blank=True)
    version = models.CharField(max_length=100, blank=True)
    etag = models.CharField(max_length=200, blank=True)
    files = models.PositiveIntegerField()
    hit_count = models.PositiveIntegerField()
    unparsed = models.JSONField(default=list)
    repository = models.CharField(max_length=200, blank=True, db_default="")
    place = models.CharField(max_length=300, blank=True, db_default="")
    content = models.CharField(max_length=64, blank=True, db_default="")
    fewer_than = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    digest = models.CharField(max_length=64)
    searched_at = models.DateTimeField()
    by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    made_by = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "digest"], name="search_arrives_once"),
            models.CheckConstraint(name="search_has_files", condition=Q(files__gt=0)),
            models.CheckConstraint(
                name="search_names_its_code",
                condition=Q(source="worker") & ~Q(worker="") & ~Q(version="")
                | ~Q(source="worker") & ~Q(commit="") & Q(worker="", version="", etag=""),
            ),
        ]
        indexes = [models.Index(fields=["environment", "-searched_at"], name="search_newest")]

    def __str__(self) -> str:
        return f"search of {self.worker or self.commit[:12]} in {self.environment.slug}"


class ReferenceHit(models.Model):
    """One place in the code that may use keys. `family` is written as "SETTINGS master:*", "SETTINGS *" or "*".

    `fingerprint` is the SHA-256 over file, text and context; an answer carries over by it.
    """

    class Certainty(models.TextChoices):
        """How sure it is that the place uses the family."""

        CERTAIN = "certain", _("certain")
        POSSIBLE = "possible", _("possible")
        UNKNOWN = "unknown", _("cannot be told")

    class Access(models.TextChoices):
        """What the place does with the keys."""

        READ = "read", _("reads")
        WRITE = "write", _("writes")
        LIST = "list", _("lists")
        DELETE = "delete", _("deletes")
        UNKNOWN = "unknown", _("cannot be told")

    search = models.ForeignKey(ReferenceSearch, on_delete=models.PROTECT, related_name="hits")
    file = models.TextField()
    line = models.PositiveIntegerField()
    column = models.PositiveIntegerField()
    certainty = models.CharField(max_length=10, choices=Certainty)
    access = models.CharField(max_length=10, choices=Access)
    family = models.TextField(db_collation="C")
    text = models.TextField()
    context = models.JSONField(default=list)
    fingerprint = models.CharField(max_length=64)

    class Meta:
        indexes = [models.Index(fields=["search", "family"], name="hit_of_family")]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class ReferenceAnswer(models.Model):
    """A person's answer to a hit, for one family. The newest answer with the hit's fingerprint counts.

    A follow-up names what is to be done, its owner and its due date. A later search of its own code closes it, if that
    code runs in its environment and no search that counts has such a hit. A line that moved is still such a hit, and so
    is a file that could not be parsed. The database takes an answer only from an operator, at its time, for a family of
    the hit.
    """

    class Kind(models.TextChoices):
        """The answer."""

        UNRELATED = "unrelated", _("unrelated")
        FALLS_BACK = "falls_back", _("falls back safely")
        FOLLOW_UP = "follow_up", _("follow-up")

    class FollowUp(models.TextChoices):
        """What the follow-up changes in the code."""

        D1 = "d1", _("switch to D1")
        REGENERATION = "regeneration", _("switch to regeneration")
        FLAG = "flag", _("remove the flag or fallback")

    family = models.ForeignKey(Family, on_delete=models.PROTECT, related_name="+")
    hit = models.ForeignKey(ReferenceHit, on_delete=models.PROTECT, related_name="+")
    fingerprint = models.CharField(max_length=64)
    kind = models.CharField(max_length=20, choices=Kind)
    reason = models.TextField()
    follow_up = models.CharField(max_length=20, choices=FollowUp, blank=True)
    owner = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    due = models.DateField(null=True, blank=True)
    by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())
    closed_by = models.ForeignKey(ReferenceSearch, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="answer_has_a_reason", condition=~Q(reason="")),
            models.CheckConstraint(
                name="follow_up_has_an_owner_and_a_date",
                condition=Q(kind="follow_up", owner__isnull=False, due__isnull=False) & ~Q(follow_up="")
                | ~Q(kind="follow_up") & Q(owner__isnull=True, due__isnull=True, follow_up=""),
            ),
            models.CheckConstraint(
                name="only_a_search_closes_a_follow_up",
                condition=Q(closed_by__isnull=True, closed_at__isnull=True)
                | Q(kind="follow_up", closed_by__isnull=False, closed_at__isnull=False),
            ),
        ]
        indexes = [models.Index(fields=["family", "fingerprint", "-id"], name="answer_newest")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.hit}"


PREVIEW = "preview"
"""The version of a row for the preview deployments of a Pages project."""


class DeployedCode(models.Model):
    """A Worker or a Pages project that is deployed in an environment and binds KV, as Cloudflare last told it.

    `commit` is the commit of a Pages deployment, empty if Cloudflare names none; `dirty` says that the checkout held
    other changes. `bindings` maps the binding's name in the code to the id of the namespace.
    """

    class Kind(models.TextChoices):
        """What kind of deployment it is."""

        WORKER = "worker", _("Worker")
        PAGES = "pages", _("Pages project")

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="deployed")
    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(max_length=100)
    deployment = models.CharField(max_length=100, blank=True)
    version = models.CharField(max_length=100, blank=True)
    etag = models.CharField(max_length=200, blank=True)
    commit = models.CharField(max_length=100, blank=True)
    dirty = models.BooleanField(default=False)
    bindings = models.JSONField(default=dict)
    deployed_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "kind", "name", "version"], name="deployed_once"),
        ]

    def __str__(self) -> str:
        kind = _("Previews of the Pages project") if self.version == PREVIEW else self.get_kind_display()
        return f"{kind} {self.name}"


class DeployedLook(models.Model):
    """The newest look at an environment's deployed code. `problem` is empty, or the reason why it is not known."""

    environment = models.OneToOneField(Environment, on_delete=models.PROTECT, related_name="deployed_look")
    at = models.DateTimeField()
    problem = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"deployed code of {self.environment.slug}"
