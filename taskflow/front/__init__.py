"""
What stands between connections and the application: only complete requests reach it.

Whatever waits for a client (a connection, a header, a body, a response that is read slowly) waits
in the server's event loop, where it costs some kilobytes and no thread. docs/reliability.md
describes each limit.
"""
