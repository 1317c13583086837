"""How much is taken on at once: what goes beyond it is refused, and soon."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from pipelines.serving.schema import RequestError

T = TypeVar("T")

RETRY_SECONDS = 1
"""When a refused client may come again; a queue of short requests has passed by then."""

_BODIES = 4


class OverloadError(Exception):
    """A request that is refused because there is too much to do.

    Parameters
    ----------
    reason : str
        ``queue``: as many as may wait are waiting; ``memory``: bodies that are being read or
        wait are as large as they may be together; ``deadline``: it has waited too long.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ClientGoneError(Exception):
    """The client left before its request was whole: there is nobody to answer."""


class Pressure:
    """A bounded number of places and of bytes, a few threads, and a deadline.

    Belongs to one event loop; only what `Admission.run` is given runs in a thread.

    Parameters
    ----------
    places : int
        Most requests that are answered or wait. One whose body has not come whole has no
        place: slow clients would otherwise take them all.
    body : int
        Largest body in bytes. All bodies together may be four times as large.
    threads : int
        Most requests that run in a thread at once.
    seconds : float
        Longest that one may take, from its first byte on.
    """

    def __init__(self, places: int, *, body: int, threads: int, seconds: float) -> None:
        self.free = places
        self.bytes = _BODIES * body
        self.body = body
        self.seconds = seconds
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="answer")

    def enter(self) -> "Admission":
        """Begin a request; whoever does so calls `Admission.leave`, whatever happens."""
        return Admission(self)

    def close(self) -> None:
        """Wait for the threads."""
        self.threads.shutdown(wait=True, cancel_futures=True)


class Admission:
    """One request's share: its bytes, its place, its time.

    It is given back once the work is done, even where the client was told at the deadline
    that it is not: work that has begun in a thread cannot be stopped, and to give its place
    away would let such work pile up.
    """

    def __init__(self, pressure: Pressure) -> None:
        self._pressure = pressure
        self._deadline = time.monotonic() + pressure.seconds
        self._bytes = 0
        self._places = 0
        self._work: Future[Any] | None = None

    async def read(self, receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> bytes:
        """Read the body.

        Raises
        ------
        RequestError
            413: it is too large.
        OverloadError
            Too many bytes are held already, or the deadline came before its end.
        ClientGoneError
        """
        chunks: list[bytes] = []
        message = await receive()
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk = message.get("body", b"")
            self._hold(len(chunk))
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            left = self._deadline - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(left, 0))
            except TimeoutError as err:
                raise OverloadError("deadline") from err

    async def queue(self) -> None:
        """Take a place, and let those that came before go first.

        Raises
        ------
        OverloadError
        """
        if self._pressure.free == 0:
            raise OverloadError("queue")
        self._pressure.free -= 1
        self._places = 1
        # All requests that came at the same time pass here before the first of them is
        # answered. Without this each would find every place free, for a light one is answered
        # without a pause; and the last would have waited for all.
        await asyncio.sleep(0)
        if time.monotonic() > self._deadline:
            raise OverloadError("deadline")

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work in a thread, and wait for it until the deadline.

        Raises
        ------
        OverloadError
        """
        future = self._pressure.threads.submit(work)
        self._work = future
        left = self._deadline - time.monotonic()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), max(left, 0))
        except TimeoutError as err:
            # One that the work itself raised is no deadline.
            if future.done() and not future.cancelled():
                raise
            raise OverloadError("deadline") from err

    def leave(self) -> None:
        """Give everything back, as soon as nothing works on it."""
        if self._work is None or self._work.done():
            self._give_back()
        else:
            loop = asyncio.get_running_loop()
            self._work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._give_back))

    def _hold(self, size: int) -> None:
        limit = self._pressure.body
        if self._bytes + size > limit:
            raise RequestError.of(f"a body holds at most {limit} bytes", status=413)
        if size > self._pressure.bytes:
            raise OverloadError("memory")
        self._bytes += size
        self._pressure.bytes -= size

    def _give_back(self) -> None:
        self._pressure.free += self._places
        self._pressure.bytes += self._bytes
        self._places = self._bytes = 0
