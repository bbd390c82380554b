"""Measure whether the bundled model says what its encoder's evidence says, in the form asked for.

    python benchmarks/faithfulness.py --windows 5000
    python benchmarks/faithfulness.py --windows 300    # a first look, in a minute

Fresh windows of synthetic evidence (another seed and other backgrounds than in training; classes drawn
evenly from all 6,522; 0 to 9 of them, of which many stay below the floor) are asked about at the default
settings. An answer counts if it equals, word for word, what the evidence demands. This measures faithfulness
to the encoder, not accuracy in the field.

Beside the model stands a baseline without a language model: the trained wording that is written most like the
question says what is asked for, and a template fills in the answer. Given the right task, the templates are
right by definition; what the baseline lacks is an understanding of English.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from baseline import TemplateBaseline

from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.answering import AnswerSettings, Turn
from NatureLM.models.naturelm import NatureLM
from NatureLM.training.answers import NONE, PLACES, UNKNOWN, WELCOME
from NatureLM.training.backgrounds import background_bank
from NatureLM.training.batches import ExampleMaker
from NatureLM.training.bundled import make_evidence, species_adapter
from NatureLM.training.evidence import EVEN
from NatureLM.training.tasks import TASK_SHARES, Example, Logits, TaskMaker

SEED = 77_003
BATCH_SIZE = 64
BASELINE_ONE_IN = 6
"""The baseline compares each question with tens of thousands of wordings, so it is asked only some."""

MIXED = (
    "focal_both",
    "focal_ranks",
    "list_both",
    "list_ranks",
    "count_which",
    "yes_which_kind",
    "yes_which_animal",
)
CORE = (
    *(f"focal_{form}" for form in ("common", "scientific", "genus", "family", "order")),
    *("which_of", "focal_of", "either_or", "is_species", "no_species"),
    *("caption_plain", "caption_common", "caption_scientific"),
    *MIXED,
)
"""Tasks with a bound of their own, asked more often."""

OUTSIDE = ("outside_knowledge", "outside_species", "outside_kind", "is_unknown")
WORDS = re.compile(r"[^\W\d_]+")
ANSWER_WORDS = frozenset(
    word.lower()
    for text in (
        NONE,
        UNKNOWN,
        WELCOME,
        "Yes No",
        "A recording of X, with Y and Z in the background.",
        "No animal species is heard, only X.",
        *PLACES,
    )
    for word in WORDS.findall(text)
) - {"x", "y", "z"}


@dataclass
class Asked:
    """A question of the benchmark with the answers to it."""

    section: str
    example: Example
    expected: str
    answered: str = ""
    confidence: float = 0.0
    baseline: str | None = None

    @property
    def right(self) -> bool:
        """Whether the model's answer is the one that the evidence demands."""
        return self.answered == self.expected


@dataclass
class Names:
    """What names the answers hold."""

    answers: int = 0
    invented: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    share = right / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    return max(0.0, centre - half), min(1.0, centre + half)


def expected_text(adapter: SpeciesTokensAdapter, example: Example) -> str:
    """Return the demanded answer as a user would read it."""
    return adapter.text(example.context, adapter.tokenizer.encode(example.answer, add_special_tokens=False))


