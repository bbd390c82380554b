"""What every audio encoder offers: from windows of sound to features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


class AudioEncoder(torch.nn.Module):
    """Base of the audio encoders."""

    def load_frozen(self) -> None:
        """Read weights that come with the encoder's own files; nothing where they are in the checkpoint.

        Raises
        ------
        ModelUnavailableError
            If those files cannot be had.
        """

    def encode(self, waveforms: Sequence[npt.NDArray[np.float32]], *, whole: bool = False) -> list[Any]:
        """Return the features of each window.

        Parameters
        ----------
        waveforms : sequence of float32 [samples]
            Mono, at the model's sample rate.
        whole : bool
            Whether windows are as long as they are to be heard, although the model may pad shorter ones.
        """
        raise NotImplementedError
