"""The licence of the model that answers, said once to each user."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

BIRDNET_NOTICE = (
    "The weights of the bundled model and of BirdNET, its encoder, are CC BY-NC-SA 4.0 (non-commercial use); "
    "BirdNET is by the K. Lisa Yang Center for Conservation Bioacoustics, Cornell Lab of Ornithology, and "
    "Chemnitz University of Technology; the code is Apache-2.0. (Said once.)"
)


def licence_notice(model: NatureLM) -> str:
    """Return what is to be said of the licence of ``model``'s weights; empty where nothing is known."""
    if str(model.config.audio_encoder.get("type", "")).startswith("birdnet"):
        return BIRDNET_NOTICE
    licence = model.config.licence
    return f"The weights of {model.config.name} are under {licence}. (Said once.)" if licence else ""


def show_licence_once(model: NatureLM, folder: Path | None = None) -> bool:
    """Print the licence notice to standard error, unless this user has seen it; return whether it was.

    Parameters
    ----------
    model : NatureLM
    folder : Path, optional
        Where what was said is remembered; the user's data folder unless given. Where it cannot be
        written, the notice is simply said again next time.
    """
    notice = licence_notice(model)
    if not notice:
        return False
    if folder is None:
        from platformdirs import user_data_path

        folder = user_data_path("naturelm-audio", appauthor=False)
    marker = folder / f"licence-shown-{hashlib.sha256(notice.encode()).hexdigest()[:12]}"
    try:
        if marker.exists():
            return False
        folder.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except OSError:
        pass
    print(notice, file=sys.stderr)
    return True
