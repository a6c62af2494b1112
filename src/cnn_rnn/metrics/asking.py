"""How many questions a person answers until the predicted set of labels is exactly right.

A question is about one label, and its answer is the truth. What is predicted, and what is asked next, follows from all
answers so far.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .checked_arrays import Array
from .conditioning import ScoreFunction
from .label_sets import Figures
from .protocols import Column
from .tables import Table, TableRow

LIKELIER_THAN_NOT = 0.5

Order = Callable[[Array], Array]
"""Takes probabilities (M, C) given what is known; returns how much there is to say for asking about each label."""

ORDERS: dict[str, Order] = {
    # the label nearest to one half: see `cnn_rnn.label_answers.most_telling`
    "telling": lambda probabilities: np.minimum(probabilities, 1 - probabilities),
    "probable": lambda probabilities: probabilities,
}


def count_questions(
    score: ScoreFunction, truth: NDArray[np.int8], order: Order, finished: Callable[[int], object] | None = None
) -> NDArray[np.int64]:
    """How many questions (N,) are answered until the labels likelier than not, given all answers, are the true set.

    Args:
        score: The model.
        truth: (N, C) 1 present, 0 absent, -1 left out: never asked about, neither right nor wrong.
        order: What is asked first.
        finished: Called with how many images were finished, after each round of answers.
    """
    known = np.zeros(truth.shape, np.int8)
    questions = np.zeros(len(truth), np.int64)
    rows = np.arange(len(truth))
    while len(rows):
        told = known[rows]
        probabilities = np.where(told == 0, score(told, rows), told > 0)
        wrong = (((probabilities >= LIKELIER_THAN_NOT) != (truth[rows] == 1)) & (truth[rows] >= 0)).any(axis=1)
        if finished is not None:
            finished(int((~wrong).sum()))
        rows, told = rows[wrong], told[wrong]
        # what has its answer, or none that anybody knows, is not asked about
        worth = np.where((told == 0) & (truth[rows] >= 0), order(probabilities[wrong]), -np.inf)
        asked = worth.argmax(axis=1)
        known[rows, asked] = np.where(truth[rows, asked] == 1, 1, -1)
        questions[rows] += 1
    return questions


def questions_figures(questions: NDArray[np.int64]) -> Figures:
    """Mean and median of the questions over all images (N,), and the share of images that need none."""
    if not len(questions):
        return {"mean": None, "median": None, "right_at_once": None}
    figures = {"mean": questions.mean(), "median": np.median(questions), "right_at_once": (questions == 0).mean()}
    return {name: float(value) for name, value in figures.items()}


def asked_table(asked: Figures) -> Table:
    """A table of what `measure_asked` gave."""
    columns = (
        Column("questions", ("mean",), percent=False),
        Column("median", ("median",), percent=False),
        Column("right at once", ("right_at_once",)),
    )
    lines = [
        TableRow(f"{row.replace('_', ' ')}, {order} first", {one.heading: one.value(figures) for one in columns})
        for row, orders in asked.items()
        for order, figures in orders.items()
    ]
    notes = (
        "Questions: labels that are answered by yes or no until those likelier than not are the true set.",
        "telling: the label whose answer tells most of the set; probable: the most probable open label.",
    )
    return Table("Questions until the set is exactly right", columns, tuple(lines), notes)
