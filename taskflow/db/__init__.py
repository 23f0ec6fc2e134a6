"""
Queries that the ORM compiles once and that are run many times.

Compiling a queryset costs more than running it. So the queries of frequent requests are querysets
with Parameters. They are compiled to SQL at the first use. Afterwards, a call costs only the time
to fill in the parameters and the work of the database. All tables, columns, joins and the filter by
tenant still come from the ORM.

query: Query, and QueryCache for queries with variants. writes: INSERT and UPDATE. json: responses
that the database builds. ordering and page_query: lists. viewer: the user for whom a query is run.
columns: the columns of a model. These modules use statements, and session, which postgresql/ and
sqlite/ implement. Both packages are also database backends of Django.
"""
