"""The form of planted bugs: all of them fit, and one that does not says why."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.planted import run
from tests.planted.bugs import (
    LAB,
    PLANTED,
    SOURCE,
    Bug,
    Change,
    Stale,
    apply_bug,
    copy_with_bug,
    describe_change,
    edit_source,
    edit_sources,
    find_bug,
    list_bugs,
    load_bug,
    locate_change,
)

MODULE = '''"""A shop."""

LIMIT: int = 10


def price(amount, rate):
    """What it costs."""
    # Über all: the price.
    total = amount * rate  # net
    if total > LIMIT:
        total = LIMIT
    elif not total:
        total = 1
    return total


class Shop:
    limit = 10

    @property
    def stock(self):
        return self._stock

    @stock.setter
    def stock(self, stock):
        self._stock = stock
        self.refresh()

    def sell(self, count):
        if count > self.limit:
            self.refuse(count)
        for _ in range(count):
            self.ship("ü", price(1, 2))
            self.refresh()
        self.refresh()
        return f"{count + 1} sold"
'''


def change(function: str, old: str, new: str) -> Change:
    return Change("shop", function, old, new)


def edit(function: str, old: str, new: str, source: str = MODULE) -> str:
    return edit_source([change(function, old, new)], source)


@pytest.mark.parametrize("bug", [*list_bugs(), *list_bugs(LAB)], ids=lambda bug: bug.name)
def test_every_bug_fits_the_source(bug: Bug) -> None:
    texts = edit_sources(bug)
    assert texts
    for path, text in texts.items():
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(path.read_text("utf-8")))


def run_tool(*words: str, folder: Path) -> None:
    """Run a checker of code in a folder; it must have nothing to say."""
    process = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.slow
def test_no_bug_uses_an_undefined_name(tmp_path: Path) -> None:
    """A bug that ends in a NameError is caught for another reason than its sentence."""
    for bug in (*list_bugs(), *list_bugs(LAB)):
        for path, text in edit_sources(bug).items():
            (tmp_path / f"{bug.name}__{path.name}").write_text(text, "utf-8")
    run_tool("ruff", "check", "--isolated", "--no-cache", "--select=F821", ".", folder=tmp_path)


def group_bugs(bugs: Iterable[Bug]) -> list[list[Bug]]:
    """As few groups as it takes so that no two bugs of a group change the same code."""
    groups: list[tuple[list[Bug], list[tuple[str, int, int]]]] = []
    for bug in bugs:
        spans = []
        for change in bug.changes:
            file = SOURCE.joinpath(*change.module.split("."))
            file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
            spans.append((change.module, *locate_change(change, file.read_text("utf-8"))))
        for group in groups:
            if not any(
                module == other and start <= last and first <= end
                for module, start, end in spans
                for other, first, last in group[1]
            ):
                break
        else:
            group = ([], [])
            groups.append(group)
        group[0].append(bug)
        group[1].extend(spans)
    return [members for members, _ in groups]


@pytest.mark.slow
def test_no_bug_uses_an_unknown_attribute(tmp_path: Path) -> None:
    """Types hold as they do in the source: a bug does something wrong, it does not break off.

    Of the packages that have a bug; without the clients of vendors, which take most of the time.
    """
    all_bugs = [*list_bugs(), *list_bugs(LAB)]
    modules = {change.module for bug in all_bugs for change in bug.changes}
    packages = sorted({".".join(module.split(".")[:2]) for module in modules})
    targets = [word for package in packages for word in ("-p", package)]
    for number, bugs in enumerate(group_bugs(all_bugs)):
        changes = tuple(change for bug in bugs for change in bug.changes)
        folder = tmp_path / str(number)
        copy_with_bug(Bug("all", "All of a group.", changes), folder)
        shutil.copy(SOURCE.parent / "pyproject.toml", folder)
        # A list that a bug never appends to has no type.
        options = ("--cache-dir=../cache", "--disable-error-code=var-annotated")
        run_tool("mypy", *options, *targets, folder=folder)


def test_every_bug_is_a_sentence() -> None:
    for bug in (*list_bugs(), *list_bugs(LAB)):
        assert bug.sentence[0].isupper(), bug.name
        assert bug.sentence.endswith("."), bug.name


def test_no_two_bugs_are_the_same() -> None:
    names: dict[tuple[str, ...], list[str]] = {}
    for bug in (*list_bugs(), *list_bugs(LAB)):
        names.setdefault(tuple(sorted(map(describe_change, bug.changes))), []).append(bug.name)
    assert [same for same in names.values() if len(same) > 1] == []


def test_the_same_change_is_recognised() -> None:
    removed, passed = change("sell", "f(1, 2)", ""), change("sell", "f(1,2)  # why", "pass")
    assert describe_change(removed) == describe_change(passed)
    assert describe_change(removed) != describe_change(change("sell", "f(1, 2)", "f(1)"))
    assert describe_change(removed) != describe_change(change("buy", "f(1, 2)", ""))


def test_a_name_means_one_bug() -> None:
    names = [bug.name for bug in (*list_bugs(), *list_bugs(LAB))]
    assert len(names) == len(set(names))
    assert find_bug("normal_sync") == load_bug(LAB / "normal_sync.toml")
    assert find_bug("admit_all") == load_bug(PLANTED / "admit_all.toml")
    with pytest.raises(FileNotFoundError, match="no_such_bug"):
        find_bug("no_such_bug")


# ---------------------------------------------------------------------------------------- survival


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\n\ndef price", "\n\n\nRATE = 2\n\n\ndef price"),
        ("    total = amount * rate", "    count(amount)\n    total = amount * rate"),
        ("    if total > LIMIT:", "    if total > 5:\n        pass\n    if total > LIMIT:"),
        ("total > LIMIT", "(\n        total\n        > LIMIT  # at most\n    )"),
        ("# net", "# without tax"),
        ("return total", "amount > LIMIT\n    return total"),
    ],
    ids=["moved", "line before", "code before", "format", "comment", "code after"],
)
def test_a_bug_survives(before: str, after: str) -> None:
    assert before in MODULE
    source = MODULE.replace(before, after, 1)
    text = edit("price", "total > LIMIT", "total < LIMIT", source)
    assert text.count("(total < LIMIT)") == 1
    assert text.replace("(total < LIMIT)", "") != source


def test_a_renamed_variable_makes_a_bug_stale() -> None:
    source = MODULE.replace("total", "sum_total")
    with pytest.raises(Stale) as caught:
        edit("price", "total > LIMIT", "total < LIMIT", source)
    assert str(caught.value) == (
        "shop:price does not contain\n    total > LIMIT\nnearest is line 10:\n    sum_total > LIMIT"
    )
    with pytest.raises(Stale, match="nearest is line 11:\n    sum_total = LIMIT"):
        edit("price", "total = LIMIT", "", source)


def test_old_code_that_occurs_twice_is_refused() -> None:
    with pytest.raises(Stale, match=r"contains the old code 2 times \(lines 34, 35\)"):
        edit("Shop.sell", "self.refresh()", "")
    text = edit("Shop.sell", "self.refresh()\nreturn f'{count + 1} sold'", "return ''")
    assert text.endswith("            self.refresh()\n        return ''\n")


def test_a_function_that_is_gone_makes_a_bug_stale() -> None:
    with pytest.raises(Stale, match=r"there is no shop:Shop\.sel; nearest: Shop\.sell"):
        edit("Shop.sel", "count", "1")
    with pytest.raises(Stale, match=r"there is no shop:Store\.price; nearest: .*price"):
        edit("Store.price", "total", "1")
    with pytest.raises(Stale, match=r"nearest: none$"):
        edit("xyz", "count", "1", "\n")


def test_a_module_that_is_gone_makes_a_bug_stale(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "shop.py").write_text(MODULE)
    bug = Bug("dear", "It is dear.", (Change("b.shop", "price", "total > LIMIT", "False"),))
    with pytest.raises(Stale, match=r"dear: there is no module b\.shop; .*: a/shop\.py"):
        edit_sources(bug, tmp_path)


# ----------------------------------------------------------------------------------------- editing


def test_the_span_is_in_characters() -> None:
    start, end = locate_change(change("Shop.sell", "price(1, 2)", "0"), MODULE)
    assert MODULE[start:end] == "price(1, 2)"
    assert MODULE[:start].endswith('self.ship("ü", ')


def test_a_level_is_without_what_is_defined_in_it() -> None:
    assert "LIMIT: int = 20" in edit("", "LIMIT: int = 10", "LIMIT: int = 20")
    assert "    limit = 20\n" in edit("Shop", "limit = 10", "limit = 20")
    with pytest.raises(Stale, match="shop: does not contain"):
        edit("", "total > LIMIT", "False")
    with pytest.raises(Stale, match="shop:Shop does not contain"):
        edit("Shop", "count > self.limit", "False")
    text = edit("", "def price(amount, rate): pass", "", "def price(amount, rate):\n    pass\n")
    assert text == "pass\n"


def test_a_property_and_its_setter_are_looked_at_both() -> None:
    assert "return (None)" in edit("Shop.stock", "self._stock", "None")
    assert "self._stock = stock\n\n    def sell" in edit(
        "Shop.stock", "self.refresh()", ""
    ).replace("        \n", "")


def test_statements_are_indented_and_an_empty_block_gets_a_pass() -> None:
    text = edit("Shop.sell", "self.refuse(count)", "if count:\n    count = 0\n\nreturn")
    body = "            if count:\n                count = 0\n\n            return\n"
    assert body in text
    assert "            pass\n" in edit("Shop.sell", "self.refuse(count)", "")
    assert "pass" not in edit("price", "total = amount * rate", "")


def test_an_expression_keeps_to_itself() -> None:
    assert "(1 + 1) * rate" in edit("price", "amount * rate", "(1 + 1) * rate")
    source = "def f(a, b):\n    return -a * b\n"
    assert edit("f", "-a", "a + 1", source) == "def f(a, b):\n    return (a + 1) * b\n"
    assert "(a\nand b) * b" in edit("f", "-a", "a\nand b", source)


def test_an_elif_is_an_if() -> None:
    text = edit("price", "if not total:\n    total = 1", "if total == 3:\n    total = 4")
    assert "    elif total == 3:\n        total = 4\n" in text
    for new in ("total = 4", ""):
        with pytest.raises(ValueError, match="new cannot be put there"):
            edit("price", "if not total:\n    total = 1", new)


def test_several_changes_are_located_before_any_is_made() -> None:
    source = "def f(a, b):\n    return a is b, a is not b\n"
    changes = [change("f", "a is b", "a is not b"), change("f", "a is not b", "a is b")]
    text = edit_source(changes, source)
    assert text == "def f(a, b):\n    return (a is not b), (a is b)\n"


def test_changes_that_overlap_are_refused() -> None:
    changes = [
        change("price", "total > LIMIT", "False"),
        change("price", "if total > LIMIT: total = LIMIT\nelif not total: total = 1", ""),
    ]
    with pytest.raises(ValueError, match="two changes overlap"):
        edit_source(changes, MODULE)


def test_what_cannot_be_put_there_as_text_is_refused() -> None:
    source = "def f(a):\n    if a: a = 1\n    return a\n"
    with pytest.raises(SyntaxError, match="unexpected indent"):
        edit("f", "a = 1", "a = 1\nb = 2", source)
    with pytest.raises(ValueError, match="new cannot be put there"):
        edit("f", "return a", 'return """\n"""', source)
    with pytest.raises(SyntaxError, match="outside function"):
        edit("", "LIMIT: int = 10", "return")


def test_code_within_an_f_string_is_not_looked_at() -> None:
    with pytest.raises(Stale):
        edit("Shop.sell", "count + 1", "count")
    assert "return ('sold')" in edit("Shop.sell", 'f"{count + 1} sold"', "'sold'")


def test_a_bug_changes_its_files_or_nothing(tmp_path: Path) -> None:
    for name in ("shop", "bank"):
        (tmp_path / "src" / name).mkdir(parents=True)
        (tmp_path / "src" / name / "__init__.py").write_text(MODULE)
    good, late = Change("shop", "price", "total > LIMIT", "True"), Change("bank", "price", "a", "b")
    with pytest.raises(Stale, match="dear: bank:price does not contain"):
        apply_bug(Bug("dear", "It is dear.", (good, late)), tmp_path)
    assert (tmp_path / "src/shop/__init__.py").read_text() == MODULE
    assert apply_bug(Bug("dear", "It is dear.", (good,)), tmp_path) == ["src/shop/__init__.py"]
    assert "if (True):" in (tmp_path / "src/shop/__init__.py").read_text()
    assert (tmp_path / "src/bank/__init__.py").read_text() == MODULE


def test_a_copy_has_the_bug_and_the_source_has_not(tmp_path: Path) -> None:
    bug = find_bug("admit_all")
    [(path, text)] = edit_sources(bug).items()
    copy = copy_with_bug(bug, tmp_path)
    assert copy == tmp_path / "src"
    assert (copy / path.relative_to(SOURCE)).read_text("utf-8") == text
    assert path.read_text("utf-8") != text


# ------------------------------------------------------------------------------------------- files

HEAD = 'bug = "It is dear."\n'
GOOD = "[[change]]\nfunction = 'shop:price'\nold = '''total > LIMIT'''\nnew = '''False'''\n"


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dear.toml"
    path.write_text(HEAD + GOOD)
    assert load_bug(path) == Bug(
        "dear", "It is dear.", (change("price", "total > LIMIT", "False"),)
    )
    assert list_bugs(tmp_path) == [load_bug(path)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bug = ", "dear.toml: "),
        (GOOD, "missing required field `bug`"),
        (HEAD, "missing required field `change`"),
        ("change = []\n" + HEAD, "at least one change"),
        ("bug = ' '\n" + GOOD, "has a sentence"),
        (HEAD + GOOD + "why = 1\n", "unknown field `why`"),
        (HEAD + GOOD.replace("shop:price", "shop"), "'shop' is not of the form module:function"),
        (HEAD + GOOD.replace("total > LIMIT", "total >"), "dear.toml: invalid syntax: total >"),
        (HEAD + GOOD.replace("False", "if"), "dear.toml: invalid syntax: if"),
        (HEAD + GOOD.replace("total > LIMIT", " # all"), "old is empty"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "dear.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        load_bug(path)
    assert message in str(caught.value)


# ------------------------------------------------------------------------------------ command line


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--check", "admit_all", "normal_sync"]) == 0
    assert capsys.readouterr().out == "2 of 2 bugs fit the source\n"
    stale = Bug("old", "It is old.", (Change("agenthive.errors", "gone", "a", "b"),))
    assert run.check_all([stale]) == 1
    assert "old: there is no agenthive.errors:gone" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run.main(["no_such_bug"])
    assert "no such bug: no_such_bug" in capsys.readouterr().err
