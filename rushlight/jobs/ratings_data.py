"""Ratings as numbers: which user gave which item how much, and the names of items.

Users and items are known by text, whatever the file's type, and numbered in a `Vocabulary` whose row 0 is
kept for everybody who is not in it. Reading files is the business of `rushlight.jobs.reading`. Invariant:
numbering the same ids with the same vocabulary gives the same rows, in training and in prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.jobs.errors import JobError, counted_rows
from rushlight.jobs.reading import LARGEST, Form, as_text, column_named, look, numbers, polars, read_table

UNKNOWN = 0  # the row of users and items that were not trained on
USUAL_NAMES = {
    "user": ("user", "userid", "user_id", "uid", "customer", "customerid", "customer_id", "reader"),
    "item": ("item", "itemid", "item_id", "iid", "movie", "movieid", "movie_id", "product", "productid")
    + ("product_id", "book", "bookid", "book_id", "isbn", "asin"),
    "rating": ("rating", "ratings", "stars", "score", "rate"),
}
USUAL_TITLES = ("title", "name", "movie_title", "product_name", "book_title", "label")


@dataclass(frozen=True)
class Ratings:
    """Ratings as read: ids as text (polars), ratings as float64, and notes on what was left out.

    ``rating`` is None where the file has no such column, which is enough to predict.
    """

    users: Any
    items: Any
    rating: np.ndarray | None
    notes: list[str]


class Vocabulary:
    """Numbers for ids, from 1; row 0 is the unknown.

    >>> users = Vocabulary.of(polars().Series(["42", "7", "42"]))
    >>> users.ids
    ['7', '42']
    >>> users.rows(polars().Series(["42", "8"]))
    array([2, 0])
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = list(ids)

    @classmethod
    def of(cls, texts: Any) -> Vocabulary:
        """All ids in a column, short ones first, so that numbers come in their order."""
        unique = texts.unique().to_frame("id")
        return cls(unique.sort(unique["id"].str.len_chars(), "id")["id"].to_list())

    def __len__(self) -> int:
        """How many rows a table of parameters needs: one more than there are ids."""
        return len(self.ids) + 1

    def rows(self, texts: Any) -> np.ndarray:
        """The number of each id (int64), 0 where it is unknown."""
        pl = polars()
        known = pl.DataFrame({"id": self.ids, "row": np.arange(1, len(self), dtype=np.int64)})
        found = texts.to_frame("id").join(known, on="id", how="left", maintain_order="left")
        return found["row"].fill_null(UNKNOWN).to_numpy().astype(np.int64)


def find_columns(form: Form, given: Mapping[str, str | None], where: str) -> dict[str, str]:
    """Which column holds users, items and ratings: as said, by its usual name, or by place without a header.

    >>> find_columns(Form(["userId", "movieId", "rating", "timestamp"], ","), {}, "ratings.csv")
    {'user': 'userId', 'item': 'movieId', 'rating': 'rating'}
    """
    folded = {name.casefold(): name for name in form.columns}
    found = {}
    for place, (role, usual) in enumerate(USUAL_NAMES.items()):
        name = given.get(role)
        if name is not None:
            found[role] = column_named(form.columns, name, where)
        elif not form.header and form.delimiter and place < len(form.columns):
            found[role] = form.columns[place]
        else:
            match = next((folded[each] for each in usual if each in folded), None)
            if match is not None:
                found[role] = match
    if len(set(found.values())) < len(found):
        raise JobError(f"--user, --item and --rating must name three different columns of {where}")
    return found


def read_ratings(
    path: str | Path,
    given: Mapping[str, str | None],
    reading: Mapping[str, Any],
    need_rating: bool = True,
) -> Ratings:
    """Read who rated what how much.

    Args:
        path: any table `rushlight.jobs.reading` knows; MovieLens' ``u.data`` without a header too.
        given: names of columns by role (``user``, ``item``, ``rating``); what is missing is found.
        reading: what `read_table` is told about the file's form (delimiter, encoding, header), and how many
            rows to read.
        need_rating: whether a file without ratings is refused.

    Raises:
        JobError: a column is missing, or nothing usable is left.
    """
    where = str(path)
    form = look(path, **{name: said for name, said in reading.items() if name != "rows"})
    columns = find_columns(form, given, where)
    roles = ("user", "item", "rating") if need_rating else ("user", "item")
    for role in roles:
        if role not in columns:
            raise JobError(
                f"which column of {where} holds the {role}s? Say --{role} NAME "
                f"(columns: {', '.join(form.columns[:20])})"
            )
    table = read_table(path, columns=list(columns.values()), **reading)
    frame = table.frame
    users, items = (as_text(frame[columns[role]]) for role in ("user", "item"))
    notes = list(table.notes)
    keep = ~(users.is_null() | items.is_null()).to_numpy()
    rating = None
    if "rating" in columns:
        rating = numbers(frame, columns["rating"], where)
        keep &= (np.abs(rating) <= LARGEST) | (not need_rating)
    if not keep.all():
        notes.append(f"left out: {counted_rows(np.sum(~keep))} without a user, an item or a rating")
        users, items = users.filter(keep), items.filter(keep)
        rating = None if rating is None else rating[keep]
    if not len(users):
        raise JobError(f"{where}: no row has a user, an item and a rating")
    return Ratings(users, items, rating, notes)


def repeated_pairs(ratings: Ratings) -> int:
    """How many ratings are of a user and item that another rating is of, too."""
    pairs = polars().DataFrame({"user": ratings.users, "item": ratings.items})
    return len(pairs) - pairs.n_unique()


def read_names(path: str | Path, item_column: str, known: Vocabulary) -> tuple[list[str], list[str]]:
    """The names of items, in the vocabulary's order ("" where there is none), and notes.

    The file's first column holds the ids unless a header names one as the ratings do; the name is the column
    called title or name, else the second one. Text that is not UTF-8 is read as latin-1, in which MovieLens'
    ``u.item`` is written.
    """
    encoding = None if _is_utf8(path) else "latin-1"
    # without a header, since no guess tells "1|Toy Story (1995)|..." from one; its line is judged below
    form = look(path, encoding=encoding, header=False)
    frame = read_table(path, encoding=encoding, header=False).frame
    names = list(frame.columns)
    first = [str(value).strip() for value in frame.row(0)]
    folded = [each.casefold() for each in first]
    wanted = (item_column.casefold(), *USUAL_NAMES["item"])
    heading = [name.casefold() for name in names] if not form.delimiter else folded
    ids = next((heading.index(each) for each in wanted if each in heading), 0)
    rest = [place for place in range(len(names)) if place != ids]
    title = next((heading.index(each) for each in USUAL_TITLES if each in heading), rest[0])
    texts, titles = as_text(frame[names[ids]]), frame[names[title]].cast(polars().String)
    by_id = {key: name for key, name in zip(texts, titles, strict=True) if key and name}
    found = [by_id.get(each, "") for each in known.ids]
    if not any(found):
        raise JobError(
            f"{path}: none of its ids in column {ids + 1} ({', '.join(map(str, texts[:3]))}...) is that of a "
            f"rated item ({', '.join(known.ids[:3])}...)"
        )
    missing = found.count("")
    notes = [f"{missing:,} items have no name in {path}"] if missing else []
    return found, notes


def _is_utf8(path: str | Path) -> bool:
    try:
        Path(path).read_bytes().decode()
    except UnicodeDecodeError:
        return False
    except OSError as error:
        raise JobError(f"{path} cannot be read: {error.strerror or error}") from None
    return True
