"""Which files the web app may read, where it writes, and how both go away again."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from NatureLM.app.settings import AppSettings
from NatureLM.app.temporary import TemporaryFolder
from NatureLM.audio import find_recordings, probe, recording_suffixes
from NatureLM.audio.decoding import display_path
from NatureLM.errors import NatureLMError, RecordingError

MOST_LISTED = 5000
"""Recordings of ``--recordings-dir`` that the page offers by name."""

KEPT_SECONDS = 24 * 3600
"""Uploads and results that are older are removed while the app runs; all of them when it ends."""


class AppFiles:
    """The folders of a running app.

    Parameters
    ----------
    settings : AppSettings

    Attributes
    ----------
    uploads : Path
        Where the browser's uploads and everything that is made for it lie.
    examples : list of Path
        The example recordings, in the order of their names.
    """

    def __init__(self, settings: AppSettings) -> None:
        self._settings = settings
        self._temporary = TemporaryFolder()
        self.uploads = self._temporary.uploads
        folder = settings.examples_folder
        found = [] if folder is None else find_recordings([folder.resolve()])
        # A page is text, which lone surrogates (bytes that are no UTF-8) are not.
        self.examples = [path for path in found if not re.search("[\ud800-\udfff]", str(path))]
        self.recordings_dir = None if settings.recordings_dir is None else settings.recordings_dir.resolve()

    @property
    def folders(self) -> list[Path]:
        """The folders whose recordings may be read: the examples and ``--recordings-dir``."""
        folder = self._settings.examples_folder
        folders = [None if folder is None else folder.resolve(), self.recordings_dir]
        return [each for each in folders if each is not None]

    def may_read(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file truly lies, links followed, among the uploads or is a recording of a folder.

        Its name must be absolute: ``http://example.com`` is a relative one here and an address to Gradio.
        """
        if not os.path.isabs(path):
            return False
        try:
            real = Path(os.path.realpath(path))
        except (OSError, ValueError):
            return False
        if real.is_relative_to(self.uploads):
            return True
        # Of a link both names count: Gradio serves a file by the type of the name that is asked for.
        is_recording = has_recordings_name(path) and has_recordings_name(real)
        return is_recording and any(real.is_relative_to(folder) for folder in self.folders)

    def recording(self, path: str | os.PathLike[str]) -> Path:
        """Return a recording that a browser names, if it may be read and is one by its name.

        Raises
        ------
        RecordingError
            It may not be read, or its name does not end like a recording's.
        """
        name = Path(path).name
        if not self.may_read(path) or not Path(path).is_file():
            raise RecordingError(f"{name}: there is no such upload; choose the recording again.")
        self.check_type(name)
        return Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)

    @staticmethod
    def check_type(name: str) -> None:
        """Refuse a name that does not end like a recording's.

        Raises
        ------
        RecordingError
            With some of the endings.
        """
        if not has_recordings_name(name):
            raise RecordingError(
                f"{name}: no recording by its name; expected a file such as .wav, .flac, .mp3 or .ogg."
            )

    def recordings(self, paths: Iterable[str | os.PathLike[str]] | None) -> list[Path]:
        """Return the recordings that a browser names; errors are those of :meth:`recording`."""
        return [self.recording(path) for path in paths or ()]

    def unreadable(self, paths: Iterable[str | os.PathLike[str]] | None) -> list[str]:
        """Return what is wrong with recordings that a browser names, as far as their headers tell."""
        wrong = []
        for path in paths or ():
            try:
                probe(self.recording(path))
            except RecordingError as error:
                wrong.append(self.plain(error))
        return wrong

    def listed(self) -> list[str]:
        """Return the recordings of ``--recordings-dir``, as printable paths within it."""
        return list(self._listed())

    def _listed(self) -> dict[str, Path]:
        if self.recordings_dir is None:
            return {}
        try:
            found = find_recordings([self.recordings_dir])
        except NatureLMError:
            return {}
        inside = [path for path in found[:MOST_LISTED] if self.may_read(path)]
        return {display_path(path.relative_to(self.recordings_dir).as_posix()): path for path in inside}

    def chosen(self, name: str) -> Path:
        """Return the recording of ``--recordings-dir`` that a name of :meth:`listed` stands for.

        Raises
        ------
        RecordingError
            It is none.
        """
        path = None if self.recordings_dir is None else self.recordings_dir / name
        if path is not None and not os.path.exists(path):
            path = self._listed().get(name, path)  # a name that is no text goes by another
        real = None if path is None else Path(os.path.realpath(path))
        if real is None or not real.is_relative_to(self.recordings_dir or real) or not real.is_file():
            raise RecordingError(
                f"{Path(name).name}: not in the folder of recordings; choose one from the list."
            )
        self.check_type(real.name)
        return real

    def plain(self, text: object) -> str:
        """Return a message without the places of the app's own folders: recordings go by their names."""
        said = re.sub(re.escape(f"{self.uploads}{os.sep}") + r"[^\s/\\]+[/\\]", "", str(text))
        return said if self.recordings_dir is None else said.replace(f"{self.recordings_dir}{os.sep}", "")

    def new_folder(self) -> Path:
        """Return a new folder for what one request makes; its name cannot be guessed."""
        folder = self.uploads / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def remove(self) -> None:
        """Remove everything that was uploaded or made."""
        self._temporary.remove()


def has_recordings_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends like a recording's."""
    return Path(path).suffix.lower() in recording_suffixes()


def display_names(paths: Sequence[Path]) -> list[str]:
    """Return a printable name for each recording; those of equal names are numbered.

    Examples
    --------
    >>> display_names([Path("a/one.wav"), Path("b/one.wav")])
    ['one.wav', 'one (2).wav']
    """
    names: list[str] = []
    for path in paths:
        name, number = display_path(path.name), 1
        while name in names:
            number += 1
            name = display_path(f"{path.stem} ({number}){path.suffix}")
        names.append(name)
    return names
