"""
Queries that the ORM compiles once and that are run many times.

Compiling a queryset costs more than running it. So the queries of every request are querysets with
Parameters. They become SQL at the first use; afterwards a call costs the filling of the parameters
and the work of the database. The ORM stays the only source of tables, columns, joins and the filter
by tenant.

query: Query, and QueryCache for queries with variants. writes: INSERT and UPDATE. json: responses
that the database builds. ordering and page_query: lists. viewer: whose view a query returns.
Below these: statements, and session with its forms in postgresql/ and sqlite/, which are also the
database backends of Django.
"""
