"""`cnn-rnn report` for a checkout: python scripts/report.py ..."""

import sys

from cnn_rnn.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
