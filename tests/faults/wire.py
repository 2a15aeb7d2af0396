"""The way between a host and the embedded AWS, which can be cut and mended: an HTTP proxy that knows no HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading


class Wire:
    """A port of loopback whose connections are led to another one.

    :param port: where they are led to. The address is for a client's setting of a proxy.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._listener = self._listen(0)
        self._port: int = self._listener.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"

    def connections(self) -> int:
        """How many there are now."""
        with self._lock:
            return len(self._ends) // 2

    def cut(self) -> None:
        """Break every connection off, and refuse new ones."""
        _end(self._listener)
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            _end(end)

    def mend(self) -> None:
        """Let connections through again."""
        self._listener = self._listen(self._port)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._target)
                with self._lock:
                    self._ends |= {client, server}
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._lead, args=(one, other), daemon=True).start()

    def _lead(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with self._lock:
            self._ends -= {one, other}
        _end(one)
        _end(other)


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
