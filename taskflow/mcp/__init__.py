"""The Model Context Protocol at POST /mcp: TaskFlow as tools of a language model.

The tools send requests to the API inside the transaction of the MCP request, so that permissions,
validation, events and idempotency are those of the API. They turn the answers into text.
"""
