"""
SQL that the ORM compiles once and that is run many times.

Compiling a queryset costs more than running it. So what every request asks is written as a
queryset with holes (Parameter); it becomes SQL on its first use, and afterwards a call costs the
filling of the holes and the database's work. The ORM stays the only source of tables, columns,
joins and the tenant's filter.

statements: SQL with holes. prepared: how PostgreSQL runs it. pipeline: what is sent together.
questions: querysets, and those whose values come in many shapes. commands: INSERT and UPDATE.
"""
