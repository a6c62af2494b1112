"""Figures as tables: for the terminal, Markdown, CSV and JSON."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cnn_rnn.foundation.spreadsheet_rows import write_rows
from cnn_rnn.foundation.whole_files import write_text

from .label_sets import Figures
from .protocols import MAP_AT_K, MEAN_AVERAGE_PRECISION, Column, Protocol, set_columns

UNVERIFIED_MARK = "*"
UNVERIFIED_NOTE = f"{UNVERIFIED_MARK} as reported, not verified against the publication"


@dataclass(frozen=True)
class TableRow:
    """A row: a name, and figures by heading; the marked ones are unverified."""

    name: str
    figures: dict[str, float | None]
    unverified: frozenset[str] = frozenset()

    @classmethod
    def of(cls, name: str, columns: Sequence[Column], figures: Mapping[str, Any]) -> Self:
        """The row of computed figures under these columns."""
        return cls(name, {column.heading: column.value(figures) for column in columns})


@dataclass(frozen=True)
class Table:
    """Rows of figures under common columns: percentages in text and Markdown, fractions in CSV and JSON."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The table for a terminal."""
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if index == 0 else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
        return "\n".join([self.title, "", *lines, "", *self.all_notes()]).rstrip()

    def markdown(self) -> str:
        """The table as Markdown, with its title and notes."""
        notes = [f"- {note}".replace(UNVERIFIED_MARK, "\\*") for note in self.all_notes()]
        return "\n".join([f"**{self.title}**", "", self.markdown_rows(), "", *notes]).rstrip() + "\n"

    def markdown_rows(self, first: str = "") -> str:
        """The heading and the rows alone as Markdown; `first` is the heading of the rows' names."""
        cells = [[cell.replace("|", "\\|").replace("*", "\\*") for cell in row] for row in self.cells()]
        rule = [":---", *["---:"] * len(self.columns)]
        return "\n".join(f"| {' | '.join(row)} |" for row in [[first, *cells[0][1:]], rule, *cells[1:]])

    def csv(self) -> str:
        """The table as CSV: full precision, fractions 0..1; the last column names a row's unverified headings."""
        out = io.StringIO()
        rows: list[list[Any]] = [["method", *(column.heading for column in self.columns), "unverified"]]
        for row in self.rows:
            figures = [row.figures.get(column.heading) for column in self.columns]
            cells = ["" if value is None else value for value in figures]
            rows.append([row.name, *cells, " ".join(sorted(row.unverified))])
        write_rows(out, rows, "\n")
        return out.getvalue()

    def json(self) -> dict[str, Any]:
        """The table as a dict ready for JSON."""
        return {
            "title": self.title,
            "columns": [column.heading for column in self.columns],
            "rows": [
                {"method": row.name, "figures": row.figures, "unverified": sorted(row.unverified)} for row in self.rows
            ],
            "notes": list(self.notes),
        }

    def write(self, folder: str | Path, name: str = "table") -> list[Path]:
        """The paths of the JSON, Markdown and CSV files that are written into the folder."""
        contents = (json.dumps(self.json(), indent=2, ensure_ascii=False) + "\n", self.markdown(), self.csv())
        paths = self.files(folder, name)
        for path, content in zip(paths, contents, strict=True):
            write_text(path, content)
        return paths

    @staticmethod
    def files(folder: str | Path, name: str = "table") -> list[Path]:
        """The paths that `write` writes."""
        return [Path(folder) / f"{name}.{suffix}" for suffix in ("json", "md", "csv")]

    def cells(self) -> list[list[str]]:
        """The heading and every row as strings."""
        return [
            ["", *(column.heading for column in self.columns)],
            *([row.name, *(_show(column, row) for column in self.columns)] for row in self.rows),
        ]

    def all_notes(self) -> list[str]:
        """The notes, with one on the mark where it is used."""
        return [*([UNVERIFIED_NOTE] if any(row.unverified for row in self.rows) else []), *self.notes]


def _show(column: Column, row: TableRow) -> str:
    """A figure to read."""
    value = row.figures.get(column.heading)
    if value is None:
        return "-"
    if column.percent:
        shown = f"{round(100 * value, 1) + 0.0:.1f}"  # never "-0.0"
    else:
        shown = f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"  # a count, or a mean of counts
    return shown + (UNVERIFIED_MARK if column.heading in row.unverified else "")


def protocol_table(protocol: Protocol, rows: Mapping[str, Figures]) -> Table:
    """The protocol's table: the given rows (ours, a baseline) first, then the reported ones.

    Args:
        protocol: Which columns, notes and published rows.
        rows: Figures by name of the row, each computed by the protocol's own metrics.
    """
    notes = [*protocol.notes, *notes_of_all(rows)]
    for name, figures in rows.items():
        check_protocol(protocol, figures)
        images = figures["counts"]["images"]
        if protocol.test_images is not None and images != protocol.test_images:
            notes.append(
                f"{name}: measured on {images} images; the protocol's test part has {protocol.test_images}: "
                "not comparable with the reported rows"
            )
    return Table(
        title=f"{protocol.name}: {protocol.data}; top {protocol.top_k}",
        columns=protocol.columns,
        rows=(
            *(row for name, figures in rows.items() for row in _measured_rows(protocol, name, figures)),
            *(TableRow(f"{row.method}, reported", dict(row.figures), row.unverified) for row in protocol.reported),
        ),
        notes=tuple(dict.fromkeys(notes)),
    )


