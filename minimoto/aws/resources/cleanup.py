"""Cleanup: removes what carries a deployment's tags, in the opposite order of setup, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from minimoto.aws.calls import aws_call
from minimoto.aws.resources.buckets import Bucket, holds_objects
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.journal import Say
from minimoto.aws.resources.resource import Found, Resource
from minimoto.errors import MinimotoError


@dataclass(frozen=True)
class Survey:
    """What is there to be removed.

    Parameters:
        labels: of everything, in the order of removal.
        results: the output buckets that hold objects, with their number (counted up to 1000).
        problems: what could not be looked up.
    """

    labels: tuple[str, ...]
    results: tuple[tuple[str, int], ...]
    problems: tuple[str, ...] = ()


@dataclass
class Removal:
    """What a cleanup did."""

    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def survey(ctx: Context, resources: Sequence[Resource]) -> Survey:
    """Looks for everything that carries the deployment's tags; removes nothing."""
    labels: list[str] = []
    results: list[tuple[str, int]] = []
    problems: list[str] = []
    for resource in reversed(resources):
        try:
            with aws_call(resource.label()):
                for found in resource.find_all(ctx):
                    labels.append(resource.label(found))
                    if _holds_results(resource):
                        count = holds_objects(ctx.client("s3"), found.name)
                        results += [(found.name, count)] if count else []
        except MinimotoError as error:
            problems.append(str(error))
    return Survey(tuple(labels), tuple(results), tuple(problems))


def remove(ctx: Context, resources: Sequence[Resource], *, keep_results: bool, say: Say) -> Removal:
    """Removes the deployment; goes on after a failure, and reports each."""
    removal = Removal()
    for resource in reversed(resources):
        try:
            with aws_call(resource.label()):
                # Looked up now: the fleet may have grown since the survey.
                doomed = list(resource.find_all(ctx))
        except MinimotoError as error:
            _failed(removal, say, str(error))
            continue
        for found in doomed:
            if keep_results and _holds_results(resource):
                removal.kept.append(resource.label(found))
                say(f"kept     {resource.label(found)}")
            else:
                _remove(ctx, resource, found, removal, say)
    return removal


def _remove(ctx: Context, resource: Resource, found: Found, removal: Removal, say: Say) -> None:
    label, started = resource.label(found), ctx.clock.monotonic()
    try:
        with aws_call(label):
            resource.remove(ctx, found)
    except (MinimotoError, OSError) as error:
        _failed(removal, say, str(error) if str(error).startswith(label) else f"{label}: {error}")
        return
    removal.removed.append(label)
    say(f"deleted  {label} ({ctx.clock.monotonic() - started:.1f} s)")


def _failed(removal: Removal, say: Say, problem: str) -> None:
    removal.problems.append(problem)
    say(f"failed   {problem}")


def _holds_results(resource: Resource) -> bool:
    return isinstance(resource, Bucket) and resource.key == "output"
