"""A backbone in torch that looks at the pieces of a batch side by side, where many images are labelled on a CPU.

In each layer torch's threads wait for the last of them, and beside processes that read images one is always late. A
thread that sees a piece of its own waits for nobody, and what a layer makes of a few images stays in the caches.
"""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from cnn_rnn.image_backbone import ImageBackbone

PIECE = 4  # images


class PiecewiseBackbone(nn.Module):
    """An `ImageBackbone` on the CPU that sees as many pieces of a batch at once as torch has threads.

    Args:
        backbone: In evaluation mode, so that no image depends on the others of its batch.
    """

    def __init__(self, backbone: ImageBackbone) -> None:
        super().__init__()
        self.backbone, self.num_certainties = backbone, backbone.num_certainties
        self.threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.threads, "backbone")

    def forward(self, pixel_values: Tensor, *, output_hidden_states: bool = False) -> BaseModelOutputWithPooling:
        """As `ImageBackbone` has it, without gradients; pieces that are fewer than the threads share them out.

        Raises:
            ValueError: Hidden states were asked for, which are not put together.
        """
        if output_hidden_states:
            raise ValueError("a backbone that sees pieces has no hidden states: load the model for them")
        pieces = pixel_values.split(PIECE)
        threads = max(1, self.threads // len(pieces))
        if len(pieces) == 1:
            return self._look(pixel_values, threads)
        seen = list(self.pool.map(self._look, pieces, [threads] * len(pieces)))
        places = None if seen[0].last_hidden_state is None else torch.cat([each.last_hidden_state for each in seen])
        return BaseModelOutputWithPooling(places, torch.cat([each.pooler_output for each in seen]))

    @torch.no_grad()  # each thread has its own mode
    def _look(self, piece: Tensor, threads: int) -> BaseModelOutputWithPooling:
        """What the backbone sees in a piece, by so many threads."""
        if torch.get_num_threads() != threads:  # of this thread, as each has its own number
            torch.set_num_threads(threads)
        return self.backbone(piece)
