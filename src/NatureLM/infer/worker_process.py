"""What a worker process does: hold the model, answer the batches that come in, until nothing comes any more.

Started by :class:`NatureLM.infer.workers.Workers` as ``python -m NatureLM.infer.worker_process``. Pickled
objects go both ways, one after another: in a :class:`Setup` and then batches, out a fingerprint and then
answers; in the place of either an exception of ours may come.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from dataclasses import dataclass
from typing import BinaryIO

from NatureLM.errors import NatureLMError
from NatureLM.models.answering import AnswerSettings, Precision


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know.

    Attributes
    ----------
    model : str
        Name of the model to load; there is no fallback.
    device : str
        Where it runs.
    llama_path, precision, fixed_alpha
        As the model's own attributes.
    threads : int
        Threads that it computes with on a CPU.
    settings : AnswerSettings
    most : int
        Prompts that go through the model together.
    """

    model: str
    device: str
    llama_path: str | None
    precision: Precision | None
    fixed_alpha: float | None
    threads: int
    settings: AnswerSettings
    most: int


def serve(inbox: BinaryIO, outbox: BinaryIO) -> None:
    """Load the model and answer batches until the inbox ends, or something goes wrong."""
    try:
        setup: Setup = pickle.load(inbox)
        import torch

        from NatureLM.infer.asking import ask
        from NatureLM.infer.fingerprint import model_fingerprint
        from NatureLM.models.loading import load_model

        torch.set_num_threads(setup.threads)
        model = load_model(setup.model, setup.device, precision=setup.precision, llama_path=setup.llama_path)
        if setup.precision is not None:
            model.to_precision(setup.precision, setup.fixed_alpha or 0.0)
        _send(outbox, model_fingerprint(model))
        while True:
            waveforms, asked, candidates = pickle.load(inbox)
            _send(outbox, ask(model, setup.settings, setup.most, waveforms, asked, candidates))
    except EOFError:
        return
    except NatureLMError as error:
        _send(outbox, error)
    except Exception as error:  # such as a GPU without memory: said where the run is, not here
        _send(outbox, NatureLMError(" ".join(f"{type(error).__name__}: {error}".split())))


def _send(outbox: BinaryIO, content: object) -> None:
    pickle.dump(content, outbox, protocol=pickle.HIGHEST_PROTOCOL)
    outbox.flush()


def main() -> None:
    """Serve on standard input and output; what else is printed goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as outbox:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        try:
            serve(sys.stdin.buffer, outbox)
        except BrokenPipeError:
            os._exit(0)  # the run has gone


if __name__ == "__main__":
    main()
