"""Ten refusals word for word: what a person reads where a label file could mean two things, or means none.

All other tests ask for the file, the line and the setting alone, so that words can be bettered here.
"""

from pathlib import Path

import pytest
from PIL import Image

from cnn_rnn.data import load_source

REFUSALS = {
    "one mark": (
        b"file,labels\n0.png,cat dog\n1.png,dog\n",
        (
            "{file}, line 2: 'cat dog' could be 2 labels ['cat', 'dog'] (data.separator space) or one label "
            "(data.separator none)"
        ),
    ),
    "several marks": (
        b"file,labels\n0.png,cat|dog\n1.png,cat;dog\n",
        (
            "{file}, line 2: the column holds several marks: data.separator pipe reads line 2 'cat|dog' as ['cat', "
            "'dog']; data.separator semicolon reads line 3 'cat;dog' as ['cat', 'dog']"
        ),
    ),
    "names that are not there": (
        b"file;labels\n0.png;0,1\n1.png;1,0\n",
        (
            "{file}, line 2: '0,1' could be labels called '0' and '1', or a 0 or 1 for each of 2 classes whose names "
            "are not in the file (give them in labels.json or data.class_names); data.class_names with data.numbers "
            "multi_hot, or ids, reads them; for labels of these names, name '0' and '1' in data.class_names"
        ),
    ),
    "two columns": (
        b"file,tags,category\n0.png,cat,big\n1.png,dog,small\n",
        (
            "{file}, line 2: labels may be in 'tags' ('cat'), 'category' ('big'): data.columns '{{labels: tags}}' or "
            "'{{labels: category}}' decides"
        ),
    ),
    "neither yes nor no": (
        b"file,cat,dog\n0.png,1,maybe\n1.png,0,1\n",
        (
            "{file}, line 2: column 'dog' holds 'maybe', expected 0 or 1; name the class columns in labels.json or "
            "data.columns '{{classes: [...]}}' where other columns stand beside them; leave out the row where it is "
            "no photo's, such as a total; or say what 'maybe' means: data.yes, data.no or data.unknown"
        ),
    ),
    "a photo twice": (
        b"file,labels\n0.png,cat\n0.png,dog\n",
        (
            "{file}, line 3: '0.png' was already named in line 2; an image may occur once, or, where each row is one "
            "label of an image, data.rows label"
        ),
    ),
    "an old encoding": (
        b"file,labels\n0.png,caf\xe9\n1.png,dog\n",
        (
            "{file}, line 2: byte 0xe9 is not utf-8; data.encoding cp1252 reads '0.png,caf\u00e9', data.encoding "
            "latin2 reads '0.png,caf\u00e9', data.encoding cp1251 reads '0.png,caf\u0439', data.encoding "
            "mac_roman reads '0.png,caf\u00c8'"
        ),
    ),
    "a photo that is not there": (
        b"file,labels\n0.png,cat\n7.png,dog\n",
        (
            "labels.csv (train): 1 of 2 images are missing in {folder}: {file}, line 3: 7.png; what lies there is "
            "called 0.png, 1.png; add them; 'cnn-rnn data look', or require_images=False in Python, does without them"
        ),
    ),
    "a confidence": (
        b"ImageID,LabelName,Confidence\n0.png,cat,0.7\n1.png,dog,1\n",
        (
            "{file}, line 2: confidence 0.7 is neither 0 (absent) nor 1 (present): data.least_confidence says from "
            "where on a label counts as present; below it, but above 0, it is unknown"
        ),
    ),
    "a word for nothing": (
        b"file,labels\n0.png,cat\n1.png,none\n",
        (
            "{file}, line 3: 'none' may be a label or stand for none: data.no_label 'none' (no label), data.unknown "
            "'none' (nobody looked), or name it in labels.json or data.class_names (a label)"
        ),
    ),
}


@pytest.mark.parametrize(("content", "told"), REFUSALS.values(), ids=REFUSALS)
def test_the_whole_sentence(content: bytes, told: str, tmp_path: Path) -> None:
    for index in range(2):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{index}.png")
    file = tmp_path / "labels.csv"
    file.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        load_source("table", file)
    assert str(refused.value) == told.format(file=file, folder=tmp_path)
