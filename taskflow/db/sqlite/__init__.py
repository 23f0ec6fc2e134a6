"""The SQLite backend (base), its session, its files and the statistics of its query planner."""
