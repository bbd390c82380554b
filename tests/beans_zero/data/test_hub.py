"""The hub's protocol, spoken by a server of this test: only the row groups that are asked for are sent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COMMIT = "a" * 40
CARD = """---
configs:
- config_name: captions
  data_files: [{split: test, path: shard_1*}]
- config_name: BEANS-Zero
  data_files: [{split: test, path: shard*}]
---
"""
READ = """
import json
from NatureLM.beans_zero.data import open_source
data = open_source("owner/mini")
fields = list(data.fields({"cbi"}))
sounds = data.sounds([0, 2])
read = [sounds.read(place, 0.01, 16000)[0].tolist() for place in (0, 2)]
print(json.dumps([[each.place for each in fields], fields[0].values["output"], read]))
"""


class Handler(BaseHTTPRequestHandler):
    """Serves the data set ``owner/mini`` from a folder, and counts the bytes sent of each file."""

    protocol_version = "HTTP/1.1"
    folder: Path
    sent: dict[str, int]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if re.fullmatch(r"/api/datasets/owner/mini(/revision/\w+)?", path):
            names = [{"rfilename": file.name} for file in self.folder.iterdir()]
            about = {"_id": "1", "id": "owner/mini", "sha": COMMIT, "private": False, "tags": []}
            self.send(200, json.dumps({**about, "siblings": names, "downloads": 0, "likes": 0}).encode())
        elif path.startswith("/api/datasets/owner/mini/tree/"):
            tree = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "b" * 40}
                for file in sorted(self.folder.iterdir())
            ]
            self.send(200, json.dumps(tree).encode())
        elif (found := re.fullmatch(r"/datasets/owner/mini/resolve/\w+/([\w.]+)", path)) and (
            file := self.folder / found[1]
        ).is_file():
            self.send_file(file)
        else:
            self.send(404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})

    def send_file(self, file: Path) -> None:
        content = file.read_bytes()
        headers = {"ETag": f'"{file.name}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content = content[first : last + 1]
        if self.command == "GET":
            self.sent[file.name] = self.sent.get(file.name, 0) + len(content)
        self.send(206 if asked else 200, content, headers)

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(mini_parquet: Path, tmp_path: Path) -> Iterator[type[Handler]]:
    """Serve the miniature until the test ends."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    for shard in mini_parquet.iterdir():
        (folder / shard.name).write_bytes(shard.read_bytes())
    handler = type("MiniHandler", (Handler,), {"folder": folder, "sent": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.address = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_component_is_read_from_the_hub_without_the_others(
    hub: Any, mini_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed (extra eval)")
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", READ], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    places, label, read = json.loads(done.stdout)
    assert (places, label) == ([0, 1, 2, 3, 8, 9, 10], "Great Tit")  # the last are of one row group
    np.testing.assert_allclose(read[0], mini_rows[0]["audio"][:160], atol=1e-7)
    np.testing.assert_allclose(read[1], mini_rows[2]["audio"][:160], atol=1e-7)
    second = hub.folder / "shard_1.parquet"  # holds no row of cbi: only its index and some text are read
    assert hub.sent[second.name] < second.stat().st_size / 2
    assert hub.sent["shard_0.parquet"] < 1.5 * (hub.folder / "shard_0.parquet").stat().st_size
