"""Quotas: how many resources there may be and how large. PURE.

The numbers are those of the vendor's preview; proxies are not limited unless the vendor's profile is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from netfw.control.refusals import LimitExceeded
from netfw.policy.shape import Limits


@dataclass(frozen=True, slots=True)
class Quotas:
    """None: no limit. Sizes in bytes of UTF-8, a rule's and a group's being those of keys and values."""

    proxies: int | None = None
    configurations: int | None = 50
    rule_groups: int | None = 500
    proxies_per_configuration: int | None = None
    groups_per_configuration: int | None = 10
    rules_per_group: int | None = 1000
    value_size: int | None = 1024
    rule_size: int | None = 30 * 1024
    group_size: int | None = 30 * 1024 * 1024
    tags_per_resource: int | None = 50

    def policy_limits(self) -> Limits:
        """What the policy's reader checks of rules."""
        return Limits(value_size=self.value_size, rule_size=self.rule_size, description=512)


DEFAULT = Quotas()
VENDOR = replace(DEFAULT, proxies=1, proxies_per_configuration=5)


def check_quota(number: int, most: int | None, what: str, setting: str) -> None:
    """Raises `LimitExceeded` when `number` of something is more than is allowed."""
    if most is not None and number > most:
        raise LimitExceeded(f"{number} {what} would be more than the {most} that control.quotas.{setting} allows")
