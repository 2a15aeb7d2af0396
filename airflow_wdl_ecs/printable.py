"""Text from anywhere as a log, a terminal or a page may show it: no value looks like another line, or acts on a screen.

One function decides what is shown as it is. Control characters, line and paragraph separators, marks that turn the
direction of writing, and code points that are no characters are shown as escapes (``\\n``, ``\\x1b``, ``\\u2028``).
This module knows nothing of this package.
"""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """The text in one line, with an escape in place of what would not be printed, or be more than printed."""
    if text.isprintable():
        return text
    return "".join(letter if _is_shown(letter) else letter.encode("unicode_escape").decode() for letter in text)


def printable_lines(text: str) -> str:
    """As `printable`, of a text whose line breaks are its own, and stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _is_shown(letter: str) -> bool:
    # A tab and a blank of another width are printed, which isprintable() does not say of them.
    return letter.isprintable() or letter == "\t" or unicodedata.category(letter) == "Zs"
