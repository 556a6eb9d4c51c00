"""How the states of libraries that notebooks set are read and written.

A state is plain data that can be compared. It belongs to a module; where that is not loaded there is no state. Of
options, only what is not the library's default is in it.
"""

from __future__ import annotations

import decimal
import logging
import random
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["LIBRARIES", "State", "read_shell", "write_shell"]


class State(NamedTuple):
    """One state.

    Attributes:
        module: the library's; the functions get it.
        read: returns the state.
        write: sets it.
        of_chance: it decides what comes by chance, so two cells that run at once must not share it.
    """

    module: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], None]
    of_chance: bool = False


# ---------------------------------------------------------------- chance


def _read_numpy_random(numpy: Any) -> Any:
    state = numpy.random.get_state()
    if type(state) is not tuple:  # the user has put another generator there
        return None
    return (state[0], state[1].tobytes(), *state[2:])


def _write_numpy_random(numpy: Any, state: Any) -> None:
    if state is not None:
        numpy.random.set_state((state[0], numpy.frombuffer(state[1], "uint32"), *state[2:]))


def _write_torch_random(torch: Any, state: bytes) -> None:
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


# ---------------------------------------------------------------- options


def _read_numpy(numpy: Any) -> Any:
    return numpy.get_printoptions(), numpy.geterr()


def _write_numpy(numpy: Any, state: Any) -> None:
    options, errors = state
    numpy.set_printoptions(**options)
    numpy.seterr(**errors)


def _pandas_options(pandas: Any) -> dict[str, tuple[Any, Any]]:
    """Return the options, each with its default; there is no public name for these."""
    config = pandas._config.config  # noqa: SLF001
    options = {}
    for key, option in config._registered_options.items():  # noqa: SLF001
        value = config._global_config  # noqa: SLF001
        for part in key.split("."):
            value = value[part]
        options[key] = value, option.defval
    return options


def _read_pandas(pandas: Any) -> Any:
    return {key: value for key, (value, default) in _pandas_options(pandas).items() if value != default}


def _write_pandas(pandas: Any, state: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an option may be deprecated: whoever sets it has been told
        for key, (value, default) in _pandas_options(pandas).items():
            if value != state.get(key, default):
                pandas.set_option(key, state.get(key, default))


_OWN = frozenset({"backend", "backend_fallback", "interactive", "toolbar"})
"""Settings of matplotlib that are each program's own."""


def _read_matplotlib(matplotlib: Any) -> Any:
    defaults = matplotlib.rcParamsDefault
    return {
        key: list(value) if type(value) is list else value
        for key, value in dict.items(matplotlib.rcParams)  # the dict's own: asking for the backend loads it
        if key not in _OWN and value != defaults.get(key)
    }


def _write_matplotlib(matplotlib: Any, state: dict[str, Any]) -> None:
    settings, defaults = matplotlib.rcParams, matplotlib.rcParamsDefault
    for key in _read_matplotlib(matplotlib).keys() - state.keys():
        settings[key] = defaults[key]
    settings.update({key: value for key, value in state.items() if key in settings})


def _read_decimal(_: Any) -> Any:
    context = decimal.getcontext()
    traps = tuple(signal.__name__ for signal, is_set in context.traps.items() if is_set)
    return context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps


def _write_decimal(_: Any, state: Any) -> None:
    context = decimal.getcontext()
    *simple, traps = state
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
    for name, value in zip(names, simple, strict=True):
        setattr(context, name, value)
    for signal in context.traps:
        context.traps[signal] = signal.__name__ in traps


# ---------------------------------------------------------------- logs


def _plain_handlers() -> list[tuple[logging.StreamHandler[Any], str]]:
    """Return the handlers of the root logger as `logging.basicConfig` makes them, with the names of their streams."""
    return [
        (one, name)
        for one in logging.root.handlers
        if type(one) is logging.StreamHandler
        for name in ("stdout", "stderr")
        if one.stream is getattr(sys, name)
    ]


def _read_logging(_: Any) -> Any:
    return logging.root.level, tuple(
        (handler.level, stream, handler.formatter) for handler, stream in _plain_handlers()
    )


def _write_logging(_: Any, state: Any) -> None:
    level, handlers = state
    for handler, _stream in _plain_handlers():
        logging.root.removeHandler(handler)
    for own_level, stream, formatter in handlers:
        handler = logging.StreamHandler(getattr(sys, stream))
        handler.setLevel(own_level)
        handler.setFormatter(formatter)
        logging.root.addHandler(handler)
    logging.root.setLevel(level)


LIBRARIES = {
    "random": State(
        "random", lambda _: random.getstate(), lambda _, state: random.setstate(state), of_chance=True
    ),
    "numpy.random": State("numpy", _read_numpy_random, _write_numpy_random, of_chance=True),
    "torch.random": State(
        "torch", lambda torch: bytes(torch.get_rng_state().tolist()), _write_torch_random, of_chance=True
    ),
    "numpy": State("numpy", _read_numpy, _write_numpy),
    "pandas": State("pandas", _read_pandas, _write_pandas),
    "matplotlib": State("matplotlib", _read_matplotlib, _write_matplotlib),
    "decimal": State("decimal", _read_decimal, _write_decimal),
    "logging": State("logging", _read_logging, _write_logging),
}
"""By the names under which they travel."""


# ---------------------------------------------------------------- IPython


def _backend(shell: Any) -> Any:
    """Return the options of matplotlib's inline backend; None where it was never used."""
    kind = getattr(sys.modules.get("matplotlib_inline.config"), "InlineBackend", None)
    return kind.instance(parent=shell) if kind is not None and kind.initialized() else None


def read_shell(shell: Any) -> Any:
    """Return which values of a cell are shown, how many digits floats have, and the formats of figures."""
    backend = _backend(shell)
    formats = tuple(sorted(backend.figure_formats)) if backend is not None else ("png",)
    return shell.ast_node_interactivity, str(_text(shell).float_precision), formats


def write_shell(shell: Any, state: Any) -> None:
    """Set them."""
    interactivity, precision, formats = state
    before = read_shell(shell)
    shell.ast_node_interactivity = interactivity
    if precision != before[1]:
        _text(shell).float_precision = precision
    if tuple(formats) != before[2]:
        from matplotlib_inline.config import InlineBackend

        backend = InlineBackend.instance(parent=shell)
        backend.shell = shell
        backend.figure_formats = set(formats)


def _text(shell: Any) -> Any:
    return shell.display_formatter.formatters["text/plain"]
