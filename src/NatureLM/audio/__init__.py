"""Sound in: find recordings, stream them resampled, cut them into windows. No torch here."""

from NatureLM.audio.decoding import display_path
from NatureLM.audio.finding import is_folder, recording_suffixes
from NatureLM.audio.level import level_dbfs
from NatureLM.audio.metadata import RecorderMetadata, read_metadata, window_time
from NatureLM.audio.parts import part_of_recording
from NatureLM.audio.recording import (
    Channel,
    RecordingInfo,
    StreamBlock,
    find_recordings,
    parse_channel,
    probe,
    stream,
    stream_blocks,
    ultrasonic_warning,
)
from NatureLM.audio.windows import Window, array_windows, long_enough, plan_windows, recording_windows

__all__ = [
    "Channel",
    "RecorderMetadata",
    "RecordingInfo",
    "StreamBlock",
    "Window",
    "array_windows",
    "display_path",
    "find_recordings",
    "is_folder",
    "level_dbfs",
    "long_enough",
    "parse_channel",
    "part_of_recording",
    "plan_windows",
    "probe",
    "read_metadata",
    "recording_suffixes",
    "recording_windows",
    "stream",
    "stream_blocks",
    "ultrasonic_warning",
    "window_time",
]
