"""How a query says where a recording goes."""

from __future__ import annotations

import re

AUDIO_PLACEHOLDER = "<AudioHere>"
AUDIO_BLOCK = f"<Audio>{AUDIO_PLACEHOLDER}</Audio>"
AUDIO_TAGS = re.compile(f"({AUDIO_BLOCK}|{AUDIO_PLACEHOLDER})")
"""What a query holds a recording's place by; its case counts."""
