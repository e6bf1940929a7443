"""Every command in the documents: those marked runnable are run by test_runnable.py, the others are read by their own tools."""

import argparse
import importlib.util
import re
import runpy
import shlex
import sys

import pytest
import run_net

from tests.docs.pages import PAGES, ROOT, blocks

# Commands of others, whose meaning is not ours to test.
OTHERS = {"pip", ".venv/bin/pip", ".venv/bin/pre-commit", "git", "cd", ".", "export", "tensorboard", "ls"}


def commands(block):
    """The commands of a block, as lists of words; comments are dropped, lines that go on are joined."""
    for line in block.replace("\\\n", " ").splitlines():
        for part in line.split(" && "):
            if words := shlex.split(part, comments=True):
                yield words


def of_ours(words):
    """(name of the tool's module, its arguments) of a command that runs one of ours; None for others."""
    if words[0] == "torchrun":
        place = next(at for at, word in enumerate(words) if word.endswith(".py"))
        words = ["python", *words[place:]]
    if words[0] not in ("python", ".venv/bin/python"):
        return None
    if words[1] == "-m":
        return words[2], words[3:]
    return words[1], words[2:]


class ParsedError(Exception):
    """Raised in place of a tool's work, with the words that it does not know."""


def parse(module, arguments, monkeypatch):
    """Have a tool read its arguments, and nothing more: returns the words left over; SystemExit where some are wrong."""
    plain, mixed = argparse.ArgumentParser.parse_known_args, argparse.ArgumentParser.parse_known_intermixed_args

    def stop(self, args=None, namespace=None):
        raise ParsedError(plain(self, args, namespace)[1])

    def stop_mixed(self, args=None, namespace=None):
        monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", plain)
        raise ParsedError(mixed(self, args, namespace)[1])

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_intermixed_args", stop_mixed)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(ParsedError) as parsed:
        if module.endswith(".py"):
            runpy.run_path(str(ROOT / module), run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__")
    return parsed.value.args[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_known_to_their_tools(page, monkeypatch, capsys):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    monkeypatch.chdir(ROOT)
    for block in blocks(page, runnable=False):
        for words in commands(block):
            if words[0] == "make":
                assert set(words[1:]) <= targets, f"{page.name}: {words}"
                continue
            ours = of_ours(words)
            if ours is None:
                assert words[0] in OTHERS, f"{page.name}: how is {words[0]!r} tested?"
                continue
            module, arguments = ours
            with monkeypatch.context() as patch:
                if module.endswith("run_net.py"):
                    check_config(page, arguments)
                elif module.startswith("slowfast_mvit.config."):
                    assert importlib.util.find_spec(module), f"{page.name}: {module}"
                else:
                    left = parse(module, arguments, patch)
                    assert not left or module == "tools/submit.py", f"{page.name}: {words}: {left}"  # run_net's words
    capsys.readouterr()


def check_config(page, arguments):
    """run_net's own check of config and keys; a file in capitals stands for the reader's own."""
    example = str(ROOT / "configs/Toy/MVITV2_TOY_8x4.yaml")
    arguments = [example if re.fullmatch(r"[A-Za-z]+\.yaml", word) else word for word in arguments]
    arguments = [word for word in arguments if word not in ("--toy", "--check")]
    assert run_net.main([*arguments, "--check"]) == 0, f"{page.name}: {arguments}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"
