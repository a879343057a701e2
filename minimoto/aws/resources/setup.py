"""Setup: walks through the resources, makes what is missing, repairs what it safely can, and undoes a failed run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from minimoto.aws.calls import aws_call, code_of, translate
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.journal import Journal, Say, unhurried
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.config import Config
from minimoto.errors import CloudError, MinimotoError, SetupFailed

LOOKS = 4
"""How often setup looks for what it may have made when AWS's answer was lost: lists lag behind by some seconds."""


@dataclass
class Outcome:
    """What a run of setup did, by the labels of the resources."""

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.made or self.repaired or self.removed)


class Setup:
    """One run.

    Parameters:
        say: called with a line whenever something was done.
        save: keeps the settings, after every resource that changed them.
        restore: puts the settings back as they were before the run.
    """

    def __init__(
        self,
        ctx: Context,
        resources: Sequence[Resource],
        *,
        say: Say,
        save: Callable[[Config], None],
        restore: Callable[[], None],
    ) -> None:
        self._ctx, self._resources = ctx, resources
        self._say, self._save, self._restore = say, save, restore
        self._journal, self._outcome = Journal(), Outcome()
        self._left_over: list[tuple[Resource, Found]] = []
        self._at = "settings"

    def run(self) -> Outcome:
        """Makes the deployment.

        Raises:
            SetupFailed: something failed, and what this run had made was removed.
            CloudError: all is made, but what it replaces could not be removed.
            KeyboardInterrupt: the same, on Ctrl-C.
        """
        try:
            for resource in self._resources:
                self._at = resource.label()
                if resource.wanted(self._ctx):
                    self._apply(resource)
                else:
                    self._left_over += [(resource, found) for found in resource.left_over(self._ctx)]
            for resource in self._resources:
                if resource.key not in self._ctx.found:
                    continue
                found = self._ctx.get(resource.key)
                self._at = resource.label(found)
                resource.settle(self._ctx, found)
        except BaseException as error:
            with unhurried(self._say):
                left = self._undo(error)
            failure = self._failure(error, left)
            if failure is error or failure is None:
                raise
            raise failure from error
        self._retire()
        return self._outcome

    def _retire(self) -> None:
        """Removes what the settings no longer ask for: last, for it cannot be put back. Another run goes on with it."""
        for resource, found in reversed(self._left_over):
            label, started = resource.label(found), self._ctx.clock.monotonic()
            with aws_call(label):
                resource.retire(self._ctx, found)
            self._outcome.removed.append(label)
            self._say(f"removed  {label} ({self._ctx.clock.monotonic() - started:.1f} s)")

    def _apply(self, resource: Resource) -> None:
        ctx = self._ctx
        started = ctx.clock.monotonic()
        found = resource.find(ctx)
        if found is None:
            found, done = self._make(resource), "made"
            self._outcome.made.append(resource.label(found))
        else:
            done = self._repair(resource, found)
        ctx.found[resource.key] = found
        seconds = ctx.clock.monotonic() - started
        self._say(f"{done:<8} {resource.label(found)} ({seconds:.1f} s)")
        config = resource.record(ctx, found)
        if config != ctx.config:
            ctx.config = config
            self._save(config)

    def _make(self, resource: Resource) -> Found:
        made: list[Found] = []

        def undo() -> bool:
            doomed = made or self._search(resource)
            for found in doomed:
                resource.remove(self._ctx, found)
            return bool(doomed)

        self._journal.note(resource.label(), undo)
        self._ctx.made.add(resource.key)
        made.append(resource.make(self._ctx))
        return made[0]

    def _search(self, resource: Resource) -> Sequence[Found]:
        """What the run made although no answer said so."""
        for look in range(LOOKS):
            found = resource.find_made(self._ctx)
            if found or self._ctx.config.local:
                return found
            if look + 1 < LOOKS:
                self._ctx.clock.sleep(self._ctx.poll)
        return []

    def _repair(self, resource: Resource, found: Found) -> str:
        done = "kept"
        for setting in resource.drift(self._ctx, found):
            line = f"{resource.label(found)}: {setting}"
            if setting.write is None:
                self._say(f"differs  {line}")
                self._outcome.drift.append(line)
                continue
            self._say(f"drifted  {line}")
            self._journal.note(f"the change of {line}", _putting_back(setting))
            setting.write(setting.wanted)
            self._outcome.repaired.append(line)
            done = "repaired"
        if done == "kept":
            self._outcome.kept.append(resource.label(found))
        return done

    def _undo(self, error: BaseException) -> list[str]:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        if self._journal.steps:
            self._say(f"{self._at} {reason}: undoing what this run has done")
        left = self._journal.roll_back(self._say)
        try:
            self._restore()
        except OSError as problem:
            left.append(f"the settings could not be put back: {problem}")
        return left

    def _failure(self, error: BaseException, left: Sequence[str]) -> BaseException | None:
        """What is raised instead: the resource, AWS's reason, and what could not be undone."""
        if not isinstance(error, Exception):
            return None
        known: Exception | None = error if isinstance(error, MinimotoError) else translate(error, self._at)
        if known is None and isinstance(error, OSError) and error.errno:
            known = CloudError(f"{error.filename or self._at}: {error.strerror}")
        if known is None:
            return error
        reason = str(known)
        if not reason.startswith(self._at):
            reason = f"{self._at}: {reason}"
        rest = f"; still there: {'; '.join(left)}" if left else ""
        return SetupFailed(
            f"{reason}; what this run had made was removed{rest}",
            resource=self._at,
            code=code_of(error) or getattr(known, "code", ""),
        )


def _putting_back(setting: Setting) -> Callable[[], bool]:
    def undo() -> bool:
        assert setting.write is not None
        setting.write(setting.current)
        return True

    return undo
