"""What the command line turns into an exit status."""


class InputError(Exception):
    """The user's input is wrong: exit status 2. The message says `where: what; what to do`."""


class WorkError(Exception):
    """The input was fine but the work failed: exit status 1."""
