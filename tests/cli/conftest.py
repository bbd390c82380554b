"""Commands run as a user runs them, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from NatureLM.cli import main
from NatureLM.cli.running import run as run_command


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Without network, and without the user's own data."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "no-models-here"),
        "XDG_DATA_HOME": str(tmp_path / "user-data"),
        "XDG_CACHE_HOME": str(tmp_path / "user-cache"),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that commands run in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def naturelm(folder: Path, run_here: Any) -> Callable[..., Any]:
    """Run ``naturelm`` with these arguments; return its exit status and what it said."""
    return lambda *arguments: run_here(lambda: run_command(main.app, "naturelm", arguments), folder)


@pytest.fixture
def naturelm_process(
    folder: Path, environment: dict[str, str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``naturelm`` with these arguments in a process of its own, which takes seconds."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "NatureLM.cli.main", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def imported() -> Callable[..., set[str]]:
    """Run a module of ours as a program, with arguments, and return the names of all that it imports."""

    def run(module: str, *arguments: str) -> set[str]:
        seen = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", module, *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        return {line.rpartition("|")[2].strip() for line in seen.splitlines()}

    return run


@pytest.fixture
def noise(folder: Path) -> Path:
    """Twelve seconds of quiet noise: two windows."""
    samples = np.random.default_rng(0).normal(0, 0.02, 12 * 16000).astype(np.float32)
    soundfile.write(folder / "noise.wav", samples, 16000)
    return Path("noise.wav")
