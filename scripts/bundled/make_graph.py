"""The graph of the model in the box, by which it predicts without torch: python scripts/bundled/make_graph.py."""

from cnn_rnn.foundation.shipped_files import bundled_model
from cnn_rnn.prediction.graph_making import write_shipped_graph

if __name__ == "__main__":
    path = write_shipped_graph(bundled_model())
    print(f"{path}: {path.stat().st_size:,} bytes")
