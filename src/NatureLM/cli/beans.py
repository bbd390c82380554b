"""``beans``: run and score the BEANS-Zero benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn, Optional

import typer

from NatureLM import __version__
from NatureLM.cli.device import DeviceOption
from NatureLM.cli.running import FAILED, run_and_exit
from NatureLM.errors import ConfigError

EXAMPLES = """\b
Examples:
  beans --cfg-path configs/inference.yml --data-path EarthSpeciesProject/BEANS-Zero --output-path beans.jsonl
  beans --data-path BEANS-Zero --components esc50,watkins --limit 100 --output-path beans.jsonl
  beans score beans.jsonl
  beans report beans_metrics.json --picture beans.png
"""
SCORE_EXAMPLES = """\b
Examples:
  beans score beans_zero_eval.jsonl
  beans score predictions.csv --labels component --model "my model"
"""
INFO_EXAMPLES = """\b
Examples:
  beans info
  beans info watkins
"""
REPORT_EXAMPLES = """\b
Examples:
  beans report beans_zero_eval_metrics.json
  beans report a_metrics.json b_metrics.json --format markdown --picture beans.svg
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


HUB_ID = "EarthSpeciesProject/BEANS-Zero"
DEFAULT_OUTPUT = Path("beans_zero_eval.jsonl")


class Labels(str, Enum):
    """Which labels predictions are matched to."""

    present = "present"
    component = "component"


class TableFormat(str, Enum):
    """How a table is written."""

    rich = "rich"
    markdown = "markdown"
    csv = "csv"


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"beans {__version__}")
        raise typer.Exit


def _refuse_options(context: typer.Context) -> None:
    """Refuse options of the run before a command, which would not hear them."""
    for name in _given(context):
        raise ConfigError(
            f"--{name.replace('_', '-')} before {context.invoked_subcommand} belongs to the run; "
            f"leave it out, or see beans {context.invoked_subcommand} --help."
        )


def _given(context: typer.Context) -> list[str]:
    """Return the options that were typed; a list that was not is None or empty."""
    return [name for name, value in context.params.items() if value or (value == 0 and value is not False)]


