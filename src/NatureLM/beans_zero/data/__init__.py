"""The benchmark's data in all its forms: on the hub, Arrow and Parquet shards, audio files with a table."""

from NatureLM.beans_zero.data.opening import open_source
from NatureLM.beans_zero.data.source import FIELDS, Fields, Sounds, Source

__all__ = ["FIELDS", "Fields", "Sounds", "Source", "open_source"]
