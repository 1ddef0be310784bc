"""The API over a store in memory: each call as the bytes of a request, and its answer as JSON."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from netfw.config.defaults import QUOTAS
from netfw.config.listener_ports import PermittedListeners
from netfw.control.arns import Arns
from netfw.control.json_protocol import print_output, read_input
from netfw.control.operations.call import Change, ProxyFacts, Site
from netfw.control.own_model import OWN_OPERATIONS
from netfw.control.performing import perform
from netfw.control.refusals import Refusal
from netfw.control.roles import Caller, Role
from netfw.control.service_model import OPERATIONS
from netfw.store.database import Database
from netfw.store.resources import StoredListener

OPERATION_OF = {operation.name: operation for operation in (*OPERATIONS, *OWN_OPERATIONS)}
OWNER = Caller("ann", frozenset({Role.OWNER}))
FACTS = ProxyFacts(
    hostname="proxy.test",
    listeners=(StoredListener(3128, "HTTP"), StoredListener(8443, "HTTPS")),
    permitted=PermittedListeners(((3128, "HTTP"),), (("HTTPS", ((8443, 8449),)),)),
    tls_mode="ENABLED",
    ca_arn="arn:aws:acm-pca:us-east-2:123456789012:certificate-authority/1",
)


def site(facts: ProxyFacts | None = FACTS, **more: Any) -> Site:
    """What holds where the API is: every proxy has these facts."""
    return Site(
        **{
            "arns": Arns("us-east-2", "123456789012"),
            "quotas": QUOTAS,
            "facts": lambda _transaction, _name: facts,
            **more,
        }
    )


SITE = site()


@dataclass
class Api:
    """The API as a caller sees it, without sockets."""

    database: Database
    site: Site = SITE
    caller: Caller = OWNER
    changes: list[Change] = field(default_factory=list)

    def __call__(self, operation: str, **given: Any) -> dict[str, Any]:
        """Call it; raises the `Refusal`."""
        found = OPERATION_OF[operation]
        read = read_input(found, json.dumps(given).encode())
        run = self.database.transact if found.writes else self.database.read
        performed = run(perform, found, read, self.caller, self.site)
        self.changes = list(performed.changes)
        answer: dict[str, Any] = json.loads(print_output(found, performed.output))
        return answer

    def refusal(self, operation: str, **given: Any) -> str:
        """The code of a call that must be refused, a colon, and its message."""
        with pytest.raises(Refusal) as caught:
            self(operation, **given)
        return f"{caught.value.code}: {caught.value.message}"

    def by(self, caller: Caller) -> "Api":
        """The same, for somebody else."""
        return replace(self, caller=caller)

    def token(self, group: str) -> str:
        """A group's token."""
        return str(self("DescribeProxyRuleGroup", ProxyRuleGroupName=group)["UpdateToken"])

    def names(self, group: str, phase: str = "PreDNS") -> list[str]:
        """The names of a group's rules in one phase, in order."""
        rules = self("DescribeProxyRuleGroup", ProxyRuleGroupName=group)["ProxyRuleGroup"]["Rules"]
        return [rule["ProxyRuleName"] for rule in rules.get(phase, [])]


def rule(name: str, *domains: str, action: str = "ALLOW", **more: Any) -> dict[str, Any]:
    """A rule on domains."""
    return {"ProxyRuleName": name, "Action": action, "Conditions": [on_domains(*domains or ("a.test",))], **more}


def on_domains(*domains: str) -> dict[str, Any]:
    """A condition on domains."""
    return {
        "ConditionKey": "request:DestinationDomain",
        "ConditionOperator": "StringEquals",
        "ConditionValues": list(domains),
    }


DEFAULTS = {"PreDNS": "DENY", "PreREQUEST": "ALLOW", "PostRESPONSE": "ALLOW"}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store's file with nothing in it: making one takes half a second."""
    path = tmp_path_factory.mktemp("store") / "empty.sqlite"
    Database.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def api(tmp_path: Path, empty_store: Path) -> Iterator[Api]:
    """The API, with nothing in its store."""
    path = tmp_path / "policy.sqlite"
    shutil.copyfile(empty_store, path)
    database = Database.open(f"sqlite:///{path}")
    yield Api(database)
    database.close()
