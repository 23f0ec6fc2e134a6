"""The changes of tasks. Each verb is one class; base.py documents what a class declares."""
