"""Files changed at random, byte by byte or value by value, as a fuzzer's inputs: one seed gives one change."""

import json
import random
from pathlib import Path
from typing import Any

PIECES = (
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xc3\x28",
        b"\n",
        b"\r",
        b'"',
        b"'",
        b",",
        b"\t",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(
        b"NaN",
        b"-1",
        b"1e999",
        b"null",
        b"../../etc/passwd",
        b"/etc/passwd",
        b"C:\\x",
        b"\xe2\x80\xa8",
        b"\\ud800",
        b"\\u0000",
    ),
    *(b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"a" * 200_000),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, float("nan"), float("inf"), -float("inf")),
    *("", " ", "\0", "\ud800", "..", "../x", "a/../../x", "/etc/passwd", "C:\\x", "..\\x", "~", "\u2028", "x" * 5000),
    *([], {}, [[]], [None], {"": None}, ["a", 1], {"video_id": []}, ["../x"]),
)


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to three changes: bytes flipped, cut out, doubled, put in or zeroed, or the end cut off."""
    for _ in range(rng.randint(1, 3)):
        first = rng.randint(0, len(data))
        last = min(len(data), first + rng.choice((1, 1, 4, 64, 1000)))
        middle = data[first:last]
        change = rng.randrange(6)
        if change == 0:
            middle = bytes(byte ^ (1 << rng.randrange(8)) for byte in middle[:4]) + middle[4:]
        elif change == 1:
            middle = b""
        elif change == 2:
            middle += middle
        elif change == 3:
            middle = rng.choice(PIECES) + middle
        elif change == 4:
            middle = bytes(len(middle))
        else:
            data, middle = data[:last], b""
        data = data[:first] + middle + data[last:]
    return data


def mutated_value(value: Any, rng: random.Random) -> Any:
    """The value with one to three of the values in it replaced, taken out, doubled or moved under another key."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 3)):
        holders = [value, *_containers(value)]
        holder = rng.choice(holders)
        if not isinstance(holder, (dict, list)) or not holder:
            return rng.choice(VALUES)
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        change = rng.randrange(5)
        if change == 0:
            del holder[key]
        elif change == 1 and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif change == 1:
            holder[rng.choice(("id", "video", "split", "x", ""))] = holder.pop(key)
        else:
            holder[key] = rng.choice(VALUES)
    return value


def _containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for child in inner if isinstance(child, (dict, list)) for each in (child, *_containers(child))]


def mutate_file(path: Path, rng: random.Random) -> None:
    """Changes a file in place; JSON by its values as often as by its bytes."""
    data = path.read_bytes()
    if path.suffix == ".json" and rng.random() < 0.6:
        path.write_text(json.dumps(mutated_value(json.loads(data), rng)), encoding="utf-8")
    else:
        path.write_bytes(mutated_bytes(data, rng))
