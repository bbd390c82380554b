"""Pretrained audio encoders of the bundled model."""
