from __future__ import annotations

import random
import threading
import time
from collections.abc import Generator
from contextlib import closing

import pytest

from NatureLM.infer.ahead import RECORDINGS_AHEAD, DecodeAhead

Item = tuple[int, int]  # recording, window; window 0 is no window


class Decoding:
    """Recordings of so many windows; counts how many windows have been decoded and not handed over."""

    def __init__(self, windows: list[int], seed: int | None = None) -> None:
        self.windows = windows
        self.rng = None if seed is None else random.Random(seed)
        self.lock = threading.Lock()
        self.decoded = 0
        self.begun = 0

    def __call__(self, recording: int) -> Generator[Item, None, None]:
        with self.lock:
            self.begun += 1
        yield recording, 0
        for window in range(1, self.windows[recording] + 1):
            if self.rng is not None:
                time.sleep(self.rng.random() / 1000)
            with self.lock:
                self.decoded += 1
            yield recording, window


def ahead(decoding: Decoding, most: int = 6, threads: int = 3) -> DecodeAhead[Item]:
    count = len(decoding.windows)
    return DecodeAhead(count, decoding, lambda item: item[1] > 0, most=most, threads=threads)


def decoding_threads() -> int:
    return sum(thread.name.startswith("decode-ahead") for thread in threading.enumerate())


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("most", [1, 2, 5])
def test_items_come_in_the_order_of_the_plan(most: int, threads: int) -> None:
    windows = [3, 0, 17, 1, 0, 0, 40, 2, 1, 1]
    decoding = Decoding(windows, seed=most)
    items = list(ahead(decoding, most, threads))
    assert items == [
        (recording, window) for recording, count in enumerate(windows) for window in range(count + 1)
    ]
    assert decoding_threads() == 0


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_windows_ahead_are_bounded_whatever_the_number_of_threads(threads: int) -> None:
    decoding = Decoding([30] * 20, seed=0)
    handed_over = 0
    with closing(iter(ahead(decoding, most=6, threads=threads))) as items:
        for _, window in items:
            handed_over += window > 0
            time.sleep(0.0005)
            assert decoding.decoded - handed_over <= 6
    assert handed_over == 600


def test_later_recordings_are_decoded_while_the_model_works_on_one() -> None:
    decoding = Decoding([100, 100, 100])
    with closing(iter(ahead(decoding, most=8, threads=2))) as items:
        next(items)
        time.sleep(0.1)
        assert decoding.begun == 2 and decoding.decoded == 8


def test_recordings_without_windows_are_bounded_too() -> None:
    decoding = Decoding([0] * 2000)
    with closing(iter(ahead(decoding))) as items:
        next(items)
        time.sleep(0.1)
        assert decoding.begun <= RECORDINGS_AHEAD
        assert sum(1 for _ in items) == 1999


def test_faults_stop_the_run_and_its_threads() -> None:
    def decode(recording: int) -> Generator[Item, None, None]:
        yield recording, 1
        if recording == 1:
            raise TypeError("ours")

    decoding = DecodeAhead(3, decode, lambda item: True, most=4, threads=2)
    with pytest.raises(TypeError, match="ours"):
        list(decoding)
    assert decoding_threads() == 0


def test_closing_ends_the_decoding() -> None:
    closed = []

    def decode(recording: int) -> Generator[Item, None, None]:
        try:
            for window in range(10**6):
                yield recording, window
        finally:
            closed.append(recording)

    items = iter(DecodeAhead(3, decode, lambda item: True, most=4, threads=2))
    next(items)
    items.close()
    assert sorted(closed) == [0, 1] and decoding_threads() == 0


def test_time_that_is_waited_is_counted() -> None:
    def decode(recording: int) -> Generator[Item, None, None]:
        time.sleep(0.2)
        yield recording, 1

    decoding = DecodeAhead(1, decode, lambda item: True, most=4, threads=2)
    assert list(decoding) == [(0, 1)]
    assert 0.15 < decoding.waited_seconds < 2.0
