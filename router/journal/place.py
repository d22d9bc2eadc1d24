"""Where an exception comes from, without its text, which may quote a data set."""

from traceback import walk_tb


def place_of(error: BaseException) -> str:
    """Its type, and the innermost line of ours that it passed, as ``ValueError at router.flow.intake:120``."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    places = [f"{frame.f_globals.get('__name__')}:{line}" for frame, line in walk_tb(error.__traceback__)]
    ours = [place for place in places if place.startswith("router.")]
    return f"{type(error).__name__} at {(ours or places or ['an unknown place'])[-1]}"
