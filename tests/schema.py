"""The schema of our tables as text that can be compared: tables, constraints, indexes, triggers, functions and grants.

One block per table and one per function. The order of columns, the layout of a function's source, and names that
Postgres or Django make up from a table's name are left out, so that only a real difference shows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from hashlib import sha256

from django.db.backends.utils import CursorWrapper

_OURS = "relnamespace = 'public'::regnamespace AND relname ~ '^(audit|kvops|backups)_'"
_TABLES = f"""
    SELECT relname, relkind::text, relpersistence::text, relrowsecurity, reloptions FROM pg_class
    WHERE {_OURS} AND relkind IN ('r', 'p', 'v', 'm')
"""
_COLUMNS = f"""
    SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, attidentity::text, attgenerated::text,
           pg_get_expr(adbin, adrelid), nullif(collname, 'default'),
           CASE WHEN attstorage <> typstorage THEN attstorage::text END
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    JOIN pg_type ON pg_type.oid = atttypid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    LEFT JOIN pg_collation ON pg_collation.oid = attcollation
    WHERE {_OURS} AND relkind IN ('r', 'p', 'v', 'm')
"""
# From version 18 on Postgres lists each NOT NULL as a constraint of type n. The columns say it here.
_CONSTRAINTS = f"""
    SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid)
    FROM pg_class JOIN pg_constraint ON conrelid = pg_class.oid
    WHERE {_OURS} AND contype NOT IN ('n', 't')
"""
_INDEXES = f"""
    SELECT relname, (SELECT i.relname FROM pg_class i WHERE i.oid = indexrelid), pg_get_indexdef(indexrelid)
    FROM pg_class JOIN pg_index ON indrelid = pg_class.oid
    WHERE {_OURS} AND NOT EXISTS (
        SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
"""
_TRIGGERS = """
    SELECT relname, tgname, pg_get_triggerdef(pg_trigger.oid), tgenabled::text
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace
"""
_FUNCTIONS = """
    SELECT pg_get_functiondef(oid) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proname ~ '^(audit|kvops|backups)_'
"""
_GRANTS = f"""
    SELECT relname, pg_get_userbyid(grantee), string_agg(privilege_type, ', ' ORDER BY privilege_type), NULL
    FROM pg_class, aclexplode(relacl) WHERE {_OURS} AND relkind <> 'S' AND grantee <> relowner
    GROUP BY relname, grantee
    UNION ALL
    SELECT relname, pg_get_userbyid(grantee), privilege_type, attname
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl) WHERE {_OURS}
"""
_MADE_UP = re.compile(r"(audit|kvops|backups)_\w*_(pkey|key|check|fkey|[0-9a-f]{8}(_\w+)?)")


def schema(cursor: CursorWrapper, roles: Mapping[str, str]) -> str:
    """Describe what the database holds. `roles` maps the name of a database role to the name that the text gives it."""
    tables: dict[str, list[str]] = {}
    for table, kind, persistence, secured, options in _rows(cursor, _TABLES):
        notes = [{"r": "table", "p": "partitioned", "v": "view", "m": "materialized"}[kind], table]
        notes += ["unlogged"] if persistence == "u" else []
        notes += ["row security"] if secured else []
        tables[table] = [" ".join([*notes, *sorted(options or [])])]
    for table, line in [*_columns(cursor), *_constraints(cursor), *_triggers(cursor), *_grants(cursor, roles)]:
        tables.setdefault(table, [f"table {table} of another application"]).append(f"  {line}")
    functions = [_function(definition) for (definition,) in _rows(cursor, _FUNCTIONS)]
    return canonical("\n\n".join(["\n".join(lines) for lines in tables.values()] + functions))


def canonical(text: str) -> str:
    """Sort the blocks, the lines of a table, and what AND and OR join: their order says nothing."""
    return "\n\n".join(sorted(map(_sorted, text.strip().split("\n\n")))) + "\n"


def stamp(text: str, app: str) -> str:
    """What `0001_tables` of an app carries: a digest of its tables and functions, without grants."""
    blocks = [block.splitlines() for block in text.strip().split("\n\n") if block.split()[1].startswith(f"{app}_")]
    kept = ["\n".join(line for line in lines if not line.startswith("  grant ")) for lines in blocks]
    return sha256("\n\n".join(kept).encode()).hexdigest()[:12]


def differences(before: str, now: str) -> Sequence[str]:
    """Every line that only one of the two has, with the table or function it belongs to."""
    return [line for line in unified_diff(_placed(before), _placed(now), n=0, lineterm="") if line[:2] in {"- ", "+ "}]


def _placed(text: str) -> Sequence[str]:
    blocks = (block.splitlines() for block in text.split("\n\n"))
    return [f" {lines[0].split()[1]}: {line.strip()}" for lines in blocks for line in lines]


def _rows(cursor: CursorWrapper, query: str) -> Sequence[tuple[str, ...]]:
    cursor.execute(query)
    return list(cursor.fetchall())


def _columns(cursor: CursorWrapper) -> Iterator[tuple[str, str]]:
    for table, name, kind, required, identity, generated, default, collation, storage in _rows(cursor, _COLUMNS):
        says = ["column", name, kind]
        says += [f'COLLATE "{collation}"'] if collation else []
        says += ["NOT NULL"] if required else []
        says += [{"d": "IDENTITY BY DEFAULT", "a": "IDENTITY ALWAYS"}[identity]] if identity else []
        says += ["GENERATED" if generated else "DEFAULT", default] if default else []
        yield table, " ".join([*says, *([f"STORAGE {storage}"] if storage else [])])


def _constraints(cursor: CursorWrapper) -> Iterator[tuple[str, str]]:
    """Constraints and indexes. A made-up name holds a hash or the table's name, so it follows from the rest."""
    for table, name, definition in _rows(cursor, _CONSTRAINTS):
        yield table, f"constraint {_name(name)} {definition}"
    for table, name, definition in _rows(cursor, _INDEXES):
        plain = definition.replace(f" {name} ON public.{table} ", " ", 1).removeprefix("CREATE ")
        yield table, f"index {_name(name)} {plain}"


