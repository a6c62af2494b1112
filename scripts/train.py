"""`cnn-rnn train` for a checkout: accelerate launch scripts/train.py ..."""

import sys

from cnn_rnn.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
