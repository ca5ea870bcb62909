"""Class choices that accept a user's own classes, without changing the package.

A configuration names one of the known classes, as in ESPnet, or `MODULE:CLASS`: a class
in a module that Python finds, for instance `local.my_separator:MySeparator` in
`local/my_separator.py` of the recipe's folder. The name is stored in config.yaml, so
the trained model can be loaded with it. The form is that of Python's entry points.
"""

import argparse
import importlib
from typing import Dict, Mapping, Optional

from espnet2.train.class_choices import ClassChoices
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str_or_none

from espnet_mtasr.errors import UserError
from espnet_mtasr.trust import check_module


def import_class(name: str, base: Optional[type], option: str) -> type:
    """Return the class that `MODULE:CLASS` names.

    Args:
        name: `MODULE:CLASS`.
        base: Class that it must derive from; None: any.
        option: Option of the configuration, for messages.

    Raises:
        UserError: there is no such module or class, it is not derived from `base`, or
            an untrusted model may not name it; its module is then not imported. Errors
            inside the module are raised unchanged.

    >>> import_class("collections:OrderedDict", dict, "separator").__name__
    'OrderedDict'
    """
    module_name, _, class_name = name.partition(":")
    if not class_name.isidentifier() or not module_name or module_name[0] == ".":
        raise UserError(f"{option}: {name}: give MODULE:CLASS")
    check_module(option, name, module_name)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{module_name}.".startswith(f"{e.name}."):
            raise
        raise UserError(
            f"{option}: {name}: there is no Python module {module_name}; run in the "
            "folder that contains it, or add that folder to PYTHONPATH"
        ) from e
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise UserError(
            f"{option}: {name}: the module {module_name} has no class {class_name}; "
            f"write it, or name another"
        )
    if base is not None and not issubclass(found, base):
        raise UserError(
            f"{option}: {name}: must derive from {base.__module__}.{base.__name__}; "
            "change its base class"
        )
    check_module(option, name, found.__module__)
    return found


class OpenChoices(ClassChoices):
    """ESPnet's `ClassChoices`, plus any class given as `MODULE:CLASS`."""

    def get_class(self, name: Optional[str]) -> Optional[type]:
        """Return the class that `name` chooses, or None.

        Raises:
            ValueError: an unknown name.
            UserError: see `import_class`.
        """
        if name is not None and ":" in name:
            return import_class(name, self.base_type, self.name)
        if name is not None and name not in self.classes:
            raise ValueError(
                f"--{self.name} must be one of {', '.join(self.classes)}, or "
                f"MODULE:CLASS for a class of your own: --{self.name} {name}"
            )
        found = super().get_class(name)
        if found is not None:
            check_module(self.name, str(name), found.__module__)
        return found

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add `--NAME` and `--NAME_conf`.

        Only `get_class` checks the names. argparse would not check those from a
        configuration file, because it treats them as defaults.
        """
        parser.add_argument(
            f"--{self.name}",
            type=_name,
            default=self.default,
            help=f"The {self.name} type: {', '.join(self.classes)}, or MODULE:CLASS",
        )
        parser.add_argument(
            f"--{self.name}_conf",
            action=NestedDictAction,
            default=dict(),
            help=f"The keyword arguments for {self.name}",
        )


class LazyChoices(OpenChoices):
    """`OpenChoices` whose classes are imported when they are used.

    A trained model needs few of them, and importing espnet2.tasks.asr, which has all of
    ESPnet's, takes seconds.

    Args:
        name: Name of the option.
        named: `MODULE:CLASS` of each name.
        type_check: Base of all classes.
        default: Name of the default class.
        optional: Whether None is a choice.
        others: Module with ESPnet's own `NAME_choices`, for names that are not in
            `named`.

    >>> choices = LazyChoices("x", {"ordered": "collections:OrderedDict"}, dict)
    >>> choices.get_class("ordered"), choices.classes
    (<class 'collections.OrderedDict'>, {'ordered': <class 'collections.OrderedDict'>})
    """

    def __init__(
        self,
        name: str,
        named: Mapping[str, str],
        type_check: type,
        default: Optional[str] = None,
        optional: bool = False,
        others: Optional[str] = None,
    ):
        # Not ESPnet's constructor, which looks at every class.
        self.name = name
        self.named = named
        self.base_type = type_check
        self.default = default
        self.optional = optional or default is None
        self.others = others

    @property
    def classes(self) -> Dict[str, type]:
        """All classes by name; imports them."""
        found = {name: self._import(name) for name in self.named}
        if self.others is None:
            return found
        others = importlib.import_module(self.others)
        return {**getattr(others, f"{self.name}_choices").classes, **found}

    def get_class(self, name: Optional[str]) -> Optional[type]:
        """See `OpenChoices.get_class`."""
        return self._import(name) if name in self.named else super().get_class(name)

    def _import(self, name: str) -> type:
        return import_class(self.named[name], self.base_type, self.name)


def _name(text: str) -> Optional[str]:
    return text if ":" in text else str_or_none(text.lower())
