"""The commands, one file each: `cnn-rnn NAME`, `python -m cnn_rnn.commands.NAME` and `scripts/NAME.py` are the same."""
