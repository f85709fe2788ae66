"""A changed rule in the reader's words."""

from django.utils import translation

from kvops.inventory.differences import words


def test_no_rotation_is_said_in_words_and_not_as_zero_days() -> None:
    with translation.override("en"):
        said = words(
            {"thing": "family", "name": "SETTINGS mail:*", "how": "changed", "fields": {"rotate_days": [90, 0]}}
        )
    assert [(one.old, one.new) for one in said.fields] == [("90", "never rotated")]
