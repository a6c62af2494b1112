"""Splitting off a validation part that shows every class in its share, also the rare ones."""

import numpy as np
from datasets import Dataset, DatasetDict

from .schema import label_matrix


def stratified_split(
    dataset: Dataset, fraction: float = 0.1, seed: int = 0, names: tuple[str, str] = ("train", "validation")
) -> DatasetDict:
    """Two disjoint parts of a data set, the second with about `fraction` of the images of every class.

    Iterative stratification (Sechidis et al., 2011): the rarest class is dealt out first. Images without any label
    are dealt out as a class of their own. Each part keeps the order of the rows.

    Args:
        dataset: Rows of the one schema.
        fraction: The share of the second part, between 0 and 1.
        seed: The same seed gives the same parts.
        names: What the parts are called.
    """
    try:
        from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
    except ImportError as error:
        raise ImportError("a stratified split needs iterative-stratification: pip install 'cnn-rnn[data]'") from error
    if not 0 < fraction < 1 or not 1 <= round(len(dataset) * fraction) < len(dataset):
        raise ValueError(f"a fraction of {fraction} of {len(dataset)} rows leaves a part empty")
    present = label_matrix(dataset)
    present = np.column_stack([present, ~present.any(axis=1)])
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
    parts = next(splitter.split(np.zeros(len(dataset)), present))
    return DatasetDict({name: dataset.select(np.sort(part)) for name, part in zip(names, parts, strict=True)})
