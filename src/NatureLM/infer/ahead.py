"""Decode ahead in several threads, and hand over in the order of the plan at a bounded number of windows.

Each thread decodes one recording at a time and takes the next of the plan when that is done. However many
threads there are, and however long recordings are, together they hold at most ``most`` windows that have not
been handed over: a thread asks for room before it decodes a window. With 32 windows of 10 s at 48 kHz that
is 32 x 1.92 MB = 61 MB. Beside that each thread holds what its decoder and resampler need (a block of 1 s
and up to two windows, about 5 MB), and the model its batch.

Half of the room is for the recording whose turn it is, the other half for those behind it: so neither keeps
the other waiting.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Generic, TypeVar

T = TypeVar("T")

RECORDINGS_AHEAD = 256
"""Most recordings begun ahead: no windows limit the number of those that fail, or have been answered."""


class DecodeAhead(Generic[T]):
    """Runs ``decode`` for each recording and hands over what it yields, recording by recording.

    Parameters
    ----------
    recordings : int
        How many there are.
    decode : callable
        Takes the place of a recording and yields items; those that :attr:`is_window` holds for count.
    is_window : callable
        Whether an item holds samples.
    most : int
        Windows decoded ahead, of all threads together; at least 2.
    threads : int
        Threads that decode.
    model_waits : callable
        Whether time that is waited for the next item counts: not while the model has enough to do.

    Attributes
    ----------
    waited_seconds : float
        Time that has been waited for items, as far as it counts.
    """

    def __init__(
        self,
        recordings: int,
        decode: Callable[[int], Generator[T, None, None]],
        is_window: Callable[[T], bool],
        *,
        most: int,
        threads: int,
        model_waits: Callable[[], bool] = lambda: True,
    ) -> None:
        self._model_waits = model_waits
        self.waited_seconds = 0.0
        self._recordings = recordings
        self._decode = decode
        self._is_window = is_window
        self._most = max(most, 2)
        self._threads = max(1, min(threads, recordings))
        self._changed = threading.Condition()
        self._waiting: dict[int, deque[T]] = {}
        self._ended: set[int] = set()
        self._begun = 0
        self._turn = 0
        self._held: dict[int, int] = {}
        self._stopped = False
        self._error: BaseException | None = None

    def __iter__(self) -> Generator[T, None, None]:
        """Yield the items; closing the generator ends the threads."""
        threads = [
            threading.Thread(target=self._work, name=f"decode-ahead-{number}", daemon=True)
            for number in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        try:
            for turn in range(self._recordings):
                with self._changed:
                    self._turn = turn
                    self._changed.notify_all()
                yield from self._of_turn()
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            for thread in threads:
                thread.join()

    def _of_turn(self) -> Iterator[T]:
        while True:
            began, counts = time.perf_counter(), self._model_waits()
            with self._changed:
                self._changed.wait_for(self._has_something)
                if counts:
                    self.waited_seconds += time.perf_counter() - began
                if self._error is not None:
                    raise self._error
                items = self._waiting.get(self._turn)
                if not items:
                    del self._waiting[self._turn], self._held[self._turn]
                    self._ended.discard(self._turn)
                    return
                item = items.popleft()
                if self._is_window(item):
                    self._held[self._turn] -= 1
                    self._changed.notify_all()
            yield item

    def _has_something(self) -> bool:
        return self._error is not None or bool(self._waiting.get(self._turn)) or self._turn in self._ended

    def _work(self) -> None:
        try:
            while (recording := self._next()) is not None:
                self._decode_one(recording)
        except BaseException as error:  # handed to the thread that iterates, which raises it
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _next(self) -> int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._begun < self._turn + RECORDINGS_AHEAD)
            if self._stopped or self._begun == self._recordings:
                return None
            self._begun += 1
            self._waiting[self._begun - 1] = deque()
            self._held[self._begun - 1] = 0
            return self._begun - 1

    def _decode_one(self, recording: int) -> None:
        with closing(self._decode(recording)) as items:
            while self._take_room(recording):
                item = next(items, None)
                with self._changed:
                    if item is None:
                        self._ended.add(recording)
                    else:
                        self._waiting[recording].append(item)
                    if item is None or not self._is_window(item):
                        self._held[recording] -= 1
                    self._changed.notify_all()
                if item is None:
                    return

    def _take_room(self, recording: int) -> bool:
        """Wait for room for a window; return False if the run has been stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room(recording))
            self._held[recording] += 1
            return not self._stopped

    def _has_room(self, recording: int) -> bool:
        behind = self._most // 2
        of_turn = self._held.get(self._turn, 0)
        if recording == self._turn:
            return of_turn < self._most - behind
        return sum(self._held.values()) - of_turn < behind
