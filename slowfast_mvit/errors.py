"""What a user can mend."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave: the message is one sentence that says what was wrong, where, and what to do.

    The command-line tools print it without a traceback and exit with status 2.
    """


def closest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the known one that it resembles in any spelling, or all of them."""
    names = sorted(known)
    folded = {known_name.casefold(): known_name for known_name in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean {folded[close[0]]}?" if close else f"known are {', '.join(names)}"
