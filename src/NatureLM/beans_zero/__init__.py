"""BEANS-Zero, the zero-shot benchmark of animal sound: its components, post-processing, metrics and reports.

Nothing here needs a model: predictions of any model, in a file, are scored. The command is ``beans``.
"""
