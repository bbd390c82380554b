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

FIELD_TAGS = {
    "common": "<common>",
    "scientific": "<scientific>",
    "genus": "<genus>",
    "family": "<family>",
    "order": "<order>",
    "kind": "<kind>",
    "sound": "<sound>",
}
"""What opens a name in an answer, by the kind of name; decoded text does not show it."""

NAME_END = "</name>"
"""What closes a name in an answer."""

SPECIAL_TOKENS = [
    PAD,
    BOS,
    EOS,
    USER,
    ASSISTANT,
    AUDIO_START,
    AUDIO_END,
    AUDIO_HERE,
    *FIELD_TAGS.values(),
    NAME_END,
]
