"""The errors that this package raises on purpose, each one sentence that says what to do next."""


class NatureLMError(Exception):
    """Base of every error that this package raises on purpose."""


class RecordingError(NatureLMError):
    """A recording cannot be read: missing, empty, damaged or not audio."""


class CheckpointError(NatureLMError):
    """A model's files are incomplete or do not fit the model."""


class ConfigError(NatureLMError):
    """A configuration file or option is wrong."""


class DataError(NatureLMError):
    """A copy of a benchmark's data cannot be read."""


class PredictionsError(NatureLMError):
    """A file of predictions, or of metrics, is not what it should be."""


class ModelUnavailableError(NatureLMError):
    """A model, or a file it needs, cannot be had on this machine."""
