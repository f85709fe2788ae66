"""Objects with a few fields, as the answers of `gather.ask`: several lists of a page in one statement."""

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model, QuerySet

from kvops.web.gather import Gathered, Question


class Objects[Of: Model]:
    """A question for objects with the named fields.

    Any other field is read by a query of its own as soon as somebody asks for it.
    """

    def __init__(self, found: QuerySet[Of], *names: str) -> None:
        self._model, fields = found.model, found.model._meta.concrete_fields
        self._fields = [one for one in fields if one.primary_key or one.name in names or one.attname in names]
        self._names = [one.attname for one in self._fields]
        self.question: Question = found.values_list(*self._names)

    def of(self, answers: Gathered, name: str) -> list[Of]:
        """The objects of the answer to the question."""
        return [
            self._model.from_db(
                DEFAULT_DB_ALIAS,
                self._names,
                [field.to_python(value) for field, value in zip(self._fields, row, strict=True)],
            )
            for row in answers[name]
        ]


def whole_objects[Of: Model](found: QuerySet[Of]) -> Objects[Of]:
    """A question for objects with all their fields."""
    return Objects(found, *(field.name for field in found.model._meta.concrete_fields))
