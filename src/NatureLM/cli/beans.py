"""``beans``: run and score the BEANS-Zero benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn, Optional

import typer

from NatureLM import __version__
from NatureLM.cli.running import run_and_exit
from NatureLM.errors import NatureLMError

EXAMPLES = """\b
Example:
  beans --cfg-path configs/inference.yml --data-path EarthSpeciesProject/BEANS-Zero --output-path beans.jsonl
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"beans {__version__}")
        raise typer.Exit


@app.command(epilog=EXAMPLES)
def beans(
    cfg_path: Annotated[
        Optional[Path], typer.Option(help="YAML configuration; without it, the bundled model's.")
    ] = None,
    data_path: Annotated[
        Optional[str], typer.Option(help="Hub id of the benchmark, or a folder with a copy of it.")
    ] = None,
    output_path: Annotated[Optional[Path], typer.Option(help="Predictions, one JSON object a line.")] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> int:
    """Ask a model the questions of the BEANS-Zero benchmark and score its answers."""
    raise NatureLMError(
        f"running BEANS-Zero is not in version {__version__} yet; "
        "naturelm infer asks any question of your own recordings."
    )


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``beans`` and exit with its status."""
    run_and_exit(app, "beans", arguments)


if __name__ == "__main__":
    main()
