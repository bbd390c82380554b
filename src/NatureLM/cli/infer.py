"""``naturelm infer``: ask questions about recordings."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

from NatureLM.cli import places
from NatureLM.cli.device import DeviceOption

EXAMPLES = """\b
Examples:
  naturelm infer --audio-path assets --query "What is the common name for the focal species in the audio?"
  naturelm infer --audio-path card1 --audio-path card2 --query "Caption the audio" --output-path june.jsonl
  naturelm infer --audio-path card1 --query "Species?" --output-path june --format csv,raven
  naturelm infer --cfg-path configs/inference.yml --audio-path assets --query "Caption the audio" \\
      --window-length-seconds 10.0 --hop-length-seconds 10.0
  naturelm infer --audio-path long.wav --min-evidence 0.5 generation.max_species=3 \\
      --query "What are the common names for the species in the audio, if any?"
  naturelm infer --audio-path card1 --query "Species?" --candidates species.txt --top-k 5
  naturelm infer --audio-path card1 --query "Species?" --latitude 42.5 --longitude -76.5
"""


def infer(
    overrides: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of the configuration to change, for example generation.num_beams=1; "
            "further recordings, as a shell makes of --audio-path *.wav, are taken as such.",
            show_default=False,
        ),
    ] = None,
    cfg_path: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="YAML configuration, such as configs/inference.yml; without it, the bundled model's.",
        ),
    ] = None,
    model: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="bundled, a hub id or a folder, in place of the configuration's model and its fallback.",
        ),
    ] = None,
    audio_path: Annotated[
        Optional[list[Path]],
        typer.Option(
            metavar="PATH", help="Recording, or folder to search with all its subfolders; may be repeated."
        ),
    ] = None,
    query: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="TEXT", help="What to ask of every window; may be repeated (windows are encoded once)."
        ),
    ] = None,
    output_path: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Results; the ending says the format (.jsonl, .csv, .parquet, ...), unless --format does. "
            "- streams jsonl to standard output and writes no files. "
            "A run that was stopped goes on when the same command is given again; other files named here are "
            "replaced only with --overwrite. "
            "Without this option: inference_output.jsonl, which a run with other parameters moves aside.",
        ),
    ] = None,
    formats: Annotated[
        Optional[list[str]],
        typer.Option(
            "--format",
            metavar="NAMES",
            help="jsonl, csv, parquet, raven (a selection table per recording), raven-combined, audacity, "
            "kaleidoscope; several with commas between. The files are named after --output-path.",
        ),
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="In csv and parquet, one row per species and window.")
    ] = False,
    merge_consecutive: Annotated[
        bool,
        typer.Option(
            "--merge-consecutive",
            help="Where rows are per species, one row for windows that follow one another.",
        ),
    ] = False,
    window_length_seconds: Annotated[
        Optional[float], typer.Option(metavar="SECONDS", help="Length of a window.  [default: 10.0]")
    ] = None,
    hop_length_seconds: Annotated[
        Optional[float],
        typer.Option(
            metavar="SECONDS", help="Distance from one window's start to the next.  [default: the length]"
        ),
    ] = None,
    time_expansion: Annotated[
        Optional[float],
        typer.Option(
            metavar="FACTOR",
            help="Slow recordings by this factor, for ultrasonic calls: 10 takes 384 kHz for 38.4. Window "
            "and hop length are seconds of the slowed sound, times in results those of the recording. Not "
            "for files that were recorded slowed.  [default: 1.0]",
        ),
    ] = None,
    silence_db: Annotated[
        Optional[float],
        typer.Option(
            metavar="DBFS",
            max=0.0,
            help="Answer windows whose level (RMS relative to full scale) is below this, for example -60, "
            "with None and without the model.",
        ),
    ] = None,
    batch_size: Annotated[
        Optional[int],
        typer.Option(metavar="N", min=1, help="Windows that go through the model together.  [default: 16]"),
    ] = None,
    calibration: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="What naturelm calibrate made of verified detections: gives each detection a probability.",
        ),
    ] = None,
    device: DeviceOption = None,
    workers: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="CPU processes that share the work; they divide the threads."),
    ] = 1,
    devices: Annotated[
        Optional[str],
        typer.Option(metavar="NAMES", help="Devices with a process each, such as cuda:0,cuda:1."),
    ] = None,
    channel: Annotated[
        Optional[str],
        typer.Option(
            metavar="CHANNEL",
            help="mix (mean of the channels), each, or a channel number from 1.  [default: mix]",
        ),
    ] = None,
    min_evidence: Annotated[
        Optional[float],
        typer.Option(
            metavar="0-1",
            min=0.0,
            max=1.0,
            help="Evidence below which no species is named (bundled model: 0.25).",
        ),
    ] = None,
    max_species: Annotated[
        Optional[int],
        typer.Option(metavar="N", min=0, help="Most species named per window (bundled model: 6)."),
    ] = None,
    min_confidence: Annotated[
        Optional[float],
        typer.Option(
            metavar="0-1",
            min=0.0,
            max=1.0,
            help="Confidence below which an answer is withheld: its row says None, with the answer itself "
            "under withheld.",
        ),
    ] = None,
    candidates: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAMES",
            help="What answers may name: a file with a name a line, or names with commas between (common, "
            "scientific or eBird names and codes, BirdNET's labels). Rows get a score for each.",
        ),
    ] = None,
    known_names: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAMES",
            help="Names that answers of the published model are held to, as --candidates takes them; without "
            "scores, and so faster.",
        ),
    ] = None,
    ignore_unknown: Annotated[
        Optional[bool],
        typer.Option("--ignore-unknown", help="Leave out candidates that the model does not know."),
    ] = None,
    top_k: Annotated[
        Optional[int],
        typer.Option(metavar="N", min=1, help="Most scores in a row, the best.  [default: all candidates]"),
    ] = None,
    latitude: places.Latitude = None,
    longitude: places.Longitude = None,
    week: places.Week = None,
    date: places.Date = None,
    range_threshold: places.RangeThreshold = None,
    merging_alpha: Annotated[
        Optional[float],
        typer.Option(
            metavar="0-1", min=0.0, max=1.0, help="Factor on the LoRA scaling (models with LoRA only)."
        ),
    ] = None,
    max_new_tokens: Annotated[
        Optional[int], typer.Option(metavar="N", min=1, help="Longest answer in tokens.  [default: 300]")
    ] = None,
    num_beams: Annotated[
        Optional[int], typer.Option(metavar="N", min=1, help="Beams of the search; 1 is greedy.")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Stop at the first recording that cannot be read, and never fall back to another model.",
        ),
    ] = False,
    allow_fallback: Annotated[
        bool,
        typer.Option(
            "--allow-fallback", help="Let the bundled model answer if the one asked for cannot be had."
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace the results named by --output-path, and begin anew where parameters differ.",
        ),
    ] = False,
) -> int:
    """Ask questions about recordings; print each window's answer and write all to a file.

    Exit status: 0, 1 if any recording failed (all others are answered, unless --strict), 2 for bad usage.
    """
    from NatureLM.cli.display import Display
    from NatureLM.errors import ConfigError
    from NatureLM.infer.run import RunRequest, run_inference
    from NatureLM.infer.settings import read_configuration
    from NatureLM.infer.sinks import STANDARD_OUTPUT

    # A shell turns `--audio-path *.wav` into one option and further bare paths.
    paths = [text for text in overrides or () if os.path.exists(text)]
    overrides = [text for text in overrides or () if text not in paths]
    if strict and allow_fallback:
        raise ConfigError("--strict and --allow-fallback exclude each other; leave one out.")
    options = {
        "model": model,
        "device": device.value if device else None,
        "window_length_seconds": window_length_seconds,
        "hop_length_seconds": hop_length_seconds,
        "time_expansion": time_expansion,
        "silence_db": silence_db,
        "batch_size": batch_size,
        "channel": channel,
        "calibration": None if calibration is None else str(calibration),
        "generation.min_evidence": min_evidence,
        "generation.max_species": max_species,
        "generation.min_confidence": min_confidence,
        "generation.merging_alpha": merging_alpha,
        "generation.max_new_tokens": max_new_tokens,
        "generation.num_beams": num_beams,
        "candidates.names": candidates,
        "candidates.known_names": known_names,
        "candidates.ignore_unknown": ignore_unknown,
        "candidates.top_k": top_k,
        "candidates.latitude": latitude,
        "candidates.longitude": longitude,
        "candidates.week": week,
        "candidates.date": date,
        "candidates.range_threshold": range_threshold,
    }
    configuration = read_configuration(cfg_path, overrides, options)
    fallback = configuration.config.fallback
    if strict or (model is not None and not allow_fallback):
        fallback = None
    elif allow_fallback and fallback is None:
        fallback = "bundled"
    config = configuration.config.model_copy(update={"fallback": fallback})
    request = RunRequest(
        audio_paths=[*(audio_path or ()), *map(Path, paths)],
        queries=query or (),
        output=output_path,
        overwrite=overwrite,
        formats=formats or (),
        long=long,
        merge_consecutive=merge_consecutive,
        strict=strict,
        workers=workers,
        devices=[name.strip() for name in devices.split(",")] if devices else (),
        configuration=replace(configuration, config=config),
    )
    with Display(queries=len(request.queries), show_answers=output_path != STANDARD_OUTPUT) as display:
        summary = run_inference(request, display)
    display.close_with(summary)
    return 1 if summary.failures else 0
