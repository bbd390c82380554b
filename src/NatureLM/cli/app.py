"""``naturelm inference-app``: the web app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from NatureLM.cli.device import DeviceOption

EXAMPLES = """\b
Examples:
  naturelm inference-app
  naturelm inference-app --cfg-path configs/inference.yml --port 5002
  naturelm inference-app --recordings-dir /data/recordings
"""


def inference_app(
    overrides: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of the configuration to change, for example generation.max_species=3.",
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
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to bind; only this computer reaches the default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="Port to bind; 0 takes a free one.")] = 5001,
    assets_dir: Annotated[
        Optional[Path],
        typer.Option(metavar="FOLDER", help="Examples to offer, in place of the project's own."),
    ] = None,
    recordings_dir: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FOLDER",
            help="Folder whose recordings can be chosen without uploading; all users of the page see them.",
        ),
    ] = None,
    device: DeviceOption = None,
    merging_alpha: Annotated[
        Optional[float],
        typer.Option(
            metavar="0-1", min=0.0, max=1.0, help="Factor on the LoRA scaling (models with LoRA only)."
        ),
    ] = None,
    max_upload_mb: Annotated[
        Optional[int],
        typer.Option(metavar="MB", min=1, help="Largest upload.  [default: 4096 on this computer, else 500]"),
    ] = None,
    show_errors: Annotated[
        bool, typer.Option("--show-errors", help="Show the tracebacks of faults on the page.")
    ] = False,
) -> int:
    """Open the web app: hear, see and ask, in a browser.

    The page is there at once; the model is loaded meanwhile. Ctrl-C ends it.
    """
    from NatureLM.app.app import launch
    from NatureLM.app.settings import AppSettings
    from NatureLM.infer.settings import read_configuration

    options = {"device": device.value if device else None, "generation.merging_alpha": merging_alpha}
    settings = AppSettings(
        host=host,
        port=port,
        assets_dir=assets_dir,
        recordings_dir=recordings_dir,
        max_upload_mb=max_upload_mb,
        show_errors=show_errors,
        configuration=read_configuration(cfg_path, overrides or (), options),
    )
    launch(settings, typer.echo)
    return 0
