"""`cnn-rnn export-onnx` for a checkout: python scripts/export_onnx.py ..."""

import sys

from cnn_rnn.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["export-onnx", *sys.argv[1:]]))
