"""TaskFlow's SQLite backend (base), its files (files) and its planner's statistics (statistics)."""
