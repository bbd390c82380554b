"""Training: the data of the bundled model, and how it is built."""
