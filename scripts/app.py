"""`cnn-rnn app` for a checkout: python scripts/app.py ..."""

import sys

from cnn_rnn.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["app", *sys.argv[1:]]))
