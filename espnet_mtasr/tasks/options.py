"""Options of a configuration: check them, and build what they name."""

import argparse
import inspect
from typing import Any, Collection, Dict, Mapping, Optional

from espnet2.train.class_choices import ClassChoices

from espnet_mtasr.errors import UserError


def check_options(
    class_obj: type, conf: Mapping[str, Any], name: str, given: Collection[str] = ()
) -> None:
    """Raise UserError for a key that the constructor doesn't have.

    Args:
        class_obj: Its `**kwargs` are assumed to be those of its base class.
        conf: Options.
        name: Of the options, for the message.
        given: Arguments that come from elsewhere and aren't options.
    """
    known: Dict[str, None] = {}
    for base in class_obj.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters
            known.update(dict.fromkeys(n for n in parameters if n != "self"))
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                break
    options = [n for n in known if n not in {"args", "kwargs", *given}]
    unknown = [key for key in conf if key not in options]
    if unknown:
        raise UserError(
            f"{name}: {class_obj.__name__} has no option {unknown[0]}; "
            f"it has {', '.join(options)}"
        )


def get_class(choices: ClassChoices, args: argparse.Namespace) -> Optional[type]:
    """Return the class that `--NAME` chooses, or None; UserError if there is none."""
    try:
        return choices.get_class(getattr(args, choices.name))
    except ValueError as e:
        raise UserError(str(e)) from e


def build(choices: ClassChoices, args: argparse.Namespace, **parts: Any):
    """Build the object that `--NAME` and `--NAME_conf` describe, or return None.

    Args:
        choices: Available classes.
        args: Options.
        parts: Arguments that aren't options.

    Raises:
        UserError: an option is unknown, or one without a default is missing.
    """
    class_obj = get_class(choices, args)
    if class_obj is None:
        return None
    conf = getattr(args, f"{choices.name}_conf")
    check_options(class_obj, conf, f"{choices.name}_conf", parts)
    try:
        inspect.signature(class_obj).bind(**parts, **conf)
    except TypeError as e:
        raise UserError(f"{choices.name}_conf: {class_obj.__name__}: {e}") from e
    return class_obj(**parts, **conf)


def is_part(parameter: str, prefix: str) -> bool:
    """Return whether a parameter's name starts with the names in `prefix`.

    >>> is_part("encoder.trunk.layers.0.weight", "encoder.trunk")
    True
    >>> is_part("encoder.trunk.layers.0.weight", "encoder.tr")
    False
    """
    return parameter == prefix or parameter.startswith(prefix + ".")


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Dict[str, Any]:
    """Join the keys of nested dicts with dots, as in `--option a.b=1`.

    >>> flatten({"a.b": 1, "a": {"c": {"d": 2}}})
    {'a.b': 1, 'a.c.d': 2}
    """
    flat: Dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
