"""``python beans_zero_inference.py ...`` is ``beans ...``."""

from NatureLM.cli.beans import main

if __name__ == "__main__":
    main()
