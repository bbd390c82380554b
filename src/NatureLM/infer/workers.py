"""Several processes that each hold the model: whole batches out, their answers back.

The run decodes and forms batches as with one process, so batches have the same members, and takes the
answers in the order of the plan: rows and journal do not depend on the number of workers.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from NatureLM.errors import NatureLMError
from NatureLM.infer.worker_process import Setup
from NatureLM.models.answering import Candidates, ModelAnswer

SOURCE = Path(__file__).parents[2]

Answers = list[list[ModelAnswer]]


class Workers:
    """Starts a process for each device; whoever starts them must :meth:`close` them.

    Parameters
    ----------
    setup : Setup
        What they need to know; its device is that of each in turn.
    devices : sequence of str
        One per process, such as ``("cpu", "cpu")`` or ``("cuda:0", "cuda:1")``.
    fingerprint : str
        Of the model that the run names: a worker must hold the same.

    Raises
    ------
    NatureLMError
        A worker cannot load the model.
    """

    def __init__(self, setup: Setup, devices: Sequence[str], fingerprint: str) -> None:
        self.devices = tuple(devices)
        self._jobs: queue.SimpleQueue[tuple[Any, Future[Answers]] | None] = queue.SimpleQueue()
        self._busy = 0
        self._counted = threading.Lock()
        self._processes = [_start(setup.threads) for _ in self.devices]
        self._threads: list[threading.Thread] = []
        try:
            for place, device in enumerate(self.devices):
                self._send(place, replace(setup, device=device))
            for place in range(len(self.devices)):
                if self._receive(place) != fingerprint:
                    raise NatureLMError(
                        f"{self._name(place)} holds other weights than the run, or the same in another "
                        "number format; name devices of one kind, or one dtype for all, and do not change "
                        "the model's files while it runs."
                    )
        except BaseException:
            self.close()
            raise
        for place in range(len(self.devices)):
            thread = threading.Thread(target=self._serve, args=(place,), name=f"worker-{place}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def submit(
        self,
        waveforms: Sequence[npt.NDArray[np.float32]],
        asked: Sequence[Sequence[str]],
        candidates: Sequence[Candidates | None] = (),
    ) -> Future[Answers]:
        """Have a batch answered by the next worker that is free; see :func:`NatureLM.infer.asking.ask`."""
        job: Future[Answers] = Future()
        with self._counted:
            self._busy += 1
        self._jobs.put(((list(waveforms), list(asked), list(candidates)), job))
        return job

    @property
    def has_idle(self) -> bool:
        """Whether a worker has nothing to do."""
        return self._busy < len(self.devices)

    def close(self) -> None:
        """End the processes, whatever they are at."""
        for process in self._processes:
            process.kill()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with suppress(OSError):  # what a killed process has not read cannot be flushed
                    pipe.close()
            process.wait()

    def _serve(self, place: int) -> None:
        while (work := self._jobs.get()) is not None:
            content, job = work
            try:
                self._send(place, content)
                job.set_result(self._receive(place))
            except BaseException as error:  # raised where the answers are waited for
                job.set_exception(error)
            finally:
                with self._counted:
                    self._busy -= 1

    def _send(self, place: int, content: object) -> None:
        pipe = self._processes[place].stdin
        assert pipe is not None
        try:
            pickle.dump(content, pipe, protocol=pickle.HIGHEST_PROTOCOL)
            pipe.flush()
        except OSError:
            raise self._ended(place) from None

    def _receive(self, place: int) -> Any:
        pipe = self._processes[place].stdout
        assert pipe is not None
        try:
            content = pickle.load(pipe)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise self._ended(place) from None
        if isinstance(content, NatureLMError):
            raise type(content)(f"{self._name(place)}: {content}")
        return content

    def _ended(self, place: int) -> NatureLMError:
        code = self._processes[place].wait()
        how = f"with status {code}"
        if code < 0:
            how = f"by {signal.Signals(-code).name}"
        return NatureLMError(
            f"{self._name(place)} was ended {how}; what was finished is kept. Give the same command again to "
            "go on, with fewer --workers if the memory did not suffice."
        )

    def _name(self, place: int) -> str:
        return f"worker {place + 1} of {len(self.devices)} ({self.devices[place]})"


def _start(threads: int) -> subprocess.Popen[bytes]:
    paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(threads),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "NatureLM.infer.worker_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
