"""The full-text index of tasks, comments and pages, kept by the database itself.

PostgreSQL: a generated tsvector with the tenant as a lexeme (@7, which no word begins like), GIN,
and a function for each table that reads it. `@@` is not leakproof, so behind row-level security no index would serve it: the
functions belong to the owner role and ask for the tenant themselves.

SQLite: an FTS5 table beside each, kept in step by triggers. A migration that remakes one of the
tables drops them with it, and has to end with create() again.
"""

from __future__ import annotations

from django.db import migrations

# table: its title and its text; a comment has no title
TEXTS = {
    "tasks_task": ("title", "description"),
    "tasks_comment": ("''", "body"),
    "tasks_page": ("title", "body"),
}
PUNCTUATION = r"""!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~"""  # quoted for SQL
BLANKS = " " * len(PUNCTUATION.replace("''", "'"))
POSTGRESQL = """
ALTER TABLE {table} ADD COLUMN search tsvector GENERATED ALWAYS AS (
  array_to_tsvector(ARRAY['@' || tenant_id]) || {vectors}
) STORED;
CREATE INDEX {table}_search ON {table} USING gin (search);
CREATE FUNCTION search_{table}(query text) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, {schema}, pg_temp AS $$
  SELECT id FROM {table}
  WHERE tenant_id = current_setting('taskflow.tenant')::bigint
    AND search @@ (('''@' || current_setting('taskflow.tenant') || '''')::tsquery
                   && to_tsquery('simple', lower(query)))
$$;
REVOKE ALL ON FUNCTION search_{table}(text) FROM PUBLIC;
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'taskflow_app')
     AND current_user = 'taskflow_owner' THEN
    GRANT EXECUTE ON FUNCTION search_{table}(text) TO taskflow_app;
  END IF;
END $$;
"""
VECTOR = "setweight(to_tsvector('simple', lower(translate({column}, '{from_}', '{to}'))), '{weight}')"
SQLITE = [
    """
CREATE VIRTUAL TABLE {table}_search
  USING fts5(tenant, title, text, content='', tokenize="unicode61 remove_diacritics 0")
""",
    """
INSERT INTO {table}_search (rowid, tenant, title, text)
  SELECT id, 't' || tenant_id, {title}, {text} FROM {table}
""",
    """
CREATE TRIGGER {table}_search_insert AFTER INSERT ON {table} BEGIN
  INSERT INTO {table}_search (rowid, tenant, title, text)
    VALUES (new.id, 't' || new.tenant_id, {new_title}, new.{text});
END
""",
    """
CREATE TRIGGER {table}_search_delete AFTER DELETE ON {table} BEGIN
  INSERT INTO {table}_search ({table}_search, rowid, tenant, title, text)
    VALUES ('delete', old.id, 't' || old.tenant_id, {old_title}, old.{text});
END
""",
    """
CREATE TRIGGER {table}_search_update AFTER UPDATE OF {columns} ON {table} BEGIN
  INSERT INTO {table}_search ({table}_search, rowid, tenant, title, text)
    VALUES ('delete', old.id, 't' || old.tenant_id, {old_title}, old.{text});
  INSERT INTO {table}_search (rowid, tenant, title, text)
    VALUES (new.id, 't' || new.tenant_id, {new_title}, new.{text});
END
""",
]


def create(apps, editor):
    for table, (title, text) in TEXTS.items():
        is_column = title != "''"
        names = {
            "table": table,
            "title": title,
            "text": text,
            "new_title": f"new.{title}" if is_column else title,
            "old_title": f"old.{title}" if is_column else title,
            "columns": f"{title}, {text}" if is_column else text,
            "vectors": " || ".join(
                VECTOR.format(column=column, from_=PUNCTUATION, to=BLANKS, weight=weight)
                for column, weight in ((title, "A"), (text, "B"))
                if column != "''"
            ),
        }
        if editor.connection.vendor == "postgresql":
            with editor.connection.cursor() as cursor:
                cursor.execute("SELECT quote_ident(current_schema())")
                names["schema"] = cursor.fetchone()[0]
            editor.execute(POSTGRESQL.format(**names), params=None)
        else:
            for statement in SQLITE:
                editor.execute(statement.format(**names), params=None)


def drop(apps, editor):
    for table in TEXTS:
        if editor.connection.vendor == "postgresql":
            editor.execute(f"DROP FUNCTION search_{table}(text)")
            editor.execute(f"ALTER TABLE {table} DROP COLUMN search")
        else:
            for event in ("insert", "delete", "update"):
                editor.execute(f"DROP TRIGGER {table}_search_{event}")
            editor.execute(f"DROP TABLE {table}_search")


class Migration(migrations.Migration):
    dependencies = [("tasks", "0001_initial")]

    operations = [migrations.RunPython(create, drop)]
