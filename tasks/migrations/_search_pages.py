"""The functions that select the first rows of a search. Migrations use this module, so that its
SQL never changes.

To find the first twenty rows with a common word, PostgreSQL would read all rows with the word. So a
function for each table sorts and limits them. It runs with the rights of the owner, as those of
_search.py, because `@@` is not leakproof: behind row-level security no index would serve it. It
filters by the tenant, and determines the visible projects from the user. Its arguments `projects`
and `drafts` can only exclude some of them; null excludes none.

The first rows are those with all words in the title, the latest changed first, then the others.
Their statements are planned for the values at each call: a common word is found by reading the
latest rows, a rare one by the full-text index. To a member of few projects with less than a tenth
of the tasks, the latest tasks are mostly those of others: the latest of each project are read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db import migrations

TENANT = "tenant_id = current_setting('taskflow.tenant')::bigint"
FUNCTION = """
CREATE FUNCTION search_page_{table}(
  viewer bigint, projects bigint[], drafts bigint[], query text, literals text[], titles text[],
  size integer
) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, {schema}, pg_temp AS $$
DECLARE
  tenant text := current_setting('taskflow.tenant');
  words tsquery := ('''@' || tenant || '''')::tsquery && query::tsquery;
  sees_all boolean;
  visible bigint[];
  managed bigint[];
  statement text := $q${statement}$q$;
  page bigint[] := '{{}}';
  others bigint[];
BEGIN
  SELECT is_staff OR is_superuser INTO sees_all FROM accounts_user
  WHERE {TENANT} AND id = viewer AND is_active;
  SELECT array_agg(p.id), array_agg(p.id) FILTER (WHERE sees_all
      OR m.role IN ('owner', 'admin') AND (drafts IS NULL OR p.id = ANY(drafts)))
  INTO visible, managed
  FROM (SELECT id FROM tasks_project WHERE {TENANT} AND deleted_at IS NULL) p
  LEFT JOIN (SELECT project_id, role FROM tasks_projectmember WHERE {TENANT} AND user_id = viewer) m
    ON m.project_id = p.id
  WHERE (projects IS NULL OR p.id = ANY(projects)) AND (sees_all OR m.role IS NOT NULL);
  IF visible IS NULL THEN
    RETURN;
  END IF;
{body}
  RETURN QUERY SELECT unnest(page);
END $$;
REVOKE ALL ON FUNCTION search_page_{table} FROM PUBLIC;
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'taskflow_app')
     AND current_user = 'taskflow_owner' THEN
    GRANT EXECUTE ON FUNCTION search_page_{table} TO taskflow_app;
  END IF;
END $$;
"""
# Of the placeholders, %1$s is a condition. The parameters are those of USING below.
STATEMENT = """SELECT ARRAY(
    SELECT r.id FROM {source} WHERE r.tenant_id = $1 AND r.deleted_at IS NULL AND {visible} AND %1$s
    ORDER BY r.updated_at DESC, r.id DESC LIMIT $8)"""
# Of each project as many rows as of all together.
STATEMENT_BY_PROJECT = """SELECT ARRAY(
    SELECT f.id FROM unnest($2) p(id), LATERAL (
      SELECT r.id, r.updated_at FROM {source}
      WHERE r.tenant_id = $1 AND r.deleted_at IS NULL AND r.project_id = p.id AND %1$s
      ORDER BY r.updated_at DESC, r.id DESC LIMIT $8) f
    ORDER BY f.updated_at DESC, f.id DESC LIMIT $8)"""
CHOICE = """
  IF NOT coalesce(sees_all, false) AND cardinality(visible) <= 30 AND (
    SELECT coalesce(sum(n) FILTER (WHERE project_id = ANY(visible)), 0) * 10 < sum(n)
    FROM (SELECT project_id, todo + in_progress + done + cancelled AS n
          FROM tasks_taskcountdelta WHERE {TENANT}) counts
  ) THEN
    statement := $q${by_project}$q$;
  END IF;
