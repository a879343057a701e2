"""Send a folder of photos; a film, or whatever the pipeline makes, comes back."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimoto.core.new_job import DEFAULT_PIPELINE
from minimoto.core.readable import duration_text
from minimoto.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from minimoto.client.submit import Request, Submitted
    from minimoto.config import Config
    from minimoto.core.quote import Offer
    from minimoto.ports import Transferred
    from minimoto.wiring import Cloud


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="holds the photos, and the files that the pipeline names")
    add("inbucket", nargs="?", default="", metavar="INBUCKET", help="bucket for the photos (default: setup's)")
    add("outbucket", nargs="?", default="", metavar="OUTBUCKET", help="bucket for the result (default: setup's)")
    add("--pipeline", default=DEFAULT_PIPELINE, metavar="TEXT", help='what to do (default: "%(default)s")')
    add("--name", default="", help="of the job and its film (default: the folder's name)")
    add("--owner", default=None, help="who asks (default: user@host)")
    add("--deadline", metavar="WHEN", help="a duration (30m, 2h) or a local time (18:30); see --wait")
    add("--order", choices=("natural", "exif", "given"), help="natural: by name (default); exif: by time taken")
    add("--list", metavar="FILE", help="with --order given: the photos' names, one a line; - reads them from stdin")
    add("--recursive", action="store_true", help="look into the folder's folders too")
    add("--strict", action="store_true", help="one photo that cannot be used fails the job")
    add("--wait", action="store_true", help="until it is done: exit 0 done, 1 failed, 3 deadline passed, 130 Ctrl-C")
    add("--out", type=Path, metavar="DIR", help="with --wait: fetch the result to this folder, print where it is")
    add("--quote", nargs="?", const=3, type=int, metavar="PHOTOS",
        help="send nothing: try some photos here (default: 3; 0: none) and say what it will take and cost")  # fmt: skip
    add("--budget", type=float, metavar="DOLLARS",
        help="what it may cost at most: fewer machines for longer, and an end when it is spent")  # fmt: skip
    add("--json", action="store_true", help="one JSON document on stdout, and nothing else there")


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns its exit status."""
    from minimoto import config, console
    from minimoto.client.find import owner
    from minimoto.wiring import Cloud

    with console.answer(args.json) as answer:
        _check(args)
        settings = config.load(args.config, owner=args.owner)
        cloud = Cloud(settings)
        request = _request(args, owner(settings), cloud.clock.now(), settings)
        if args.quote is not None:
            _quote(args, request, cloud, answer)
            return 0
        submitted = _submit(request, cloud, answer)
        if submitted is None:
            return 130
        if not args.json:
            console.result(f"You'll find the output in {answer['output']}")
        if not args.wait:
            return 0
        from minimoto.cli.waiting import wait_and_fetch

        return wait_and_fetch(cloud, submitted.job, answer, out=args.out, deadline=request.deadline, quiet=args.json)


class _Listener:
    """Tells a person on stderr."""

    def note(self, text: str) -> None:
        from minimoto import console

        console.note(text)

    def transfer(self, title: str, size: int, files: int) -> AbstractContextManager[Transferred]:
        from minimoto import console

        return console.transfer(title, size, files)


def _check(args: argparse.Namespace) -> None:
    if bool(args.inbucket) != bool(args.outbucket):
        raise UsageError("name both buckets, INBUCKET and OUTBUCKET, or none")
    if args.out is not None and not args.wait:
        raise UsageError("--out goes with --wait; later, use: minimoto fetch JOB --out DIR")
    if args.quote is not None and args.quote < 0:
        raise UsageError(f"--quote {args.quote}: a number of photos, not less than 0")
    if args.budget is not None and not 0 < args.budget < float("inf"):
        raise UsageError(f"--budget {args.budget}: US dollars, more than 0")
    if args.order == "given" and args.list is None:
        raise UsageError("--order given needs --list FILE")
    if args.list is not None and args.order not in (None, "given"):
        raise UsageError(f"--list says the order itself; leave --order {args.order} out")
    if args.out is not None:
        check_out(args.out)


