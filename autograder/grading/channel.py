"""Messages over a socket: four bytes of length, then so many bytes. Either side may be hostile to the other."""

from __future__ import annotations

import socket
import struct
import time

from autograder.wire import LARGEST_MESSAGE

LARGEST = LARGEST_MESSAGE + 2**20


class Broken(Exception):
    """The other side is gone, silent for too long, or does not speak this language."""


class Channel:
    """One end of a socket pair."""

    def __init__(self, end: socket.socket):
        self.end = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        here, there = socket.socketpair()
        return cls(here), cls(there)

    def send(self, message: bytes, seconds: float | None = None) -> None:
        """`Broken` when the other side does not take it in time."""
        try:
            self.end.settimeout(seconds)
            self.end.sendall(struct.pack("<I", len(message)) + message)
        except OSError as error:
            raise Broken(f"cannot send: {error}") from None

    def receive(self, seconds: float | None = None, largest: int = LARGEST) -> bytes:
        """The next whole message: `Broken` when it does not come in time or is too large."""
        end = None if seconds is None else time.monotonic() + seconds
        (length,) = struct.unpack("<I", self._exactly(4, end))
        if length > largest:
            raise Broken(f"a message of {length} bytes")
        return self._exactly(length, end)

    def _exactly(self, count: int, end: float | None) -> bytes:
        pieces = bytearray()
        while len(pieces) < count:
            if end is not None and time.monotonic() >= end:
                raise Broken("silent for too long")
            try:
                self.end.settimeout(None if end is None else max(end - time.monotonic(), 0.001))
                piece = self.end.recv(min(count - len(pieces), 2**20))
            except OSError as error:
                raise Broken(f"cannot receive: {error}") from None
            if not piece:
                raise Broken("the other side is gone")
            pieces += piece
        return bytes(pieces)

    def close(self) -> None:
        self.end.close()
