"""What the web app is started with."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path

from NatureLM.errors import ConfigError
from NatureLM.infer.settings import Configuration

LOOPBACK_UPLOAD_MB = 4096
"""On the own computer an upload is a copy from disk to disk."""

NETWORK_UPLOAD_MB = 500

ASSETS = Path(__file__).resolve().parents[3] / "assets"
"""The example recordings of a checkout; an installed package has none."""


@dataclass(frozen=True)
class AppSettings:
    """What the web app is started with.

    Attributes
    ----------
    host : str
        Address that the server binds to.
    port : int
        0 takes a free one.
    assets_dir : Path or None
        Folder of examples; None takes those of the project, where they are at hand.
    recordings_dir : Path or None
        Folder whose recordings can be chosen without uploading them.
    max_upload_mb : int or None
        Most megabytes of an upload; None takes 4096 on loopback and 500 elsewhere.
    show_errors : bool
        Whether the page shows the traceback of a fault.
    configuration : Configuration
        Model and settings, as for ``naturelm infer``.

    Raises
    ------
    ConfigError
        A folder does not exist, or a number makes no sense.
    """

    host: str = "127.0.0.1"
    port: int = 5001
    assets_dir: Path | None = None
    recordings_dir: Path | None = None
    max_upload_mb: int | None = None
    show_errors: bool = False
    configuration: Configuration = field(default_factory=Configuration)

    def __post_init__(self) -> None:
        for option, folder in (
            ("--assets-dir", self.assets_dir),
            ("--recordings-dir", self.recordings_dir),
        ):
            if folder is not None and not folder.is_dir():
                raise ConfigError(f"{option} {folder}: no such folder; name one that exists.")
        if self.max_upload_mb is not None and self.max_upload_mb < 1:
            raise ConfigError(f"--max-upload-mb {self.max_upload_mb}: expected 1 or more.")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port {self.port}: expected a number from 0 to 65535.")

    @property
    def is_loopback(self) -> bool:
        """Whether only this computer reaches the server."""
        try:
            addresses = {info[4][0] for info in socket.getaddrinfo(self.host, None)}
            return all(ipaddress.ip_address(address).is_loopback for address in addresses)
        except (OSError, ValueError):
            return False

    @property
    def upload_bytes(self) -> int:
        """Most bytes of an upload."""
        default = LOOPBACK_UPLOAD_MB if self.is_loopback else NETWORK_UPLOAD_MB
        return (default if self.max_upload_mb is None else self.max_upload_mb) * 1_000_000

    @property
    def examples_folder(self) -> Path | None:
        """Where the example recordings are, if there are any."""
        if self.assets_dir is not None:
            return self.assets_dir
        return ASSETS if ASSETS.is_dir() else None
