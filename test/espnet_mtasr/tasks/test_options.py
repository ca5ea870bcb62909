"""Options of a configuration: unknown and missing ones, prefixes, nested keys."""

import argparse

import pytest
from espnet2.train.class_choices import ClassChoices

from espnet_mtasr.errors import UserError
from espnet_mtasr.tasks.options import build, check_options, flatten, is_part


class Base:
    def __init__(self, width, depth=1):
        self.width, self.depth = width, depth


class Derived(Base):
    def __init__(self, height=2, **kwargs):
        super().__init__(**kwargs)
        self.height = height


CHOICES = ClassChoices("part", dict(base=Base, derived=Derived), default="base")


def args_of(part, **conf):
    return argparse.Namespace(part=part, part_conf=conf)


def test_known_options_of_the_class_and_of_the_base_its_kwargs_go_to():
    check_options(Derived, dict(width=1, depth=2, height=3), "part_conf")
    with pytest.raises(
        UserError, match="part_conf: Derived has no option heigth; .*ht"
    ):
        check_options(Derived, dict(heigth=3), "part_conf")


def test_build():
    part = build(CHOICES, args_of("derived", height=5), width=4)
    assert (part.width, part.depth, part.height) == (4, 1, 5)
    assert build(ClassChoices("part", dict(base=Base)), args_of(None)) is None


@pytest.mark.parametrize(
    "args, message",
    [
        (args_of("base", wdith=1), "has no option wdith"),
        (args_of("base", width=1), "has no option width"),
        (args_of("other"), "--part must be one of"),
    ],
)
def test_build_refuses(args, message):
    with pytest.raises(UserError, match=message):
        build(CHOICES, args, width=4)
    with pytest.raises(UserError, match="part_conf: Base: .*'width'"):
        build(CHOICES, args_of("base"))


def test_prefixes_are_whole_names():
    assert is_part("a.b.c", "a.b") and is_part("a.b", "a.b")
    assert not is_part("a.bc", "a.b")


def test_flatten():
    assert flatten({"a": {"b": 1, "c.d": 2}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
