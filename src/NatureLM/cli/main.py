"""``naturelm``: the command and its subcommands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from NatureLM import __version__
from NatureLM.cli import app as web_app
from NatureLM.cli import calibrate, convert, infer, setup, species, train
from NatureLM.cli.running import run_and_exit

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.command("infer", epilog=infer.EXAMPLES)(infer.infer)
app.command("calibrate", epilog=calibrate.EXAMPLES)(calibrate.calibrate)
app.command("species", epilog=species.EXAMPLES)(species.species)
app.command("inference-app", epilog=web_app.EXAMPLES)(web_app.inference_app)
app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("convert", epilog=convert.EXAMPLES)(convert.convert)
app.command("setup", epilog=setup.EXAMPLES)(setup.setup)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"naturelm {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Example:  naturelm infer --audio-path assets "
    '--query "What is the common name for the focal species in the audio?"'
)
def naturelm(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Ask questions about animal sounds in recordings, in plain language.

    Without a configuration the bundled model answers, on any computer, with nothing to download or log in to.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``naturelm`` and exit with its status."""
    run_and_exit(app, "naturelm", arguments)


if __name__ == "__main__":
    main()
