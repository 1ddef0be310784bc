"""Quotas: refusing what would be more than proxy.yaml allows. PURE. The numbers are in `config.defaults`."""

from __future__ import annotations

from netfw.config.model import Quotas
from netfw.control.refusals import LimitExceeded
from netfw.policy.shape import Limits

_DESCRIPTION = 512


def policy_limits(quotas: Quotas) -> Limits:
    """What the policy's reader checks of rules."""
    return Limits(value_size=quotas.value_size, rule_size=quotas.rule_size, description=_DESCRIPTION)


def check_quota(number: int, most: int | None, what: str, setting: str) -> None:
    """Raises `LimitExceeded` when `number` of something is more than is allowed."""
    if most is not None and number > most:
        raise LimitExceeded(f"{number} {what} would be more than the {most} that control.quotas.{setting} allows")