def _measured_rows(protocol: Protocol, name: str, figures: Figures) -> list[TableRow]:
    """The row by the protocol's own rules, and where columns ask for sets those of other ways to choose them."""
    rows = [TableRow.of(name, protocol.columns, figures)]
    of_sets = [column for column in protocol.columns if column.key[0] == "top_k"]
    for block, way in (("path", "predicted path"), ("adjusted_top_k", f"top {protocol.top_k} {ADJUSTED}")):
        if of_sets and figures.get(block) is not None:
            own = [Column(column.heading, (block, *column.key[1:])) for column in of_sets]
            rows.append(TableRow.of(f"{name}, {way}", own, figures))
    return rows


def check_protocol(protocol: Protocol, figures: Figures) -> None:
    """Nothing, or a ValueError for figures that were computed under other rules."""
    found = {
        "top_k": figures["top_k"]["k"],
        "map_k": figures["ranking"]["k"],
        "average_precision_method": figures["average_precision_method"],
    }
    for name, expected in protocol.settings.items():
        if found[name] != expected:
            raise ValueError(
                f"figures with {name} {found[name]!r} in a table of {protocol.name}: expected {expected!r}; "
                "compute them with the protocol's settings"
            )


def count_notes(figures: Figures) -> list[str]:
    """What the figures count and leave out, in sentences."""
    counts = figures["counts"]
    notes = [f"{counts['images']} images, {counts['labels']} labels, {counts['positives']} positives."]
    if counts["left_out"]:
        notes.append(f"{counts['left_out']} entries are left out.")
    if counts["images_without_labels"]:
        notes.append(f"{counts['images_without_labels']} images have no label; MAP@k leaves them out.")
    if names := counts["classes_left_out_of_means"]:
        few = (
            "without positives"
            if counts["min_positives"] == 1
            else f"with fewer than {counts['min_positives']} positives"
        )
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        notes.append(f"{len(names)} classes {few} take no part in class means: {shown}.")
    return notes


def notes_of_all(rows: Mapping[str, Figures]) -> list[str]:
    """What the figures of each row count and leave out; what is the same for all is said once."""
    notes = {name: count_notes(figures) for name, figures in rows.items()}
    same = [note for note in next(iter(notes.values()), []) if all(note in told for told in notes.values())]
    return same + [f"{name}: {note}" for name, told in notes.items() for note in told if note not in same]


ADJUSTED = "adjusted for frequency"
# What each way of choosing the set is called, top k aside.
WAYS_TO_A_SET = {
    "path": "by path",
    "threshold": "by threshold",
    "expected_f1": "by expected F1",
    "set": "as a whole set",
}


def figures_table(rows: Mapping[str, Figures], title: str = "Figures") -> Table:
    """A table with a line for every way of choosing the set: by path, by threshold, by expected F1, top k.

    Args:
        rows: Figures by name of the method.
        title: What stands above.
    """
    depths = {figures["ranking"]["k"] for figures in rows.values()}
    map_at_k = Column("MAP@" + "/".join(map(str, sorted(depths))), MAP_AT_K.key)
    lines, notes = [], []
    for name, figures in rows.items():
        top = f"top {figures['top_k']['k']}"
        ways = WAYS_TO_A_SET | {"top_k": top, "adjusted_top_k": f"{top} {ADJUSTED}"}
        for block, way in ways.items():
            if figures.get(block) is None:  # also of figures measured before there was this way
                continue
            columns = (*set_columns(block), exact_column(block), map_at_k, MEAN_AVERAGE_PRECISION)
            lines.append(TableRow.of(f"{name}, {way}", columns, figures))
    notes += notes_of_all(rows)
    methods = sorted({figures["average_precision_method"] for figures in rows.values()})
    notes.append(f"mAP by {' and '.join(methods)}; C-F1 is the harmonic mean of mean C-P and mean C-R.")
    columns = (*set_columns("top_k"), exact_column("top_k"), map_at_k, MEAN_AVERAGE_PRECISION)
    return Table(title, columns, tuple(lines), tuple(notes))


def exact_column(block: str) -> Column:
    """The share of images whose predicted set is the true one."""
    return Column("exact", (block, "exact_match"))


