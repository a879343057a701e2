"""The style pictures that come with minimoto, by the names that a pipeline may give them."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import console
    from minimoto.engines.style_settings import MADE, MADE_STYLES

    with console.answer(args.json) as answer:
        answer["styles"] = [
            {"name": name, "what": what, "file": str(MADE / f"{name}.jpg")} for name, what in MADE_STYLES.items()
        ]
        if not args.json:
            console.table(["style", "what"], [[name, what] for name, what in MADE_STYLES.items()])
            print(
                '\nfor example: --pipeline "style:swirl"; a picture of your own lies beside the photos: "style:a.jpg"'
            )
    return 0
