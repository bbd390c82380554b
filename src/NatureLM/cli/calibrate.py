"""``naturelm calibrate``: from verified detections to the probability that a detection is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """\b
Examples:
  naturelm calibrate reviewed.csv --scores june.jsonl
  naturelm calibrate june.raven --scores june.jsonl --output-path owls.json
  naturelm infer --audio-path july --query "Species?" --calibration reviewed.calibration.json
"""


def calibrate(
    reviewed: Annotated[
        list[Path],
        typer.Argument(
            metavar="REVIEWED...",
            help="Verified detections: CSV, TSV or Raven selection tables with the recording, start, end, "
            "species (common or scientific) and a verdict (yes or no) in a row, or folders of them.",
        ),
    ],
    scores: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Results of the run that made the detections: .jsonl, .csv or .parquet, its .run.json "
            "beside it.",
        ),
    ],
    output_path: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="The calibration, for naturelm infer --calibration; a picture goes beside it.  "
            "[default: REVIEWED with .calibration.json for its ending]",
        ),
    ] = None,
    min_reviews: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Right and wrong reviews, each, that a species needs for a fit of its own; others share "
            "one.",
        ),
    ] = 10,
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap; 0 leaves intervals out.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> int:
    """Learn from verified detections how probably a detection of a score is right.

    Prints the scores from which on detections are right with a probability of 90, 95 and 99 %, each with the
    reviews at or above it and a 95 % interval. docs/thresholds.md says how to choose what to review.
    """
    from NatureLM.calibration.calibrating import calibrate as make
    from NatureLM.calibration.report import lines, paths_for, save

    paths = paths_for(reviewed[0], output_path, overwrite=overwrite)
    made = make(reviewed, scores, min_reviews=min_reviews, resamples=resamples, seed=seed)
    for line in lines(made):
        typer.echo(line)
    for line in save(made, paths):
        typer.echo(line, err=True)
    return 0