@app.callback(invoke_without_command=True, epilog=EXAMPLES)
def beans(
    context: typer.Context,
    cfg_path: Annotated[
        Optional[Path], typer.Option(help="YAML configuration; without it, the bundled model's.")
    ] = None,
    model: Annotated[
        Optional[str],
        typer.Option(metavar="NAME", help="bundled, a hub id or a folder, in place of the configuration's."),
    ] = None,
    data_path: Annotated[
        Optional[str],
        typer.Option(
            metavar="DATA",
            help="Hub id of the benchmark (read where it lies), or a copy of it: what save_to_disk wrote, "
            f"Arrow or Parquet files, audio files with a table (CSV, JSON lines).  [default: {HUB_ID}]",
        ),
    ] = None,
    output_path: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Predictions, one JSON object a line; metrics go to FILE with _metrics.json and "
            "_metrics.jsonl for its ending. A run that was stopped goes on when the same command is given "
            f"again.  [default: {DEFAULT_OUTPUT}]",
        ),
    ] = None,
    components: Annotated[
        Optional[str],
        typer.Option(metavar="NAMES", help="Only these, with commas between, such as esc50,watkins."),
    ] = None,
    limit: Annotated[
        Optional[int], typer.Option(metavar="N", min=1, help="Only the first N rows of each component.")
    ] = None,
    batch_size: Annotated[
        Optional[int],
        typer.Option(metavar="N", min=1, help="Rows that go through the model together.  [default: 16]"),
    ] = None,
    num_workers: Annotated[
        Optional[int],
        typer.Option(
            metavar="N",
            min=0,
            help="Threads that read and resample audio (0 counts as 1).  [default: one per core, at most 4]",
        ),
    ] = None,
    device: DeviceOption = None,
    options: Annotated[
        Optional[list[str]],
        typer.Option(metavar="KEY=VALUE", help="A setting of the configuration to change; may be repeated."),
    ] = None,
    allow_fallback: Annotated[
        bool,
        typer.Option("--allow-fallback", help="Let the bundled model be scored if the one asked for cannot."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where another run wrote --output-path.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> int:
    """Ask a model the questions of the BEANS-Zero benchmark and score its answers.

    Without a command, the run itself. The commands score, info and report need no model.
    Exit status of the run: 0; 1 if a row failed or a component could not be scored; 2 for bad usage.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return 0
    if not _given(context):
        raise ConfigError(f"Nothing to run on: give --data-path, {HUB_ID} or a copy of it. See beans --help.")
    from NatureLM.beans_zero import report
    from NatureLM.beans_zero.run import PROTOCOL, Request, run_benchmark
    from NatureLM.cli.beans_display import Display
    from NatureLM.infer.settings import read_configuration

    for key in (option.partition("=")[0].strip() for option in options or ()):
        if key in PROTOCOL:
            raise ConfigError(f"--options {key}: the benchmark says how rows are heard; leave it out.")
    typed = {"model": model, "batch_size": batch_size, "device": device.value if device else None}
    configuration = read_configuration(cfg_path, options or (), typed)
    fallback = (configuration.config.fallback or "bundled") if allow_fallback else None
    config = configuration.config.model_copy(update={"fallback": fallback})
    request = Request(
        data_path=data_path or HUB_ID,
        output=output_path or DEFAULT_OUTPUT,
        components=() if components is None else _component_names(components),
        limit=limit,
        overwrite=overwrite,
        decoders=num_workers,
        configuration=replace(configuration, config=config),
    )
    with Display() as display:
        done = run_benchmark(request, display)
    if report.lines([done.results]):
        typer.echo(report.as_text([done.results], _columns()), nl=False)
    for note in report.notes([done.results], failed_rows=False):
        typer.echo(note, err=True)
    display.close_with(done)
    unscored = any(each.problem for each in done.results.scores.values())
    return FAILED if done.failed or unscored else 0


@app.command(epilog=SCORE_EXAMPLES)
def score(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS",
            help="A .jsonl or .csv with prediction, label, dataset_name and perhaps id.",
        ),
    ],
    labels: Annotated[
        Labels,
        typer.Option(
            help="What predictions are matched to: the true labels present in the file, as in the published "
            "evaluation, or all labels of the component."
        ),
    ] = Labels.present,
    output_path: Annotated[
        Optional[Path],
        typer.Option(help="Metrics, a .json file.  [default: PREDICTIONS with _metrics.json for its ending]"),
    ] = None,
    model: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="What reports call the model.  [default: as its run calls it, or the name of PREDICTIONS]",
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap; 0 leaves intervals out.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    spice_jar: Annotated[
        Optional[Path],
        typer.Option(help="spice-1.0.jar of SPICE's authors, for SPIDEr of captions; runs in Java."),
    ] = None,
) -> int:
    """Score a file of predictions, of any model.

    The exit status is 1 where a component could not be scored.
    """
    from NatureLM.beans_zero import report, scoring
    from NatureLM.beans_zero.predictions import read_predictions
    from NatureLM.beans_zero.results import (
        Results,
        check_replaceable,
        metrics_paths,
        run_of,
        write_results,
    )
    from NatureLM.beans_zero.spice import check_spice, spice

    paths = metrics_paths(predictions, output_path)
    check_replaceable(paths)
    if spice_jar is not None:
        check_spice(spice_jar)
    scores = scoring.score(
        read_predictions(predictions),
        labels=labels.value,
        resamples=resamples,
        seed=seed,
        spice=None if spice_jar is None else lambda said, true: spice(said, true, spice_jar),
    )
    made_by = run_of(predictions)
    model = model or made_by.pop("model", None) or predictions.stem
    about = {
        **made_by,
        "predictions": str(predictions),
        "labels": labels.value,
        "resamples": resamples,
        "seed": seed,
        "version": __version__,
    }
    results = Results(model, scores, about)
    write_results(results, paths)
    if report.lines([results]):
        typer.echo(report.as_text([results], _columns()), nl=False)
    for note in report.notes([results]):
        typer.echo(note, err=True)
    typer.echo(f"Metrics in {paths[0]} and {paths[1]}.")
    return FAILED if any(each.problem for each in scores.values()) else 0


@app.command(epilog=INFO_EXAMPLES)
def info(
    name: Annotated[
        Optional[str], typer.Argument(metavar="COMPONENT", help="Show this one with all its labels.")
    ] = None,
) -> int:
    """List the components of the benchmark, or everything about one."""
    from NatureLM.beans_zero import overview

    typer.echo(overview.everything() if name is None else overview.one(name), nl=False)
    return 0


@app.command("report", epilog=REPORT_EXAMPLES)
def report_(
    metrics: Annotated[
        list[Path], typer.Argument(metavar="METRICS...", help="Files that beans score wrote, one per model.")
    ],
    format_: Annotated[
        TableFormat, typer.Option("--format", help="How the table is written.")
    ] = TableFormat.rich,
    picture: Annotated[
        Optional[Path], typer.Option(help="Draw bars with intervals, too: a .png or .svg (needs matplotlib).")
    ] = None,
) -> int:
    """Show one or several models beside the paper's figures."""
    from NatureLM.beans_zero import report
    from NatureLM.beans_zero.picture import check_picture, draw
    from NatureLM.beans_zero.results import read_results

    if picture is not None:
        check_picture(picture)
    results = read_results(metrics)
    if format_ is TableFormat.markdown:
        table = report.as_markdown(results)
    elif format_ is TableFormat.csv:
        table = report.as_csv(results)
    else:
        table = report.as_text(results, _columns())
    typer.echo(table, nl=False)
    for note in report.notes(results):
        typer.echo(note, err=True)
    if picture is not None:
        draw(results, picture)
        typer.echo(f"Picture in {picture}.", err=True)
    return 0


def _component_names(typed: str) -> list[str]:
    """Return the names between the commas."""
    names = [name.strip() for name in typed.split(",")]
    if not all(names):
        raise ConfigError(
            f"--components '{typed}': there must be a name on either side of a comma, as in esc50,watkins; "
            "leave the option out for all components."
        )
    return names


def _columns() -> Optional[int]:
    """Return the width of the terminal; None where the output goes elsewhere."""
    import shutil
    import sys

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``beans`` and exit with its status."""
    run_and_exit(app, "beans", arguments)


if __name__ == "__main__":
    main()
