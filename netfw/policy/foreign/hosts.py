"""A hosts file that names what shall not be reached (`0.0.0.0 ads.example`), or a bare list of names, to one DENY rule.

Addresses that mean "nowhere" make a denial; any other address is an entry of a real hosts file, for `dns.hosts_file`.
"""

from __future__ import annotations

from netfw.names.host import HostError, host_from_text
from netfw.policy.foreign.imported import Imported, PlacedRule, Untranslated, condition, group_of, rule
from netfw.policy.model import Phase

_NOWHERE = {"0.0.0.0", "127.0.0.1", "::", "::1", "0", "127.0.1.1", "::0"}
_ITSELF = {"localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback", "0.0.0.0"}
_AT_ONCE = 1000
"""Names in a rule: a rule of the vendor's holds 30 KB."""


def import_hosts(text: str, group: str) -> Imported:
    """Translate it."""
    untranslated: list[Untranslated] = []
    names: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        place, shown = f"line {number}", line.strip()
        address, hosts = (words[0], words[1:]) if len(words) > 1 else ("0.0.0.0", words)
        if address not in _NOWHERE:
            untranslated.append(
                Untranslated(place, shown, f"{address} is a place, not nowhere: keep the line in dns.hosts_file")
            )
            continue
        for host in hosts:
            if host.lower() in _ITSELF or (len(words) > 1 and host == address):
                untranslated.append(Untranslated(place, host, "this machine itself: kept closed by the guard anyway"))
                continue
            try:
                names[host_from_text(host).text] = None
            except HostError as error:
                untranslated.append(Untranslated(place, host, str(error)))
    listed = list(names)
    rules = [
        PlacedRule(
            Phase.PRE_DNS,
            rule(
                f"listed-{start // _AT_ONCE + 1}",
                "DENY",
                [condition("request:DestinationDomain", "StringEquals", *listed[start : start + _AT_ONCE])],
            ),
            "list",
            "",
        )
        for start in range(0, len(listed), _AT_ONCE)
    ]
    return Imported({"ProxyRuleGroups": [group_of(group, rules, untranslated)]}, tuple(untranslated))