def make_questions(
    model: NatureLM, windows: int, backgrounds: int, sections: Sequence[str] = ()
) -> list[Asked]:
    """Return the questions of all sections, or of those named, about fresh windows."""
    encoder = model.audio_encoder.frozen
    adapter = species_adapter(model)
    maker = make_evidence(encoder, background_bank(encoder, backgrounds, seed=SEED), adapter.table, EVEN)
    rng = np.random.default_rng(SEED)
    settings = AnswerSettings()
    made: list[tuple[str, Example]] = []
    splits = {
        split: TaskMaker(adapter, adapter.table, split=split, noise=False)
        for split in ("train", "held_out", "free")
    }
    for first in range(0, windows, 500):
        logits = maker.windows(min(500, windows - first), rng)
        for place, window in enumerate(logits):
            for split, tasks in splits.items():
                task = tasks.tasks[(first + place) % len(tasks.tasks)]
                made.append((split, tasks.example(window, rng, task, settings)))
            made.append(("lists", splits["train"].example(window, rng, "list_common", settings)))
            # The loudest of three windows: lists of four species and more are rare otherwise.
            mixed = np.maximum.reduce([window, *logits[rng.integers(len(logits), size=2)]])
            made.append(("lists", splits["train"].example(mixed, rng, "list_common", settings)))
            core = CORE[(first + place) % len(CORE)]
            made.append(("train", splits["train"].example(window, rng, core, settings)))
            made.append(("held_out", splits["held_out"].example(window, rng, core, settings)))
        for split in ("train", "held_out"):
            examples = ExampleMaker(splits[split])
            loud = [window for window in logits if window.max() > 0]
            for window in loud[: len(loud) // 2]:
                made.append((f"{split} turns", examples.conversations.example(window, rng, settings)))
            for window, other in zip(loud[::2], loud[1::2], strict=False):
                made.append((f"{split} pairs", examples.pairs.example(window, other, rng, settings)))
            for first_window, second_window in rich_pairs(logits, rng):
                example = examples.pairs.example(first_window, second_window, rng, settings)
                made.append((f"{split} rich pairs", example))
    return [
        Asked(section, example, expected_text(adapter, example))
        for section, example in made
        if not sections or section in sections
    ]


def rich_pairs(logits: Logits, rng: np.random.Generator) -> Iterator[tuple[Logits, Logits]]:
    """Yield a pair for each six windows [segments, classes]: the loudest of three, and of the other three."""
    for places in rng.permutation(len(logits))[: len(logits) // 6 * 6].reshape(-1, 6):
        yield np.maximum.reduce(logits[places[:3]]), np.maximum.reduce(logits[places[3:]])


def answer_all(model: NatureLM, asked: Sequence[Asked]) -> None:
    """Have the model answer, in batches of questions of like length."""
    order = sorted(asked, key=lambda item: sum(map(len, item.example.texts)))
    for first in range(0, len(order), BATCH_SIZE):
        batch = order[first : first + BATCH_SIZE]
        texts = [item.example.texts for item in batch]
        answers = model.answer(
            [[torch.from_numpy(window) for window in item.example.windows] for item in batch],
            [conversation[-1] for conversation in texts],
            histories=[
                [Turn(*turn) for turn in zip(conversation[:-1:2], conversation[1::2], strict=True)]
                for conversation in texts
            ],
        )
        for item, answer in zip(batch, answers, strict=True):
            item.answered, item.confidence = answer.text, answer.confidence


def list_scores(asked: Iterable[Asked]) -> dict[str, tuple[float, int]]:
    """Return the F1 of the names in lists by the number of species that are there, and of None."""
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    none = [0, 0, 0]
    for item in asked:
        truth = set() if item.expected == NONE else set(item.expected.split(", "))
        said = set() if item.answered == NONE else set(item.answered.split(", "))
        hits = counts[min(len(truth), 6)]
        hits[0] += len(truth & said)
        hits[1] += len(said - truth)
        hits[2] += len(truth - said)
        hits[3] += 1
        none[0] += not truth and not said
        none[1] += bool(truth) and not said
        none[2] += not truth and bool(said)
    scores: dict[str, tuple[float, int]] = {}
    for number in sorted(counts):
        right, wrong, missed, lists = counts[number]
        if number:
            f1 = 2 * right / max(2 * right + wrong + missed, 1)
            scores[f"lists, {number}{' or more' if number == 6 else ''} species: F1"] = (f1, lists)
        else:
            scores["lists, no species: share of None"] = (none[0] / lists, lists)
    right, wrong, missed = (sum(hits[place] for hits in counts.values()) for place in range(3))
    scores["lists, all: F1"] = (
        2 * right / max(2 * right + wrong + missed, 1),
        sum(h[3] for h in counts.values()),
    )
    scores["None in lists: precision"] = (none[0] / max(none[0] + none[1], 1), none[0] + none[1])
    scores["None in lists: recall"] = (none[0] / max(none[0] + none[2], 1), none[0] + none[2])
    return scores


def check_names(adapter: SpeciesTokensAdapter, asked: Iterable[Asked]) -> Names:
    """Look for names in the answers that the evidence does not hold, or that are no names at all."""
    names = Names()
    for item in asked:
        names.answers += 1
        rest = item.answered
        known = {name for slot in adapter.named_slots(item.example.context) for name in slot.names.values()}
        for name in sorted(known, key=len, reverse=True):
            rest = rest.replace(name, "")
        found = adapter.finder.find(rest, genera=True)
        if any(adapter.table[concept.classes[0]].is_animal for concept in found):
            names.unsupported.append(item.answered)
        elif {word.lower() for word in WORDS.findall(rest)} - ANSWER_WORDS:
            names.invented.append(item.answered)
    return names


def table_of_tasks(asked: Sequence[Asked]) -> list[str]:
    """Return the lines of the table of exact answers by task and wording, as Markdown."""
    columns = ("train", "held_out", "free")
    cells: dict[str, dict[str, list[Asked]]] = defaultdict(lambda: defaultdict(list))
    for item in asked:
        split, _, sort = item.section.partition(" ")
        if split in columns:
            task = item.example.task
            row = f"{sort}: full questions" if sort and task.startswith("then_") else task
            if sort == "rich pairs" and row == task:
                row = f"{sort}: {task}"
            cells[row][split].append(item)
            cells[f"all, {sort}" if sort else "all, single"][split].append(item)
    lines = [
        "| task | trained wordings | n | held-out wordings | n | freely worded | n | baseline, held-out |",
        "|---|---|---|---|---|---|---|---|",
    ]
    order = [*TASK_SHARES, *sorted(set(cells) - set(TASK_SHARES))]
    for row in (row for row in order if row in cells):
        line = f"| {row} "
        for split in columns:
            items = cells[row][split]
            if not items:
                line += "| - | 0 "
                continue
            right = sum(item.right for item in items)
            low, high = wilson_interval(right, len(items))
            line += f"| {right / len(items):.3f} ({low:.3f}-{high:.3f}) | {len(items)} "
        with_baseline = [item for item in cells[row]["held_out"] if item.baseline is not None]
        share = np.mean([item.baseline == item.expected for item in with_baseline]) if with_baseline else None
        lines.append(line + ("| - |" if share is None else f"| {share:.3f} |"))
    return lines


def share(items: Sequence[bool]) -> tuple[float, int]:
    """Return the share of what is true, and how many there are."""
    return (float(np.mean(items)) if items else float("nan")), len(items)


def figures(asked: Sequence[Asked], names: Names) -> dict[str, tuple[float, int]]:
    """Return the figures that the model is judged by, each with its count."""

    def exact(section: str, tasks: Iterable[str] | None = None) -> tuple[float, int]:
        wanted = None if tasks is None else set(tasks)
        return share(
            [
                item.right
                for item in asked
                if item.section == section and (wanted is None or item.example.task in wanted)
            ]
        )

    result: dict[str, tuple[float, int]] = {}
    for form in ("common", "scientific", "genus", "family", "order"):
        result[f"focal {form}: exact"] = exact("train", [f"focal_{form}"])
    result |= list_scores(item for item in asked if item.section == "lists")
    focal = [item for item in asked if item.section == "train" and item.example.task.startswith("focal")]
    result["None for the focal species: precision"] = share(
        [item.expected == NONE for item in focal if item.answered == NONE]
    )
    result["None for the focal species: recall"] = share(
        [item.answered == NONE for item in focal if item.expected == NONE]
    )
    result["which of these: exact"] = exact("train", ["which_of", "focal_of", "either_or"])
    result["is there a species: exact"] = exact("train", ["is_species", "is_group", "no_species", "no_group"])
    result["is there a kind or animal: exact"] = exact(
        "train", ["is_kind", "is_animal", "is_rank", "is_sound", "no_kind", "no_animal"]
    )
    result["captions: exact"] = exact("train", ["caption_plain", "caption_common", "caption_scientific"])
    result["mixed requests: exact"] = exact("train", MIXED)
    result["follow-ups: exact"] = exact("train turns")
    result["two recordings: exact"] = exact("train pairs")
    result["two recordings of more species: exact"] = exact("train rich pairs")
    result["trained wordings, single questions: exact"] = exact("train")
    result["held-out wordings, single questions: exact"] = exact("held_out")
    result["held-out wordings, mixed requests: exact"] = exact("held_out", MIXED)
    result["held-out wordings, follow-ups: exact"] = exact("held_out turns")
    result["held-out wordings, two recordings: exact"] = exact("held_out pairs")
    result["held-out wordings, two recordings of more species: exact"] = exact("held_out rich pairs")
    result["freely worded questions: exact"] = exact("free")
    for section in ("train", "held_out", "free"):
        result[f"outside knowledge, {section}: said so"] = exact(section, OUTSIDE)
        ordinary = [item for item in asked if item.section == section and item.expected != UNKNOWN]
        result[f"ordinary questions, {section}: called outside knowledge"] = share(
            [item.answered == UNKNOWN for item in ordinary]
        )
    result["invented names: share of answers"] = (len(names.invented) / names.answers, names.answers)
    result["real names without evidence: share of answers"] = (
        len(names.unsupported) / names.answers,
        names.answers,
    )
    with_baseline = [item for item in asked if item.baseline is not None]
    for section in ("train", "held_out", "free", "held_out turns", "held_out pairs"):
        result[f"baseline, {section}: exact"] = share(
            [item.baseline == item.expected for item in with_baseline if item.section == section]
        )
    return result


def main() -> None:
    """Print the figures and the table of tasks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--windows", type=int, default=5000)
    parser.add_argument("--backgrounds", type=int, default=60, help="windows of fresh background")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="print this many wrong answers of each section")
    parser.add_argument("--sections", nargs="*", default=[], help="ask these only, for example lists")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = NatureLM.from_pretrained(options.model)
    adapter = species_adapter(model)
    asked = make_questions(model, options.windows, options.backgrounds, options.sections)
    started = time.perf_counter()
    answer_all(model, asked)
    print(f"{len(asked)} answers, {len(asked) / (time.perf_counter() - started):.0f} a second\n")
    if not options.no_baseline:
        baseline = TemplateBaseline(adapter)
        some = asked[::BASELINE_ONE_IN]
        for item, answer in zip(some, baseline.answers([item.example for item in some]), strict=True):
            item.baseline = answer
    shown: dict[str, int] = defaultdict(int)
    for item in asked:
        if not item.right and shown[item.section] < options.show:
            shown[item.section] += 1
            print(f"{item.section}, {item.example.task}: {item.example.texts!r}")
            print(f"  expected {item.expected!r}\n  answered {item.answered!r}")
    print("\n".join(table_of_tasks(asked)))
    print()
    names = check_names(adapter, asked)
    for kind, answers in (("invented", names.invented), ("unsupported", names.unsupported)):
        for text in answers[: options.show]:
            print(f"{kind} name in {text!r}")
    result = figures(asked, names)
    for name, (value, count) in result.items():
        print(f"{name:64s} {value:.4f}  n={count}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
