"""Formats of the results, behind one small interface.

During a run each row is written to a jsonl file; every other format is made of that file at the end.
"""

from NatureLM.infer.writers.export import put_in_place, remove, write_tables, write_unfinished
from NatureLM.infer.writers.formats import FORMATS, JSONL, Format, Outputs, choose_outputs
from NatureLM.infer.writers.jsonl import JsonlWriter, Writer, read_rows
from NatureLM.infer.writers.rows import COLUMNS, LONG_COLUMNS, annotation_rows, long_columns, long_rows

__all__ = [
    "COLUMNS",
    "FORMATS",
    "JSONL",
    "LONG_COLUMNS",
    "Format",
    "JsonlWriter",
    "Outputs",
    "Writer",
    "annotation_rows",
    "choose_outputs",
    "long_columns",
    "long_rows",
    "put_in_place",
    "read_rows",
    "remove",
    "write_tables",
    "write_unfinished",
]
