"""Objects with a few fields, as the answers of `gather.ask`: several lists of a page in one statement."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model, QuerySet
from django.db.models.constants import LOOKUP_SEP

from kvops.web.gather import Gathered, Question


class Objects[Of: Model]:
    """A question for objects with the named fields; `environment__name` is the name of the object's environment.

    A name may be an annotation, whose value has a type of JSON. Any other field is read by a query of its own as soon
    as somebody asks for it.
    """

    def __init__(self, found: QuerySet[Of], *names: str) -> None:
        parts = [name.split(LOOKUP_SEP) for name in names]
        paths = {LOOKUP_SEP.join([*part[:length], "pk"]) for part in parts for length in range(len(part))}
        self._model = found.model
        self._names = [*sorted({"pk", *paths}), *(name for name in names if name not in paths)]
        self.question: Question = found.values_list(*self._names)

    def of(self, answers: Gathered, name: str) -> list[Of]:
        """The objects of the answer to the question."""
        return [_object(self._model, dict(zip(self._names, row, strict=True))) for row in answers[name]]


def whole_objects[Of: Model](found: QuerySet[Of]) -> Objects[Of]:
    """A question for objects with all their fields."""
    return Objects(found, *(field.name for field in found.model._meta.concrete_fields if not field.primary_key))


def _object(model: type[Any], values: Mapping[str, Any]) -> Any:
    """The object with these values; None without a key, where a relation is empty."""
    if values["pk"] is None:
        return None
    known = {name: field for field in model._meta.concrete_fields for name in (field.name, field.attname)}
    own: dict[str, Any] = {}
    annotated: dict[str, Any] = {}
    related: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in values.items():
        first, _, rest = name.partition(LOOKUP_SEP)
        field = model._meta.pk if first == "pk" else known.get(first)
        if rest:
            related[first][rest] = value
        if field is None:
            annotated[first] = value
        elif rest in {"", "pk"}:
            own[field.attname] = field.to_python(value)
    fields = [field.attname for field in model._meta.concrete_fields if field.attname in own]
    made = model.from_db(DEFAULT_DB_ALIAS, fields, [own[field] for field in fields])
    vars(made).update(annotated)
    for name, of_relation in related.items():
        setattr(made, name, _object(known[name].related_model, of_relation))
    return made
