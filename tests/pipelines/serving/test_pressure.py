"""pipelines.serving.pressure: what is taken on at once, and what is refused."""

import asyncio
import threading
from typing import Any

import pytest

from pipelines.serving.pressure import OverloadError, Pressure
from pipelines.serving.schema import RequestError


def test_beyond_the_places_is_refused() -> None:
    """Of three requests that come together two have a place, and the third is refused."""

    async def ask(pressure: Pressure) -> str:
        admission = pressure.enter()
        try:
            await admission.queue()
        except OverloadError as err:
            return err.reason
        else:
            return "answered"
        finally:
            admission.leave()

    async def all_at_once() -> list[str]:
        pressure = Pressure(2, body=10, threads=1, seconds=60)
        said = await asyncio.gather(*(ask(pressure) for _ in range(3)))
        assert pressure.free == 2
        return list(said)

    assert asyncio.run(all_at_once()) == ["answered", "answered", "queue"]


def test_work_past_its_deadline_keeps_its_place() -> None:
    """At the deadline the client is refused, and the place is free only when the work ends."""
    release = threading.Event()

    async def ask() -> None:
        pressure = Pressure(1, body=10, threads=1, seconds=0.2)
        admission = pressure.enter()
        await admission.queue()
        with pytest.raises(OverloadError, match="deadline"):
            await admission.run(release.wait)
        admission.leave()
        assert pressure.free == 0
        release.set()
        pressure.close()
        await asyncio.sleep(0.01)
        assert pressure.free == 1

    asyncio.run(ask())


def test_a_large_body_is_413() -> None:
    """A body beyond the limit is refused, and gives its bytes back."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 6, "more_body": True}

    async def ask() -> None:
        pressure = Pressure(1, body=10, threads=1, seconds=60)
        admission = pressure.enter()
        with pytest.raises(RequestError, match="at most 10 bytes") as caught:
            await admission.read(receive)
        admission.leave()
        assert caught.value.status == 413
        assert pressure.bytes == 40

    asyncio.run(ask())
