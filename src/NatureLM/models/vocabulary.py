"""Special tokens of the bundled model's language model."""

from __future__ import annotations

PAD = "<pad>"
BOS = "<bos>"
EOS = "<eos>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"
AUDIO_START = "<Audio>"
AUDIO_END = "</Audio>"
AUDIO_HERE = "<AudioHere>"

NAME = "<name>"
"""Stands in a prompt for a name that the table of classes knows; what it means is added to its embedding."""

FIELD_TAGS = {
    "common": "<common>",
    "scientific": "<scientific>",
    "genus": "<genus>",
    "family": "<family>",
    "order": "<order>",
    "kind": "<kind>",
    "sound": "<sound>",
}
"""What announces a name in an answer, by the kind of name; a slot follows."""

UNKNOWN = "I cannot tell from this model."
"""What the bundled model says to questions beyond its knowledge."""

MAX_RECORDINGS = 2
"""Most recordings that one prompt can hold."""

MAX_SLOTS = 16
"""Most classes of one recording that the language model is given."""

SLOTS = [f"<slot_{number}>" for number in range(MAX_RECORDINGS * MAX_SLOTS)]
"""The places of the classes: the second recording's follow those of the first."""

SPECIAL_TOKENS = [
    PAD,
    BOS,
    EOS,
    USER,
    ASSISTANT,
    AUDIO_START,
    AUDIO_END,
    AUDIO_HERE,
    NAME,
    *FIELD_TAGS.values(),
    *SLOTS,
]
