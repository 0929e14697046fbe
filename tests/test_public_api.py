"""The public lists are complete, sorted and documented."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

import dreammotion_core
import segmentation
from dreammotion_core import errors

PACKAGES = [dreammotion_core, segmentation]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_public_list_is_sorted_and_holds_every_public_name(package: ModuleType) -> None:
    names = [
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    ]

    assert len(set(package.__all__)) == len(package.__all__)
    assert set(package.__all__) == set(names)
    assert sorted(package.__all__, key=_as_ruff_sorts) == package.__all__


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_public_classes_and_functions_say_what_they_are(package: ModuleType) -> None:
    public = [getattr(package, name) for name in package.__all__]
    documentable = [value for value in public if inspect.isclass(value) or inspect.isfunction(value)]

    assert [value.__name__ for value in documentable if not inspect.getdoc(value)] == []
    for value in documentable:
        # A dataclass without a docstring is given its signature as one.
        assert not (inspect.getdoc(value) or "").startswith(f"{value.__name__}(")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_public_functions_take_all_but_the_first_argument_by_name(package: ModuleType) -> None:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    for name in package.__all__:
        function = getattr(package, name)
        if inspect.isfunction(function):
            parameters = inspect.signature(function).parameters.values()
            allowed = 2 if name.startswith(("write_", "paint_")) else 1
            assert sum(p.kind in positional for p in parameters) <= allowed, name


def test_every_library_error_is_public_and_in_the_tree_of_the_docstring() -> None:
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]

    for error in classes:
        assert issubclass(error, errors.DreamMotionError)
        assert error.__name__ in (errors.__doc__ or "")
        assert error.__name__ in dreammotion_core.__all__


def test_version_is_a_version() -> None:
    assert [part.isdigit() for part in dreammotion_core.__version__.split(".")] == [True, True, True]


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    """Constants first, then classes, then functions."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name
