"""A page that opens its stream anew loses nothing that it asked for."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("gradio")

from NatureLM.app.streams import Streams


def test_only_visitors_who_stay_away_are_forgotten() -> None:
    forgotten: list[dict[str, str]] = []

    async def clean(**given: str) -> None:
        forgotten.append(given)

    async def visit() -> None:
        streams = Streams(seconds=0.05)
        patient = streams.patient(clean)
        with streams.opened(b"session_hash=away"):
            pass
        await patient(session_hash="away")
        with streams.opened(b"session_hash=back&x=1"):
            await patient(session_hash="back")
            assert forgotten == []
            await asyncio.sleep(0.2)
        assert forgotten == [{"session_hash": "away"}]
        await patient(event_id="one")
        assert forgotten[-1] == {"event_id": "one"}

    asyncio.run(visit())