def known_table(known: Figures) -> Table:
    """A table of what `measure_known` gave: mAP and C-F1 over the others, untold and told, and the looks."""
    columns = [
        Column(f"{heading} {state} {count}", (count, state, key))
        for count, by_row in known["told"].items()
        for state in _states(by_row)
        for heading, key in (("mAP", "mAP"), ("C-F1", "CF1"))
    ]
    columns += [Column("looks", ("mean",), percent=False), Column("median", ("median",), percent=False)]
    notes = (
        "So many true labels of each image are revealed, by a hash of image and label.",
        "mAP and C-F1 (by expected F1) are over the others, on the images that have so many.",
        "Looks: suggestions that a person looks at, top down, until all labels of an image are confirmed.",
    )
    none = " or ".join(count for count, by_row in known["told"].items() if not _states(by_row))
    lines = _rows_told(known["told"], columns, known["looks"])
    so_many = (*notes, f"No image has {none} labels.") if none else notes
    return Table("What known labels are worth", tuple(columns), lines, so_many)


def share_table(shares: Figures) -> Table:
    """A table of what `measure_known_share` gave: mAP over what is not told, knowing nothing and told."""
    columns = [
        Column(f"{state} {float(share):.0%}", (share, state, "mAP"))
        for share, by_row in shares.items()
        for state in _states(by_row)
    ]
    notes = ["So large a share of the labels of each image is told, present and absent alike (C-Tran's protocol);"]
    notes[0] += " mAP is over the other entries: knowing nothing (untold), and told."
    for share, by_row in shares.items():
        left = next(iter(by_row.values()))
        notes.append(f"{float(share):.0%}: {left['positives']} positives of {left['classes']} classes are not told.")
    lines = _rows_told(shares, columns)
    return Table("mAP with a share of the labels known", tuple(columns), lines, tuple(notes))


def _states(by_row: Figures) -> list[str]:
    """Of knowing nothing and being told, what was measured in any of the rows."""
    return [state for state in ("untold", "told") if any(state in figures for figures in by_row.values())]


def _rows_told(told: Figures, columns: Sequence[Column], further: Figures | None = None) -> tuple[TableRow, ...]:
    """A line for each row of figures, which stand by what is told and then by row, with further figures by row."""
    names = dict.fromkeys(name for by_row in (*told.values(), further or {}) for name in by_row)
    return tuple(
        TableRow.of(
            name.replace("_", " "),
            columns,
            {told_so: by_row.get(name) for told_so, by_row in told.items()} | (further or {}).get(name, {}),
        )
        for name in names
    )


TABLES_OF_KNOWN = {"known": known_table, "known_share": share_table}  # by what `validate` is asked for


def class_table(figures: Figures, block: str = "path", names: Sequence[str] | None = None) -> Table:
    """A table with a line for every class: AP, positives, and precision, recall and F1 of one way of choosing the set.

    Args:
        figures: What `compute` gave.
        block: `"path"`, `"threshold"`, `"expected_f1"` or `"top_k"`.
        names: The classes to show, in this order; all where None.
    """
    columns = (
        Column("AP", ("AP",)),
        Column("positives", ("positives",), percent=False),
        Column("precision", (block, "precision")),
        Column("recall", (block, "recall")),
        Column("F1", (block, "F1")),
    )
    per_class = figures["per_class"]
    rows = tuple(TableRow.of(name, columns, per_class[name]) for name in (per_class if names is None else names))
    return Table(f"By class, sets by {block}", columns, rows, tuple(count_notes(figures)))


def interval_table(intervals: Mapping[str, Any]) -> Table:
    """A table of what `bootstrap_intervals` gave."""
    headings = {"value": "value", "low": "low", "high": "high", "std. error": "standard_error"}
    return _resampled_table(f"{100 * intervals['level']:g} % intervals over images", headings, intervals)


def comparison_table(comparison: Mapping[str, Any], first: str = "first", second: str = "second") -> Table:
    """A table of what `compare_paired` gave, with what its first and second predictions are called."""
    headings = {first: "first", second: "second", "difference": "difference", "low": "low", "high": "high"}
    headings |= {"std. error": "standard_error", "p in %": "p_value"}
    title = f"{second} against {first}, with {100 * comparison['level']:g} % intervals of the difference"
    return _resampled_table(title, headings, comparison)


def _resampled_table(title: str, headings: Mapping[str, str], result: Mapping[str, Any]) -> Table:
    """A row for every resampled figure; below it how intervals came about, and why some figures have none."""
    columns = tuple(Column(heading, (key,)) for heading, key in headings.items())
    rows = tuple(TableRow.of(name, columns, figure) for name, figure in result["figures"].items())
    why = {name: figure["reason"] for name, figure in result["figures"].items() if "reason" in figure}
    drawn = f"Bias of mAP from {result['samples']} half sets of the images; seed {result['seed']}."
    shared = {reason: ", ".join(name for name in why if why[name] == reason) for reason in why.values()}
    if "predicted_set.CP" in result["figures"]:
        drawn = f"predicted_set: paths of the one that walks them, the other's sets by threshold. {drawn}"
    return Table(title, columns, rows, (drawn, *(f"{names}: no interval: {one}." for one, names in shared.items())))
