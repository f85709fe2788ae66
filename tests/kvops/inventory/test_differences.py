"""A changed rule in the reader's words."""

from django.utils import translation

from kvops.inventory.differences import words


def test_no_expected_backup_is_said_in_words_and_not_as_zero_hours() -> None:
    with translation.override("en"):
        said = words(
            {"thing": "family", "name": "SETTINGS mail:*", "how": "changed", "fields": {"interval_hours": [168, 0]}}
        )
    assert [(one.old, one.new) for one in said.fields] == [("168", "no backup is expected")]
