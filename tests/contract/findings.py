"""The findings of a run on a real account: for each test whether Cloudflare behaves so, and the consequence if not."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from backups.bucket.store import NotOffered, StoreUnavailable
from kvops.cloudflare import ApiError, RateLimited, TransportError
from tests.contract.account import AllowanceSpent

EXPECTED, UNKNOWN, DIFFERS = "as expected", "not known", "differs"
NO_ANSWER = (AllowanceSpent, RateLimited, TransportError, StoreUnavailable, NotOffered)
BY_FILE = {
    "test_account": "Scans and deletions take one error for another, and name the wrong cure.",
    "test_buckets": "The page of storage and the gate judge the protection of a bucket wrongly.",
    "test_code": "It is not known which code is deployed, or other code is taken for it.",
    "test_listing": "Scans, and so backups and deletions, see too many or too few keys.",
    "test_objects": "No backup can be verified.",
    "test_reading": "Backups hold other values, metadata or expirations.",
    "test_writing": "Restores, changes and deletions cannot settle their writes.",
}
CONSEQUENCES = {
    "test_a_read_token_cannot_put_or_delete": "The web server and the scans hold a token that can write.",
    "test_a_read_token_cannot_put_a_single_value": "The web server and the scans hold a token that can write.",
    "test_an_unknown_namespace_is_404_with_its_code": "A lost namespace looks like a deleted key: a deletion could be"
    " called proven.",
    "test_every_answer_tells_the_rate_limit_and_its_request_id": "KVOps does not make room for colleagues who use the"
    " same user's limit.",
    "test_answers_tell_the_time": "A wrong clock is not noticed, and deletions go on with it.",
    "test_d1_tells_bytes_as_a_list_and_takes_parameters_as_text": "Checks against D1 report fields as different that"
    " are equal.",
    "test_d1_gives_rows_in_pages_by_key": "Checks against D1 and exports miss rows or read them twice.",
    "test_d1_refuses_bad_sql": "A page of D1 that is too large is not asked for again with fewer rows.",
    "test_names_come_in_the_order_of_their_bytes": "Scans compare two ordered lists: keys are taken for new or gone.",
    "test_a_cursor_that_is_none_is_refused": "A scan whose cursor expired does not start again, or loses keys.",
    "test_a_missing_key_is_404_with_its_code": "A missing key is an error: reads before a delete and read-backs stop.",
    "test_a_missing_key_is_null_in_a_bulk_get": "Proofs of a deletion read each missing key singly, which spends the"
    " request budget.",
    "test_bulk_get_takes_a_hundred_names": "Backups and reads before a delete fail on each batch.",
    "test_a_bulk_get_of_over_25_mib_has_all_or_is_too_large": "Backups of large values stop: the batch is halved only"
    " after a 413.",
    "test_a_damaged_value_of_a_bulk_get_is_noticed": "Damaged values are not noticed in a bulk get: backups hold wrong"
    " bytes.",
    "test_a_name_like_an_attack_is_read_or_its_path_is_refused_with_a_page": "The fallback to a bulk read does not"
    " begin: backups of such names stop.",
    "test_deleting_a_missing_key_succeeds": "A repeated deletion of a chunk is reported as contradicting itself.",
    "test_a_deleted_key_is_gone_from_every_route": "Deletions are proven late, or reported as reappeared.",
    "test_a_put_replaces_value_expiration_and_metadata": "Restores and changes read back an old value and end as not"
    " verified.",
    "test_an_expiration_less_than_a_minute_ahead_is_refused": "Restores would write keys that are gone before they are"
    " read back.",
    "test_a_put_over_an_object_is_refused_and_the_first_bytes_stay": "A backup could be overwritten by another one. Do"
    " not back up into this bucket.",
    "test_the_same_put_again_finds_the_object_as_it_is": "A backup whose answer was lost cannot continue.",
    "test_a_missing_object_is_missing": "A lost part of a backup is reported as no answer.",
    "test_a_listing_is_in_byte_order_and_goes_on_after_a_name": "Lost and foreign objects of a bucket are not found, or"
    " found wrongly.",
    "test_an_upload_in_parts_is_listed_until_it_is_aborted": "/storage/ does not show what other tools left"
    " unfinished.",
    "test_a_locked_object_is_neither_deleted_nor_overwritten": "Backups are not protected. KVOps must not delete keys"
    " with such a bucket.",
    "test_r2_tells_the_time": "The clock of R2 is compared with nothing.",
}
"""The consequence of a test that differs, where it is another one than that of its file."""


@dataclass
class Finding:
    """The outcome of a test, the worst of all its parameters."""

    consequence: str
    state: str = EXPECTED
    seen: str = ""

    def add(self, state: str, seen: str) -> None:
        """One more outcome."""
        order = (EXPECTED, UNKNOWN, DIFFERS)
        if order.index(state) > order.index(self.state):
            self.state, self.seen = state, seen


@dataclass
class Findings:
    """The plugin that collects the outcomes."""

    found: dict[str, Finding] = field(default_factory=dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Function, call: pytest.CallInfo[None]
    ) -> Iterator[None]:  # the report goes through
        """Take the outcome of a test."""
        report = yield
        name = item.function.__name__
        consequence = CONSEQUENCES.get(name, BY_FILE[item.path.stem])
        finding = self.found.setdefault(name, Finding(consequence))
        if call.excinfo is not None:
            finding.add(*_told(call.excinfo.value, item.name.removeprefix(name)))
        return report

    @property
    def differ(self) -> bool:
        """Whether something differs."""
        return any(one.state == DIFFERS for one in self.found.values())

    def lines(self) -> Iterator[str]:
        """The report for people."""
        for name, one in self.found.items():
            yield f"{one.state:11} {name.removeprefix('test_').replace('_', ' ')}"
            if one.seen:
                yield f"            seen: {one.seen}"
            if one.state == DIFFERS:
                yield f"            what breaks: {one.consequence}"
        states = [one.state for one in self.found.values()]
        yield ", ".join(f"{states.count(state)} {state}" for state in (EXPECTED, DIFFERS, UNKNOWN))


def _told(error: BaseException, parameters: str) -> tuple[str, str]:
    """The state that an error means, and its first line."""
    words = (str(error) or type(error).__name__).splitlines()[0][:300]
    no_answer = isinstance(error, (*NO_ANSWER, pytest.skip.Exception)) or (
        isinstance(error, ApiError) and error.status >= 500
    )
    return (UNKNOWN, words) if no_answer else (DIFFERS, f"{words} {parameters}".strip())
