"""The README lists every command, and the package contains everything that the commands need."""

import argparse
import fnmatch
import importlib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import skinapp.__main__
import train.__main__
from tests.conftest import CHECKOUT

README = (CHECKOUT / "README.md").read_text()
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def commands(parse: Callable[[list[str]], object], capsys: pytest.CaptureFixture) -> set[str]:
    """The subcommands that argparse lists for an unknown one."""
    with pytest.raises(SystemExit):
        parse(["no-such-command"])
    return set(re.findall(r"[a-z][a-z-]+", capsys.readouterr().err.partition("choose from")[2]))


@pytest.mark.parametrize("package", ["skinapp", "train"])
def test_the_readme_lists_every_command(package: str, capsys: pytest.CaptureFixture) -> None:
    existing = commands({"skinapp": skinapp.__main__.parse, "train": train.__main__.parse}[package], capsys)
    assert len(existing) >= 5
    assert set(re.findall(rf"`python -m {package} ([a-z][a-z-]*)`", README)) == existing


def test_the_readme_lists_every_make_target() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())
    assert targets >= {"app", "test", "lint"}
    assert targets <= set(re.findall(r"`make ([a-z-]+)`", README))


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (CHECKOUT / link).exists()] == []


def test_every_data_file_is_part_of_the_package() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    files = [
        path
        for package in ("skinapp", "train")
        for path in (CHECKOUT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert files
    assert [path for path in files if not any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)] == []


def test_the_installed_commands_are_functions() -> None:
    for target in PROJECT["project"]["scripts"].values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_version_stands_in_two_files() -> None:
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["project"]["version"]
    assert f"## {citation['version']}" in (CHECKOUT / "CHANGELOG.md").read_text()


def test_a_missing_training_package_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def missing(arguments: list[str] | None) -> argparse.Namespace:
        raise ModuleNotFoundError("No module named 'yaml'", name="yaml")

    monkeypatch.setattr(train.__main__, "parse", missing)
    assert train.__main__.main([]) == 2
    assert "needs the package yaml: pip install -r requirements-train.txt" in capsys.readouterr().err


def test_the_hooks_are_those_of_make_lint() -> None:
    hooks = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())
    [repository] = hooks["repos"]
    assert repository["repo"] == "local"
    lint = (CHECKOUT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert Path(hook["entry"].split()[0]).name in lint
