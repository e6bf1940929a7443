"""What a user can mend."""


class UserError(ValueError):
    """A mistake in what the user gave: the message is one sentence that says what was wrong, where, and what to do.

    The command-line tools print it without a traceback and exit with status 2.
    """
