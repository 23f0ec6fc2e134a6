"""The full-text index of a table. Migrations use this module, so that its SQL never changes.

Python divides texts into words, which the table stores in columns of their own (WordsField). A
database parses nothing.

PostgreSQL: a generated tsvector of these words, and of the tenant as a word (@7, which no other
word begins like), GIN, and a function for each table that reads it. `@@` is not leakproof, so
behind row-level security no index would serve it: the functions belong to the owner role and filter
by the tenant themselves.

SQLite: an FTS5 table beside the table, kept in step by triggers. Its tokenizer divides at spaces.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations

POSTGRESQL = """
ALTER TABLE {table} ADD COLUMN search tsvector GENERATED ALWAYS AS (
  array_to_tsvector(array_append(array_remove(string_to_array({words}, ' '), ''), '@' || tenant_id))
) STORED;
CREATE INDEX {table}_search ON {table} USING gin (search);
CREATE FUNCTION search_{table}(query text) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, {schema}, pg_temp AS $$
  SELECT id FROM {table}
  WHERE tenant_id = current_setting('taskflow.tenant')::bigint
    AND search @@ (('''@' || current_setting('taskflow.tenant') || '''')::tsquery
                   && query::tsquery)
$$;
REVOKE ALL ON FUNCTION search_{table}(text) FROM PUBLIC;
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'taskflow_app')
     AND current_user = 'taskflow_owner' THEN
    GRANT EXECUTE ON FUNCTION search_{table}(text) TO taskflow_app;
  END IF;
END $$;
"""
# The words end at the line break; see search_text().
POSTGRESQL_WORDS = "split_part({column}, E'\\n', 1)"
SQLITE_WORDS = "substr({row}{column}, 1, instr({row}{column} || char(10), char(10)))"
# Of a document, the index has to store only its words: their order is in the columns.
SQLITE = [
    """
CREATE VIRTUAL TABLE {table}_search
  USING fts5(words, content='', detail='none', tokenize="ascii tokenchars '+#@'")
""",
    """
INSERT INTO {table}_search (rowid, words) SELECT id, '@' || tenant_id || ' ' || {words} FROM {table}
""",
    """
CREATE TRIGGER {table}_search_insert AFTER INSERT ON {table} BEGIN
  INSERT INTO {table}_search (rowid, words) VALUES (new.id, '@' || new.tenant_id || ' ' || {new_words});
END
""",
    """
CREATE TRIGGER {table}_search_delete AFTER DELETE ON {table} BEGIN
  INSERT INTO {table}_search ({table}_search, rowid, words)
    VALUES ('delete', old.id, '@' || old.tenant_id || ' ' || {old_words});
END
""",
    """
CREATE TRIGGER {table}_search_update AFTER UPDATE OF {columns} ON {table} BEGIN
  INSERT INTO {table}_search ({table}_search, rowid, words)
    VALUES ('delete', old.id, '@' || old.tenant_id || ' ' || {old_words});
  INSERT INTO {table}_search (rowid, words) VALUES (new.id, '@' || new.tenant_id || ' ' || {new_words});
END
""",
]


class AddSearchIndex(migrations.RunPython):
    """Create the full-text index of a table. The operation is reversible.

    `columns` are the WordsFields to search: that of the title, if there is one, and that of the
    text. Put the operation after the one that creates them. A later operation that copies the table
    keeps the triggers of SQLite.
    """

    def __init__(self, table: str, *columns: str) -> None:
        self.table, self.columns = table, columns
        super().__init__(self._create, self._drop)

    def deconstruct(self) -> Any:
        return type(self).__name__, [self.table, *self.columns], {}

    def _create(self, apps: Any, editor: Any) -> None:
        if editor.connection.vendor != "postgresql":
            for statement in SQLITE:
                editor.execute(statement.format(**self._names_on_sqlite()), params=None)
            return
        with editor.connection.cursor() as cursor:
            cursor.execute("SELECT quote_ident(current_schema())")
            (schema,) = cursor.fetchone()
        words = " || ".join(POSTGRESQL_WORDS.format(column=column) for column in self.columns)
        names = {"table": self.table, "schema": schema, "words": words}
        editor.execute(POSTGRESQL.format(**names), params=None)

    def _names_on_sqlite(self) -> dict[str, str]:
        words = {
            name: " || ".join(SQLITE_WORDS.format(row=row, column=c) for c in self.columns)
            for name, row in (("words", ""), ("new_words", "new."), ("old_words", "old."))
        }
        return {"table": self.table, "columns": ", ".join(self.columns), **words}

    def _drop(self, apps: Any, editor: Any) -> None:
        if editor.connection.vendor == "postgresql":
            editor.execute(f"DROP FUNCTION search_{self.table}(text)")
            editor.execute(f"ALTER TABLE {self.table} DROP COLUMN search")
            return
        for event in ("insert", "delete", "update"):
            editor.execute(f"DROP TRIGGER {self.table}_search_{event}")
        editor.execute(f"DROP TABLE {self.table}_search")
