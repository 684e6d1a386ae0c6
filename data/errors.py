"""The one kind of error that is the user's to mend."""


class UserError(Exception):
    """Scripts tell it in one line, without a traceback, and end with code 2."""