"""
RUN = """
  EXECUTE format(statement, $q${condition}$q$) INTO {into}
  USING tenant::bigint, visible, managed, viewer, words, literals, titles, {size};
"""
RUN_WITH_TITLES = """
  {run_titles}
  IF cardinality(page) < size THEN
    {run_others}
    page := page || others;
  END IF;
"""
TITLE_WORDS = (
    "array_to_tsvector(array_append(array_remove("
    "string_to_array(split_part({row}title_words, E'\\n', 1), ' '), ''), '@' || {row}tenant_id))"
)
TITLE_INDEX = "CREATE INDEX {table}_search_title ON {table} USING gin (({words}))"
IS_IN_TITLE = "(SELECT bool_and(strpos(r.title_words, w) > 0) FROM unnest($7) w)"
IS_TITLE_IN_INDEX = f"($5 IS NULL OR {TITLE_WORDS.format(row='r.')} @@ $5)"
MATCHES = (
    "($5 IS NULL OR r.search @@ $5) AND (cardinality($6) = 0 OR"
    " (SELECT bool_and({texts}) FROM unnest($6) w))"
)


class SearchedTable(NamedTuple):
    """A table with a full-text index, see AddSearchIndex."""

    name: str
    source: str  # the rows `r`, with joins
    visible: str  # the condition that a row is visible: $2 are the projects, $3 those with drafts
    has_title: bool
    text: str  # the column of the words of the text
    has_counts: bool = False  # whether the rows of each project are counted


class AddSearchPages(migrations.RunPython):
    """Create the function of a table, and the index of its titles. The operation is reversible.

    SQLite needs neither.
    """

    def __init__(self, **table: Any) -> None:
        self.table = SearchedTable(**table)
        super().__init__(self._create, self._drop)

    def deconstruct(self) -> Any:
        return type(self).__name__, [], self.table._asdict()

    def _create(self, apps: Any, editor: Any) -> None:
        if editor.connection.vendor != "postgresql":
            return
        with editor.connection.cursor() as cursor:
            cursor.execute("SELECT quote_ident(current_schema())")
            (schema,) = cursor.fetchone()
        if self.table.has_title:
            words = TITLE_WORDS.format(row="")
            editor.execute(TITLE_INDEX.format(table=self.table.name, words=words), params=None)
        editor.execute(function_sql(self.table, schema), params=None)

    def _drop(self, apps: Any, editor: Any) -> None:
        if editor.connection.vendor != "postgresql":
            return
        editor.execute(f"DROP FUNCTION search_page_{self.table.name}")
        if self.table.has_title:
            editor.execute(f"DROP INDEX {self.table.name}_search_title")


def function_sql(table: SearchedTable, schema: str) -> str:
    """Return the SQL that creates the function of a table."""
    columns = ["title_words"] * table.has_title + [table.text]
    texts = " OR ".join(f"strpos(r.{column}, w) > 0" for column in columns)
    matches = MATCHES.format(texts=texts)
    body = RUN.format(condition=matches, into="page", size="size")
    if table.has_title:
        titles = f"{IS_TITLE_IN_INDEX} AND {IS_IN_TITLE}"
        others = f"{matches} AND NOT {IS_IN_TITLE}"
        body = RUN_WITH_TITLES.format(
            run_titles=RUN.format(condition=titles, into="page", size="size"),
            run_others=RUN.format(
                condition=others, into="others", size="size - cardinality(page)"
            ),
        )
    if table.has_counts:
        by_project = STATEMENT_BY_PROJECT.format(source=table.source)
        body = CHOICE.format(TENANT=TENANT, by_project=by_project) + body
    statement = STATEMENT.format(source=table.source, visible=table.visible)
    return FUNCTION.format(
        table=table.name, schema=schema, statement=statement, body=body, TENANT=TENANT
    )
