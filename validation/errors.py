"""The base of every error that a user can mend."""


class UserError(ValueError):
    """Bad data, a bad configuration or a missing step: the text says where, what was found and what is allowed.

    Programs and commands show the text alone; any other exception is our own fault and keeps its traceback.
    """


class ConfigurationError(UserError):
    """A configuration that says something that is not allowed; names the file, the entry and the value."""