def check_out(out: Path) -> None:
    """Raises ``InvalidInput`` unless a folder for results is one, or can be made: before the work, not after it."""
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise InvalidInput(f"{there}: this is a file; name a folder for the result")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidInput(f"{there}: nothing may be written there; name another folder for the result")


def _request(args: argparse.Namespace, owner: str, now: float, settings: Config) -> Request:
    from minimoto.client.deadline import parse_deadline
    from minimoto.client.submit import Request

    return Request(
        folder=args.folder,
        pipeline=args.pipeline,
        owner=owner,
        name=args.name,
        inputs=args.inbucket or settings.bucket_input,
        outputs=args.outbucket or settings.bucket_output,
        budget=args.budget,
        deadline=None if args.deadline is None else parse_deadline(args.deadline, now),
        strict=args.strict,
        order="given" if args.list is not None else args.order or "natural",
        recursive=args.recursive,
        listed=() if args.list is None else _lines(args.list),
        source="stdin" if args.list == "-" else args.list or "",
    )


def _quote(args: argparse.Namespace, request: Request, cloud: Cloud, answer: dict[str, Any]) -> None:
    from minimoto import console
    from minimoto.client import quote
    from minimoto.client.submit import prepare
    from minimoto.core import quote as offered

    prepared = prepare(request, cloud)
    works = quote.works(prepared, cloud, args.quote, console.note)
    prices = quote.prices(cloud)
    found = offered.offers(works, prices, cloud.config.max_nodes)
    target = cloud.config.target_seconds
    ways: dict[str, offered.Offer | None] = {
        "as fast as it can be": offered.fastest(found),
        f"within {duration_text(target)}": offered.within(found, target),
    }
    if request.deadline is not None:
        ways["by the deadline"] = offered.within(found, request.deadline - cloud.clock.now())
    if args.budget is not None:
        ways[f"for ${args.budget:.2f}"] = offered.for_budget(found, args.budget)
    ways["on one node"] = found[0]
    count = len(prepared.photos)
    answer["photos"] = count
    answer["stages"] = [asdict(work) for work in works]
    answer["quote"] = {way: None if offer is None else asdict(offer) for way, offer in ways.items()}
    if args.json:
        return
    for work in works:
        print(f"{work.step}: {work.tasks} x {work.seconds:.1f} s ({work.source})")
    print()
    console.table(
        ["", "nodes", "done within", "cost", "a photo"],
        [[way, *_offered(offer, count)] for way, offer in ways.items()],
    )
    print("\nAn estimate: nothing was sent.")


def _offered(offer: Offer | None, photos: int) -> list[str]:
    if offer is None:
        return ["-", "cannot be", "-", "-"]
    money = ["unknown", "unknown"] if offer.cost is None else [f"${offer.cost:.2f}", f"${offer.cost / photos:.4f}"]
    return [str(offer.nodes), duration_text(offer.seconds), *money]


def _lines(source: str) -> list[str]:
    # A file name may hold any bytes: they are kept, so that the photo is found by them.
    try:
        text = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{source}: cannot be read ({error.strerror})") from error
    return text.decode("utf-8", "surrogateescape").splitlines()


def _submit(request: Request, cloud: Cloud, answer: dict[str, Any]) -> Submitted | None:
    """``None`` after Ctrl-C; it has been said then how to go on."""
    from minimoto import console
    from minimoto.cli.waiting import end_soon
    from minimoto.client.report import job_document
    from minimoto.client.submit import prepare, submit

    try:
        prepared = prepare(request, cloud)
        if prepared.left_out.count:
            console.note(str(prepared.left_out))
        submitted = submit(prepared, cloud, _Listener())
    except KeyboardInterrupt:
        answer["error"] = "interrupted"
        console.note("stopped; the same command again continues where this one stopped")
        end_soon()
        return None
    answer.update(job_document(submitted.job))
    answer["uploaded"] = submitted.upload.sent
    answer["already_there"] = submitted.upload.kept
    answer["left_out"] = submitted.left_out.count
    if submitted.upload.kept:
        console.note(f"{submitted.upload.kept} of the files were there already")
    return submitted
