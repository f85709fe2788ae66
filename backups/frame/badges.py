"""Numbers of the menu about backups and clean-ups, as rows to be counted."""

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now, TruncDate

from backups.cleanup import next_action
from backups.integrity import cases
from backups.models import Check, CleanupStage, DifferenceCase, OutsideSearch, Reappearance, StoredObject
from kvops.models import Environment, Person


def waiting_stages(_person: Person) -> QuerySet[CleanupStage]:
    """The stages of open clean-ups whose next step is an operator's."""
    return next_action.operators_turn()


def wrong_stages(_person: Person) -> QuerySet[CleanupStage]:
    """The stages with reappeared keys, and those that differ from D1 until they are accepted."""
    failed = Q(check_after__outcome=Check.Outcome.FAILED) | Q(dataset_check_after__outcome=Check.Outcome.FAILED)
    reappeared = Q(pk__in=Reappearance.objects.unseen().values("stage"))
    differing = failed & Q(state=CleanupStage.State.CONFIRMED, after_accepted=False)
    return CleanupStage.objects.filter(reappeared | differing)


def unattended_checks(_person: Person) -> QuerySet[Check]:
    """The newest checks of KV with differences that nobody looks into."""
    return cases.without_a_case()


def overdue_cases(person: Person) -> QuerySet[DifferenceCase]:
    """The person's open cases of differences with D1 whose day is over."""
    return DifferenceCase.objects.still_open().filter(owner=person, due__lt=TruncDate(Now()))


def differing_buckets(_person: Person) -> QuerySet[Environment]:
    """The environments with a backup whose object is missing from the bucket, or was changed in it."""
    wrong = StoredObject.objects.needing_a_look().filter(status__in=StoredObject.WRONG)
    return Environment.objects.filter(Exists(wrong.filter(environment=OuterRef("pk"))))


def outside_searches(_person: Person) -> QuerySet[OutsideSearch]:
    """The searches for changes of settings outside KVOps that nobody explained."""
    return OutsideSearch.objects.unexplained()
