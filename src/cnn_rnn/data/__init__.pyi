from .adapt import to_schema
from .batching.splits import stratified_split
from .benchmarks.coco import load_coco
from .benchmarks.digits import load_digits
from .benchmarks.nus_wide import load_nus_wide
from .benchmarks.voc import VOC_CLASSES, load_voc
from .images_inside.hub_datasets import load_hub, load_stream, stream_labels
from .images_inside.parquet import write_parquet
from .own_photos.image_folder import load_image_folder
from .own_photos.table import load_table
from .photos.checks import drop_unreadable
from .photos.images import UnreadableImageError, decode_image
from .photos.pixels import decode_pixels
from .reading import Reading
from .schema import (
    build_dataset,
    count_pairs,
    label_counts,
    label_features,
    label_matrix,
    label_names,
    label_pair_counts,
    targets,
)
from .sources import SOURCES, load_source
from .transforms import EvalTransform, TrainTransform, collate, multi_hot, prepare_examples

__all__ = [
    "SOURCES",
    "VOC_CLASSES",
    "EvalTransform",
    "Reading",
    "TrainTransform",
    "UnreadableImageError",
    "build_dataset",
    "collate",
    "count_pairs",
    "decode_image",
    "decode_pixels",
    "drop_unreadable",
    "label_counts",
    "label_features",
    "label_matrix",
    "label_names",
    "label_pair_counts",
    "load_coco",
    "load_digits",
    "load_hub",
    "load_image_folder",
    "load_nus_wide",
    "load_source",
    "load_stream",
    "load_table",
    "load_voc",
    "multi_hot",
    "prepare_examples",
    "stratified_split",
    "stream_labels",
    "targets",
    "to_schema",
    "write_parquet",
]
