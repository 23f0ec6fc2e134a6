"""Faults in a running installation, and races of all write operations."""
