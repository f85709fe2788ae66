"""How Postgres answers a query: by which index, if the table is as large as that of a real installation."""

from typing import Any

from django.db import connection
from django.db.models import Model, QuerySet


def plan_of(found: QuerySet[Any], *analyzed: type[Model]) -> str:
    """The plan of the query, after the statistics of these tables were gathered."""
    with connection.cursor() as cursor:
        for model in analyzed:
            cursor.execute(f"ANALYZE {model._meta.db_table}")
    return found.explain()
