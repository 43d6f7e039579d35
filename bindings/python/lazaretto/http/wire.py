"""Nothing leaves after the deadline, and what has arrived by then is read to its end. However many
headers an answer has, all are read."""

from __future__ import annotations

import io
import select
import socket
from typing import Any, List, Protocol, Tuple

from .contract import CAP_BYTES

# Bytes that are read after the deadline, at most, and bytes of all heads of an answer: those we
# drop must still be read.
_MOST_LATE_BYTES = 4 * CAP_BYTES
_MOST_HEAD_BYTES = 2 * CAP_BYTES
# What says where the body ends, and whether the connection does with it.
_FRAMING = ("connection", "content-length", "transfer-encoding")


class Progress(Protocol):
    """How far an exchange has got, and how long it may still take."""

    def left(self) -> float:
        """Returns the seconds that are left; raises ``TimeoutError`` when there are none."""
        ...

    def begin_to_send(self) -> None:
        """Notes that the server may see something of the request from now on."""
        ...


class Wire(io.RawIOBase):
    """A socket that is never waited for beyond the deadline, as ``http.client`` wants one."""

    def __init__(self, wrapped: socket.socket, exchange: Progress) -> None:
        super().__init__()
        self._wrapped = wrapped
        self._exchange = exchange
        self._request = b""
        self._late = 0
        self.reader = Reader(self)

    def makefile(self, mode: str) -> Reader:
        return self.reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            self._wrapped.settimeout(self._exchange.left())
            return self._wrapped.recv_into(buffer)
        except socket.timeout:
            return self._read_what_is_there(buffer)

    def _read_what_is_there(self, buffer: Any) -> int:
        # A process that was stopped in between (SIGSTOP, a paused container, a debugger) must not
        # throw an answer away that has come in time: what the kernel holds is read, and nothing is
        # waited for.
        import ssl

        self._wrapped.settimeout(0)
        while self._late < _MOST_LATE_BYTES:
            try:
                read = self._wrapped.recv_into(buffer)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                # TLS may have taken what was none of the answer, and more is there.
                if not select.select([self._wrapped], [], [], 0)[0]:
                    break
                self._late += 1
                continue
            self._late += read
            return read
        raise socket.timeout

    def sendall(self, data: bytes) -> None:
        self._request += data  # head and body leave together

    def transmit(self) -> None:
        rest = memoryview(self._request)
        self._exchange.begin_to_send()
        while rest:
            self._wrapped.settimeout(self._exchange.left())
            rest = rest[self._wrapped.send(rest) :]

    def close(self) -> None:
        pass  # the exchange closes it: http.client does so before the body is read


class Reader(io.BufferedReader):
    """Keeps all headers of an answer, and shows ``http.client``, which gives up at the hundred and
    first, those that frame the body."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.headers: List[Tuple[str, str]] = []
        self._shown: List[bytes] = []
        self._seen = 0
        self._is_behind = False

    def readline(self, size: Any = -1) -> bytes:
        if self._is_behind:
            return super().readline(size)
        if not self._shown:
            self._read_head()
        line = self._shown.pop(0)
        self._is_behind = not self._shown
        return line

    def _read_head(self) -> None:
        status_line = b""
        while not status_line:
            status_line = self._status_line()
            if not status_line.startswith(b"HTTP/"):
                # http.client says what it is not.
                self._shown = [status_line]
                return
            self.headers.clear()
            while line := self._head_line().rstrip(b" \t\r\n"):
                self._take_field(line.decode("latin-1"))
            words = status_line.split()
            if len(words) > 1 and len(words[1]) == 3 and words[1].startswith(b"1"):
                status_line = b""  # 100, 103 and the like: the answer is still to come
        framing = [f"{name}: {value}\r\n".encode("latin-1") for name, value in self.headers if name in _FRAMING]
        self._shown = [status_line, *framing, b"\r\n"]
        # They are Latin-1 by the letter, and UTF-8 in the field.
        self.headers[:] = [(name, value.encode("latin-1").decode("utf-8", "replace")) for name, value in self.headers]

    def _status_line(self) -> bytes:
        line = b"\n"
        while line in (b"\n", b"\r\n"):
            line = self._head_line()
        return line

    def _head_line(self) -> bytes:
        line = super().readline(_MOST_HEAD_BYTES)
        self._seen += len(line)
        if self._seen >= _MOST_HEAD_BYTES:
            import http.client

            raise http.client.LineTooLong("header section")
        if not line.endswith(b"\n"):
            raise ConnectionResetError
        return line

    def _take_field(self, line: str) -> None:
        if line[:1] in (" ", "\t"):
            # A line folded as RFC 9112 section 5.2 has it.
            if self.headers:
                name, value = self.headers[-1]
                self.headers[-1] = (name, f"{value} {line.strip()}")
            return
        name, colon, value = line.partition(":")
        # What is no header is left out: it is no reason to lose the answer.
        if colon:
            self.headers.append((name.strip().lower(), value.strip()))
