"""`cnn-rnn validate` for a checkout: accelerate launch scripts/validate.py ..."""

import sys

from cnn_rnn.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["validate", *sys.argv[1:]]))
