"""Requests whose statements are counted by test_statement_budgets.py.

Each function prepares `rows` rows and returns the request.
"""
