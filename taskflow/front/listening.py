"""The listening sockets of the server.

They belong to the process that supervises the workers, and the workers inherit them. So connections
that nobody has accepted yet wait for the next worker when one ends.
"""

from __future__ import annotations

import os
import socket
import sys

from taskflow.front.limits import BACKLOG, SEND_SECONDS

OPEN_FILES = "/dev/fd"  # lists the open files of this process


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Return that many listening sockets. The kernel divides new connections among them."""
    return [_listen(host, port) for _ in range(count)]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Accepted connections have the options of the listening socket.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SEND_SECONDS * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SEND_SECONDS)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def stop_accepting(listener: socket.socket) -> None:
    """Let this process accept no more connections. Those that it has stay open.

    granian can only stop accepting together with closing idle connections, on which a request may
    be on its way. So every file of this process that is the socket becomes another socket, to which
    nobody connects. The socket itself ends with the last process that has it.
    """
    other = socket.socket(socket.AF_UNIX)
    other.bind("")  # a name that the kernel chooses
    other.listen(1)
    other.setblocking(False)
    inode = os.fstat(listener.fileno()).st_ino
    for name in os.listdir(OPEN_FILES):
        if _inode(int(name)) == inode:
            os.dup2(other.fileno(), int(name), inheritable=False)
    other.close()


def _inode(descriptor: int) -> int | None:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:  # the one that listed the files
        return None
