"""What can go wrong with a store: small errors, which the control API and the command put into their own words."""

from __future__ import annotations


class StoreError(Exception):
    """The root. `str()` is written for a person and names what it is about."""


class StoreUnavailable(StoreError):
    """The database does not answer, or somebody else keeps it busy. Nothing is known to have changed."""


class StoreVersionUnknown(StoreError):
    """The database was made by a version that is not known here; it is left alone."""


class UnfinishedChange(StoreError):
    """A transaction changed the policy without a generation of its own: a mistake of the code that ran in it."""


class PlanOutdated(StoreError):
    """Somebody changed what the plan is about."""


class GenerationPassed(StoreError):
    """There is a newer generation than the one that the caller looked at."""


class NoSuchGeneration(StoreError):
    """The store never had it, or has it no more."""


class NoSuchException(StoreError):
    """There is no timed exception of this name."""


class ResourceError(StoreError):
    """About one resource. `kind` is `rule group`, `configuration` or `proxy`."""

    def __init__(self, kind: str, name: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name


class NoSuchResource(ResourceError):
    """There is none of this name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, name, f"there is no {kind} {name!r}")


class ResourceExists(ResourceError):
    """The name is taken."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, name, f"{kind} {name!r} exists already")


class ResourceInUse(ResourceError):
    """Others refer to it. `users` are their names."""

    def __init__(self, kind: str, name: str, users: tuple[str, ...]) -> None:
        super().__init__(kind, name, f"{kind} {name!r} is in use by {', '.join(users)}")
        self.users = users


class StaleToken(ResourceError):
    """Somebody changed the resource since the caller read it."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(kind, name, f"{kind} {name!r} was changed meanwhile: read it again, and use its new token")
