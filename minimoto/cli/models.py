"""The networks' weights: what there is, fetching those that others publish, and checking every byte of them."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from minimoto.engines.registry import Model, Progress, State

WORDS = {"shipped": "shipped", "here": "here", "missing": "-", "wrong": "damaged"}
"""A model's state, for a person."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _action(actions, "list", "every model: what for, licence, size, whether it is here")
    fetch = _action(actions, "fetch", "bring models that others publish, by their SHA-256")
    fetch.add_argument("names", nargs="+", metavar="MODEL", help="as the list names them")
    fetch.add_argument(
        "--from", dest="source", metavar="DIR", type=Path, help="a file, or a folder of files, brought by hand"
    )
    fetch.add_argument("--to", metavar="DIR", type=Path, help="keep them there (default: the cache)")
    fetch.add_argument("--sha256", default="", metavar="HEX", help="take a file with this SHA-256 too; for one model")
    verify = _action(actions, "verify", "read every model that is here, and check its bytes")
    verify.add_argument("names", nargs="*", metavar="MODEL", help="these only; each of them must be here")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import console

    with console.answer(args.json) as answer:
        run_action = {"list": _list, "fetch": _fetch, "verify": _verify}[args.action]
        return run_action(args, answer)


def _action(actions: Any, name: str, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def _list(args: argparse.Namespace, answer: dict[str, Any]) -> int:
    from minimoto import console
    from minimoto.engines.registry import MODELS, state

    states = {name: state(name) for name in MODELS}
    answer["models"] = [_document(model, states[name]) for name, model in MODELS.items()]
    if not args.json:
        rows = [_row(model, states[name]) for name, model in MODELS.items()]
        console.table(["model", "state", "size", "licence", "for"], rows)
    return 0


def _row(model: Model, state: State) -> list[str]:
    from minimoto.core.readable import size_text
    from minimoto.engines.registry import size

    bytes = size(model.name)
    return [model.name, WORDS[state], size_text(bytes) if bytes else "-", model.licence, model.what]


def _document(model: Model, state: State) -> dict[str, Any]:
    return {
        "name": model.name,
        "what": model.what,
        "licence": model.licence,
        "state": state,
        "sources": [
            {"from": str(source), "file": source.file, "size": source.size, "sha256": source.sha256}
            for source in model.sources
        ],
    }


def _fetch(args: argparse.Namespace, answer: dict[str, Any]) -> int:
    from minimoto import console
    from minimoto.engines.registry import fetch, known
    from minimoto.errors import UsageError

    if args.sha256 and len(args.names) > 1:
        raise UsageError("--sha256 is for one model at a time")
    for name in args.names:
        known(name)
    answer["fetched"] = {}
    for name in args.names:
        with Bar(name) as bar:
            sources = None if args.source is None else [args.source]
            path = fetch(name, sources, sha256=args.sha256.lower(), to=args.to, report=bar)
        answer["fetched"][name] = str(path)
        if not args.json:
            console.result(str(path))
    return 0


def _verify(args: argparse.Namespace, answer: dict[str, Any]) -> int:
    from minimoto import console
    from minimoto.engines.registry import MODELS, state, verify
    from minimoto.errors import ModelMissing

    names = args.names or [name for name in MODELS if state(name) != "missing"]
    answer["verified"], answer["failed"] = {}, {}
    for name in names:
        try:
            answer["verified"][name] = str(verify(name))
        except ModelMissing as error:
            answer["failed"][name] = str(error)
            console.note(str(error))
        else:
            if not args.json:
                console.result(f"{name}: {answer['verified'][name]}")
    return 1 if answer["failed"] else 0


class Bar:
    """Draws how far a model has come: one bar for each file that is tried."""

    def __init__(self, name: str) -> None:
        self._name, self._file, self._done = name, "", 0
        self._bars = ExitStack()
        self._moved: Callable[[int], None] | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.close()

    def __call__(self, progress: Progress) -> None:
        """Shows it."""
        from minimoto import console

        if self._moved is None or progress.file != self._file:
            self._bars.close()
            self._moved = self._bars.enter_context(console.transfer(f"fetch {self._name}:", progress.size, 1))
            self._file, self._done = progress.file, 0
        self._moved(progress.done - self._done)
        self._done = progress.done
