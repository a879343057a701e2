"""Every error that minimoto raises on purpose, in one tree.

    MinimotoError                 one clear line for a person: what, where, what to do
    ├── UsageError                the command line or an argument is wrong           (exit 2)
    │   ├── InvalidPipeline       a pipeline's text cannot be run
    │   └── InvalidInput          a folder, file or bucket that cannot be used
    ├── ConfigError               configure.ini is missing, unreadable or incomplete
    ├── NotFound                  a job, a bucket or an object that is not there
    ├── CloudError                AWS (or the embedded one) refused or failed a call
    │   └── SetupFailed           a setup that was undone; carries the resource's name
    ├── InstallFailed             a step of the installation over SSH failed
    ├── Conflict                  a conditional write lost: somebody else was first
    ├── LeaseLost                 the task is no longer ours
    ├── InvalidMessage            a queue message that must be dead-lettered; carries the reason
    ├── UnreadablePicture         a photo that cannot be decoded safely
    ├── StepFailed                a step failed; ``retry`` says whether another try can help
    ├── JobFailed                 the job being waited for ended without success      (exit 1)
    └── TimedOut                  a wait or a deadline ended first                    (exit 3)

Nothing below :class:`MinimotoError` reaches a user as a traceback; the commands print its message.
"""

from __future__ import annotations


class MinimotoError(Exception):
    """Base of all errors raised on purpose; ``str(error)`` is one clear line for a person."""

    exit_status = 1


class UsageError(MinimotoError):
    """The command line, or an argument of it, is wrong."""

    exit_status = 2


class InvalidPipeline(UsageError):
    """A pipeline's text names an unknown step or a bad parameter."""


class InvalidInput(UsageError):
    """A folder, a file or a bucket that cannot be used."""


class ConfigError(MinimotoError):
    """``configure.ini`` is missing, unreadable or lacks a needed value."""

    exit_status = 2


class NotFound(MinimotoError):
    """A job, a bucket or an object that is not there."""


class CloudError(MinimotoError):
    """AWS (or the embedded AWS) refused or failed a call.

    Parameters:
        code: AWS's error code, such as ``AccessDenied``; empty when the call never reached it.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class SetupFailed(CloudError):
    """A setup failed and what it had made was undone.

    Parameters:
        resource: the resource that could not be made, such as ``queue minimoto-trip``.
    """

    def __init__(self, message: str, *, resource: str, code: str = "") -> None:
        super().__init__(message, code=code)
        self.resource = resource


class InstallFailed(MinimotoError):
    """A step of the installation over SSH failed; ``stderr`` is the end of what it printed."""

    def __init__(self, message: str, *, stderr: str = "") -> None:
        super().__init__(message)
        self.stderr = stderr


class Conflict(MinimotoError):
    """A conditional write lost: the document changed since it was read, or already exists."""


class LeaseLost(MinimotoError):
    """The task's lease ended or was taken over; what this worker did must not be recorded."""


class InvalidMessage(MinimotoError):
    """A queue message that no worker may act on; the message is dead-lettered with this reason."""


class UnreadablePicture(MinimotoError):
    """A photo that cannot be decoded, or not safely."""


class ModelMissing(MinimotoError):
    """A model's file is not here, cannot be had, or is not the published one; says how to bring it."""


class StepFailed(MinimotoError):
    """A step failed.

    Parameters:
        retry: whether trying again can help; ``False`` fails the job at once.
    """

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


class JobFailed(MinimotoError):
    """The job being waited for ended without success."""


class TimedOut(MinimotoError):
    """A wait, or a job's deadline, ended first."""

    exit_status = 3
