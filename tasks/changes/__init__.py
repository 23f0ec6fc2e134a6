"""The changes of tasks. Each verb is one class in a module of its own, declared as base.py says."""
