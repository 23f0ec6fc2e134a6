"""A thread of each worker that learns of the commits of all processes, and wakes who waits.

On PostgreSQL the processes notify each other (postgresql.py), behind a pooler each of them polls
(polling.py), and on SQLite each of them watches the file (sqlite.py).
"""
