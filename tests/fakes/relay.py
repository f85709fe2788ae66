"""A line between a client and a fake that breaks after so many bytes, on the way there or back."""

import select
import socket
import struct
from threading import Thread
from types import TracebackType
from typing import Self

import httpx


class Relay:
    """Carries each connection to the server behind an address; one request, then its answer, after the other."""

    def __init__(self, address: str) -> None:
        behind = httpx.URL(address)
        self._behind = (behind.host, behind.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._cut: tuple[str, int, bool] | None = None
        self.carried = {"there": 0, "back": 0}
        """Bytes of the newest connection each way."""
        port = self._listener.getsockname()[1]
        self.base_url = str(behind.copy_with(port=port))

    def cut(self, way: str, count: int, *, orderly: bool) -> None:
        """Break each connection from now on when so many bytes were carried this way: closed, or reset."""
        self._cut = (way, count, orderly)

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        carrying = []
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # it was shut
                break
            carrying.append(Thread(target=self._carry, args=(client,)))
            carrying[-1].start()
        for thread in carrying:
            thread.join()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._behind) as server:
            ways = {client: ("there", server), server: ("back", client)}
            self.carried = dict.fromkeys(self.carried, 0)
            while True:
                for end in select.select(list(ways), [], [])[0]:
                    way, other = ways[end]
                    data = end.recv(65_536)
                    if not data:
                        return
                    of, count, orderly = self._cut or ("", 0, True)
                    over = way == of and self.carried[way] + len(data) > count
                    before, self.carried[way] = self.carried[way], self.carried[way] + len(data)
                    other.sendall(data[: max(0, count - before)] if over else data)
                    if over:
                        _end(client, orderly=orderly)
                        _end(server, orderly=False)
                        return


def _end(connection: socket.socket, *, orderly: bool) -> None:
    if not orderly:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
