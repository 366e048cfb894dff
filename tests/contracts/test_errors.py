"""Clients match on error codes, so every code is listed, unique and eternal."""

import ast
import re

import pytest

from libs.common.errors import ThoughtflowError
from tests.contracts.errors import all_errors, coined, errors_page
from tests.contracts.tree import ERRORS, ROOT

ALL = all_errors()


def test_the_list_of_errors_is_the_published_one() -> None:
    assert ERRORS.read_text(encoding="utf-8") == errors_page(), "run `make contracts`"


def test_no_two_errors_coin_the_same_code() -> None:
    codes = [error.code for error in coined(ALL)]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_an_error_has_a_name_a_code_and_a_meaning_of_the_right_form(
    error: type[ThoughtflowError],
) -> None:
    assert error.__name__.endswith("Error")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert 400 <= error.status < 600
    assert vars(error)["__doc__"], "the first line of the docstring is the title that clients see"
    assert "|" not in error.title()


def test_a_service_coins_codes_in_its_errors_modules_only() -> None:
    """Elsewhere the published list would miss them."""
    names = {error.__name__ for error in ALL}
    strays = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in ROOT.glob("services/*/*.py")
        if not path.name.endswith("errors.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in names for base in node.bases)
        and _coins_a_code(node)
    ]
    assert strays == []


def _coins_a_code(error: ast.ClassDef) -> bool:
    targets = [
        target
        for node in error.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return any(isinstance(target, ast.Name) and target.id == "code" for target in targets)
