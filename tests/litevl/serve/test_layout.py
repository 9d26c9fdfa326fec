"""What the page's parts call."""

import asyncio
import inspect
import threading
import time

from litevl.serve.layout import at_most


def test_so_many_calls_at_once_and_no_more():
    lock, running, most = threading.Lock(), 0, 0

    def call(value):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return -value

    async def all_at_once():
        limited = at_most(2, call)
        assert list(inspect.signature(limited).parameters) == ["value"]
        return await asyncio.gather(*map(limited, range(6)))

    assert asyncio.run(all_at_once()) == [0, -1, -2, -3, -4, -5]
    assert most == 2
