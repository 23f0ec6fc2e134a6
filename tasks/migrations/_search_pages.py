"""The functions that select the first rows of a search. Migrations use this module, so that its
SQL never changes.

To find the first twenty rows with a common word, PostgreSQL would read all rows with the word. So a
function for each table sorts and limits them. It runs with the rights of the owner, as those of
_search.py, because `@@` is not leakproof: behind row-level security no index would serve it. It
filters by the tenant, and determines the visible projects from the user. Its arguments `projects`
and `drafts` can only exclude some of them; null excludes none.

The first rows are those with all words in the title, the latest changed first, then the others.
A common word is found among the latest rows of the table, of which the function reads at most a
few thousand. If these do not fill the page, all rows with the words are found by the full-text
indexes, and sorted. The planner could not choose, because it does not know how many words begin
with a prefix. A member who sees few of many tasks, by the stored counts, gets them by reading these
few instead.
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
  read_size integer := least(32 * size, 4096);
  is_all boolean := false;  -- whether these are all rows
  without_index text := '';  -- the function that keeps the planner from using the index
  page bigint[] := '{{}}';
  others bigint[] := '{{}}';
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
# The parameters of the statements are those of USING.
USING = "USING tenant::bigint, visible, managed, viewer, words, literals, titles, size, read_size;"
# The order is that of an index, so that no other rows are read.
READ_LATEST = """EXECUTE $q$SELECT
      (SELECT count(*) FROM (
        SELECT FROM {table} WHERE tenant_id = $1 AND deleted_at IS NULL LIMIT $9) r) < $9,
      coalesce(array_agg(id ORDER BY updated_at DESC, id DESC) FILTER (WHERE in_title), '{{}}'),
      coalesce(array_agg(id ORDER BY updated_at DESC, id DESC) FILTER (WHERE NOT in_title), '{{}}')
    FROM (
      SELECT r.id, r.updated_at, {in_title} AS in_title
      FROM (SELECT * FROM {table} WHERE tenant_id = $1 AND deleted_at IS NULL
            ORDER BY updated_at DESC, id DESC LIMIT $9) r{join}
      WHERE {visible} AND {matches}
    ) latest$q$ INTO is_all, page, others
    {USING}"""
# With OFFSET 0 the rows are found before they are sorted. Otherwise they might be read in order.
READ_MATCHING = """EXECUTE format($q$SELECT ARRAY(
      SELECT id FROM (
        SELECT r.id, r.updated_at FROM {table} r{join}
        WHERE r.tenant_id = $1 AND r.deleted_at IS NULL AND {visible} AND {condition} OFFSET 0
      ) matching ORDER BY updated_at DESC, id DESC LIMIT $8)$q$, without_index) INTO {into}
    {USING}"""
BODY = """
  IF {has_few} THEN
    without_index := 'strip';
  ELSE
    {read_latest}
  END IF;
  IF NOT is_all AND cardinality(page) < size THEN
    {read_titles}
  END IF;
  IF NOT is_all AND cardinality(page) + cardinality(others) < size THEN
    {read_others}
  END IF;
  page := (page || others)[1:size];
"""
HAS_FEW = """NOT coalesce(sees_all, false) AND cardinality(visible) <= 100 AND (
    SELECT coalesce(sum(n) FILTER (WHERE project_id = ANY(visible)), 0) <= least(5000, sum(n) / 20)
    FROM (SELECT project_id, todo + in_progress + done + cancelled AS n
          FROM tasks_taskcountdelta WHERE {TENANT}) counts)"""
TITLE_WORDS = (
    "array_to_tsvector(array_append(array_remove("
    "string_to_array(split_part({row}title_words, E'\\n', 1), ' '), ''), '@' || {row}tenant_id))"
)
TITLE_INDEX = "CREATE INDEX {table}_search_title ON {table} USING gin (({words}))"
IS_IN_TITLE = (
    "(strpos(r.title_words, $7[1]) > 0 AND (cardinality($7) = 1 OR"
    " (SELECT bool_and(strpos(r.title_words, w) > 0) FROM unnest($7) w)))"
)
IS_TITLE_IN_INDEX = f"($5 IS NULL OR %1$s({TITLE_WORDS.format(row='r.')}) @@ $5)"
MATCHES = (
    "($5 IS NULL OR {function}(r.search) @@ $5) AND (cardinality($6) = 0 OR"
    " (SELECT bool_and({texts}) FROM unnest($6) w))"
)


class SearchedTable(NamedTuple):
    """A table with a full-text index, see AddSearchIndex, and one of (tenant, updated_at, id)."""

    name: str
    visible: str  # the condition that a row is visible: $2 are the projects, $3 those with drafts
    has_title: bool
    text: str  # the column of the words of the text
    join: str = ""  # of the rows `r` with another table that `visible` needs
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
    matches = MATCHES.format(texts=texts, function="%1$s")
    names = {"table": table.name, "join": table.join, "visible": f"({table.visible})"}
    in_title = IS_IN_TITLE if table.has_title else "false"
    plainly = MATCHES.format(texts=texts, function="")
    latest = READ_LATEST.format(matches=plainly, in_title=in_title, USING=USING, **names)
    titles, others = (
        READ_MATCHING.format(condition=condition, into=into, USING=USING, **names)
        for condition, into in (
            (f"{IS_TITLE_IN_INDEX} AND {IS_IN_TITLE}", "page"),
            (f"{matches} AND NOT {in_title}", "others"),
        )
    )
    body = BODY.format(
        has_few=HAS_FEW.format(TENANT=TENANT) if table.has_counts else "false",
        read_latest=latest,
        read_titles=titles if table.has_title else "NULL;",
        read_others=others,
    )
    return FUNCTION.format(table=table.name, schema=schema, body=body, TENANT=TENANT)
