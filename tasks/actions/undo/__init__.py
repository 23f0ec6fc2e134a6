"""Undo: the permissions, the locks, and the rules that the result has to follow."""
