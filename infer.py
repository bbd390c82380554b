"""``python infer.py ...`` is ``naturelm infer ...``."""

import sys

from NatureLM.cli.main import main

if __name__ == "__main__":
    main(["infer", *sys.argv[1:]])
