"""Patterns of file names: regular expressions for every part of the names, and pair of parts, that may tell groups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

MIN_GROUPS = 3
MIN_IMAGES = 2  # per group, in the mean
_PIECE = re.compile(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]+")
_TIME = re.compile(r"(?:20)?[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[0-2][0-9][0-5][0-9][0-5][0-9])?")
_CUTS = {8: (6,), 12: (6, 8, 10), 14: (8, 10, 12)}  # where month, day, hour or minute end, by the number of digits

_Part = tuple[int, int]  # position of a piece of the name, and how many of its first digits count; 0: the whole piece


def candidates(names: Sequence[str]) -> Iterator[str]:
    """Yield the patterns of all parts of the names that vary, then of all pairs of them.

    A part is a run of letters or of digits, or the month, day, hour or minute of a time stamp. The names are taken
    apart as most of them are built; a name that is built otherwise matches by chance only.

    Parameters
    ----------
    names : sequence of str
        File names, with or without folders.

    Yields
    ------
    str
        A regular expression for `near_duplicates.groups_by_name`.
    """
    split = [_PIECE.findall(Path(name).stem) for name in names]
    shapes = [tuple(map(_class_of, pieces)) for pieces in split]
    shape, _ = Counter(shapes).most_common(1)[0]
    usual = [pieces for pieces, of_name in zip(split, shapes) if of_name == shape]
    parts = [part for at in range(len(shape)) for part in _parts(at, [pieces[at] for pieces in usual])]
    for part in parts:
        yield _pattern(shape, [part])
    for pair in combinations(parts, 2):
        if pair[0][0] != pair[1][0]:
            yield _pattern(shape, pair)


def _class_of(piece: str) -> str:
    """Return the regular expression of all pieces that may stand in the place of this one."""
    if piece[0].isascii() and piece[0].isalnum():
        return r"\d+" if piece[0].isdigit() else "[A-Za-z]+"
    return re.escape(piece)


def _parts(at: int, texts: Sequence[str]) -> Iterator[_Part]:
    largest = len(texts) / MIN_IMAGES  # a part with more texts cannot tell groups, neither alone nor in a pair
    if 1 < len(set(texts)) <= largest:
        yield at, 0
    yield from _of_time_stamp(at, texts)


def _of_time_stamp(at: int, texts: Sequence[str]) -> Iterator[_Part]:
    # The first digits of a running number would group neighbours on it, so every text must be a date.
    lengths = {len(text) for text in texts}
    if len(lengths) == 1 and all(map(_TIME.fullmatch, texts)):
        for n_digits in _CUTS.get(lengths.pop(), ()):
            if 1 < len({text[:n_digits] for text in texts}) <= len(texts) / MIN_IMAGES:
                yield at, n_digits


def _pattern(shape: Sequence[str], parts: Sequence[_Part]) -> str:
    digits = dict(parts)
    pieces = []
    for at, of_class in enumerate(shape[: max(digits) + 1]):
        if at not in digits:
            pieces.append(of_class)
        elif digits[at]:
            pieces.append(rf"(\d{{{digits[at]}}})\d+")
        else:
            pieces.append(f"({of_class})")
    return "^" + "".join(pieces)
