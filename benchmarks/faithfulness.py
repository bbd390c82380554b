"""Measure whether the bundled model says what its encoder's evidence says, in the form asked for.

    python benchmarks/faithfulness.py --examples 2000

Fresh windows of synthetic evidence (never seen in training: another seed, other backgrounds) are asked
about at the default settings; an answer counts if it equals, word for word, what the evidence demands.
This measures faithfulness to the encoder, not accuracy in the field.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from NatureLM.models.answering import AnswerSettings
from NatureLM.models.naturelm import NatureLM
from NatureLM.training.backgrounds import background_bank
from NatureLM.training.bundled import make_evidence, species_adapter
from NatureLM.training.tasks import Example, TaskMaker

SEED = 77_003
BATCH_SIZE = 32
TAGS = re.compile(r"<[^>]+>")


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    share = right / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    return max(0.0, centre - half), min(1.0, centre + half)


def make_examples(model: NatureLM, count: int, windows: int) -> dict[str, list[tuple[np.ndarray, Example]]]:
    """Return examples with trained and with held-out wordings, each beside its window's logits."""
    encoder = model.audio_encoder.frozen
    adapter = species_adapter(model)
    bank = background_bank(encoder, windows, seed=SEED)
    maker = make_evidence(encoder, bank, adapter.table)
    rng = np.random.default_rng(SEED)
    settings = AnswerSettings()
    made: dict[str, list[tuple[np.ndarray, Example]]] = {}
    for split in ("train", "held_out"):
        tasks = TaskMaker(adapter, adapter.table, split=split)
        logits = maker.windows(count, rng)
        made[split] = [(window, tasks.example(window, rng, settings=settings)) for window in logits]
    return made


def answer_all(model: NatureLM, examples: Sequence[tuple[np.ndarray, Example]]) -> list[str]:
    """Return the model's answers, asked in batches of questions of like length."""
    order = sorted(range(len(examples)), key=lambda place: len(examples[place][1].query))
    answers = [""] * len(examples)
    for first in range(0, len(order), BATCH_SIZE):
        places = order[first : first + BATCH_SIZE]
        given = model.answer(
            [torch.from_numpy(examples[place][0]) for place in places],
            [examples[place][1].query for place in places],
        )
        for place, answer in zip(places, given, strict=True):
            answers[place] = answer.text
    return answers


def main() -> None:
    """Print the share of exact answers by task and wording."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--examples", type=int, default=2000, help="per kind of wording")
    parser.add_argument("--backgrounds", type=int, default=60, help="windows of fresh background")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="print this many wrong answers")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = NatureLM.from_pretrained(options.model)
    right: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    shown = 0
    for split, examples in make_examples(model, options.examples, options.backgrounds).items():
        started = time.perf_counter()
        answers = answer_all(model, examples)
        seconds = time.perf_counter() - started
        for (_, example), answer in zip(examples, answers, strict=True):
            expected = TAGS.sub("", example.answer)
            exact = answer == expected
            right[example.task][split].append(exact)
            right["all"][split].append(exact)
            if not exact and shown < options.show:
                shown += 1
                print(f"{split} {example.task}: {example.query!r}")
                print(f"  expected {expected!r}\n  answered {answer!r}")
        print(f"{split} wordings: {len(examples) / seconds:.0f} answers a second")
    print(f"{'task':22s} {'trained wordings':>28s} {'held-out wordings':>28s}")
    for task in [*sorted(task for task in right if task != "all"), "all"]:
        cells = []
        for split in ("train", "held_out"):
            hits = right[task][split]
            if not hits:
                cells.append(f"{'-':>28s}")
                continue
            low, high = wilson_interval(sum(hits), len(hits))
            cells.append(f"{sum(hits) / len(hits):.3f} ({low:.3f}-{high:.3f}) n={len(hits):<5d}".rjust(28))
        print(f"{task:22s} {cells[0]} {cells[1]}")


if __name__ == "__main__":
    main()
