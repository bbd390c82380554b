"""What a conversation looks like: its messages, and the rows of its table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from NatureLM.app.conversations import Conversation
from NatureLM.app.player import clock
from NatureLM.infer.answers import Answer
from NatureLM.infer.interview import Part
from NatureLM.models.answering import ModelAnswer


def messages(conversation: Conversation, warning: Callable[[str], str]) -> list[dict[str, str]]:
    """Return the messages of a conversation, in the order in which they were asked and answered.

    Parameters
    ----------
    conversation : Conversation
    warning : callable
        Says what is wrong with a recording in the page's way.
    """
    interview, queries = conversation.interview, conversation.queries
    found = [said_by_model(warning(text)) for text in (interview.warnings if interview else ())]
    for place in range(len(queries) + 1):
        for aside in conversation.asides:
            if min(aside.after, len(queries)) == place:
                found += [{"role": "user", "content": aside.query}, said_by_model(aside.said)]
        if interview is not None and place < len(queries):
            answers = [part.turns[place][1] for part in interview.parts]
            written = in_parts(interview.parts, [answer.text for answer in answers], answers)
            found += [{"role": "user", "content": queries[place]}, said_by_model(written)]
    return found


def rows(conversation: Conversation) -> list[dict[str, Any]]:
    """Return the answers of a conversation in the rows of ``naturelm infer``."""
    interview = conversation.interview
    if interview is None:
        return []
    model = interview.model.config.name
    return [
        Answer(
            " + ".join(path.name for path in part.audio_paths),
            *("mix", part.start_seconds, part.end_seconds, turn.query),
            *(answer.text, answer.confidence, answer.mean_logprob, model),
            detections=list(answer.detections),
        ).as_row()
        for part in interview.parts
        for turn, answer in part.turns
    ]


def said_by_model(text: str) -> dict[str, str]:
    """Return a message of the model's."""
    return {"role": "assistant", "content": text}


def in_parts(parts: list[Part], texts: list[str], answers: list[ModelAnswer] | None = None) -> str:
    """Return the answers as a message, with the times of the windows where there are several."""
    sure = [""] * len(texts) if answers is None else [_certainty(answer) for answer in answers]
    if len(parts) == 1:
        return texts[0] + (f"\n\n{sure[0]}" if sure[0] else "")
    several = len({path for part in parts for path in part.audio_paths}) > 1
    lines = []
    for part, text, certainty in zip(parts, texts, sure, strict=False):
        name = f"`{part.audio_paths[0].name}` " if several else ""
        place = f"{clock(part.start_seconds)} to {clock(part.end_seconds)}"
        lines.append(f"- {name}{place}: **{text}** {certainty}")
    return "\n".join(lines)


def least_evidence(answer: ModelAnswer) -> float | None:
    """Return the evidence for the least evident species that an answer names."""
    scores = [found.score for found in answer.detections if found.score is not None]
    return min(scores) if scores else None


def _certainty(answer: ModelAnswer) -> str:
    evidence = ", ".join(
        f"{found.common_name or found.scientific_name} {found.score:.2f}"
        for found in answer.detections
        if found.score is not None
    )
    return f"*confidence {answer.confidence:.2f}{f'; evidence: {evidence}' if evidence else ''}*"