def _name(name: str) -> str:
    return "(made up)" if _MADE_UP.fullmatch(name) else name


def _triggers(cursor: CursorWrapper) -> Iterator[tuple[str, str]]:
    for table, name, definition, enabled in _rows(cursor, _TRIGGERS):
        plain = definition.removeprefix(f"CREATE TRIGGER {name} ").replace(f" ON public.{table} ", " ", 1)
        yield table, f"trigger {name} {plain}{'' if enabled == 'O' else f' enabled={enabled}'}"


def _grants(cursor: CursorWrapper, roles: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for table, role, privilege, column in _rows(cursor, _GRANTS):
        yield table, f"grant {privilege}{f' ({column})' if column else ''} TO {roles.get(role, role)}"


def _function(definition: str) -> str:
    head, _, body = definition.partition("AS $function$")
    first = " ".join(head.replace("CREATE OR REPLACE FUNCTION public.", "function ").split())
    return "\n".join([first, *(f"  {line}" for line in _statements(body.rpartition("$function$")[0]))])


def _statements(source: str) -> Sequence[str]:
    """The source on lines of our own: comments, indentation and line breaks of the original say nothing."""
    texts: list[str] = []

    def kept(found: re.Match[str]) -> str:
        if found[0].startswith("'"):
            texts.append(found[0])
            return "\0"
        return " "

    # Texts wait behind a mark, so that nothing inside them is taken for source.
    plain = re.sub(r"'(?:[^']|'')*'|--[^\n]*|\s+", kept, source)
    plain = re.sub(r"(?<=\() +| +(?=[),;])| +(?= )", "", plain)
    plain = re.sub(r"(;|\bBEGIN|\bTHEN|\bELSE) ", r"\1\n", plain)
    plain = re.sub(r" (?=(?:AND|OR|USING)\b|IS DISTINCT FROM \()", "\n  ", plain)
    waiting = iter(texts)
    return [re.sub("\0", lambda _: next(waiting), line.rstrip()) for line in plain.strip().splitlines()]


def _sorted(block: str) -> str:
    head, *lines = block.splitlines()
    if head.startswith("function "):
        return block
    return "\n".join([head, *sorted(_operands_sorted(line) for line in lines)])


def _operands_sorted(line: str) -> str:
    """Sort what AND or OR joins inside each pair of brackets. Postgres brackets every operand of its own accord."""
    levels: list[list[str]] = [[""]]
    for token in re.findall(r"'(?:[^']|'')*'| (?:AND|OR) |[()]|[^()' ]+| ", line):
        if token == "(":
            levels.append([""])
        elif token == ")":
            inner = levels.pop()
            levels[-1][-1] += f"({_joined(inner)})"
        elif token in {" AND ", " OR "}:
            levels[-1] += [token, ""]
        else:
            levels[-1][-1] += token
    return "".join(levels[0])


def _joined(parts: Sequence[str]) -> str:
    operators = set(parts[1::2])
    if len(operators) != 1:
        return "".join(parts)
    return operators.pop().join(sorted(parts[::2]))
