"""The notices that must go along with weights: whose they are, and under which licences."""

from __future__ import annotations

from pathlib import Path

from NatureLM.models.configuration import NatureLMConfig

NOTICE = "NOTICE"

NATURELM_NOTICE = """\
NatureLM-audio, by the Earth Species Project (https://huggingface.co/EarthSpeciesProject/NatureLM-audio):
Robinson, D., Miron, M., Hagiwara, M., & Pietquin, O. (2025), NatureLM-audio: an Audio-Language Foundation
Model for Bioacoustics, ICLR 2025. Licensed under the Creative Commons Attribution-NonCommercial-ShareAlike
4.0 International licence, https://creativecommons.org/licenses/by-nc-sa/4.0/ (no commercial use; whatever is
made from it is passed on under the same licence). The names, the grouping in files and, where so asked, the
number format of the weights were changed; their values were not otherwise.
"""

LLAMA_NOTICE = """\
Built with Llama. These files hold weights of Llama 3.1 (all of it, or its token embeddings).
Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright (c) Meta Platforms, Inc. All Rights
Reserved. The licence, https://www.llama.com/llama3_1/license/, and the use policy,
https://www.llama.com/llama3_1/use-policy/, bind whoever uses these files; whoever passes them on must pass on
a copy of the licence and this notice with them.
"""


def notice(config: NatureLMConfig) -> str:
    """Return the notice that goes along with a model's weights; empty for one that needs none."""
    return f"{NATURELM_NOTICE}\n{LLAMA_NOTICE}" if config.upstream is not None else ""


def write_notice(folder: Path, config: NatureLMConfig) -> None:
    """Write the notice that goes along with a model's weights, if it needs one."""
    text = notice(config)
    if text:
        (folder / NOTICE).write_text(text, encoding="utf-8")
