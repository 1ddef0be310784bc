"""What becomes of names that disagree, by configuration, and what is put down about it.

In this room: the verdict for a check, a host and a client; the alert and the four names in the exchange's record. Not
here: comparing names (`binding`), judging the other name (`other_name`).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from netfw.config.model import ConsistencySection, NameCheck, NameVerdict, Network
from netfw.names.domain_form import DomainForm, parse_domain_form
from netfw.names.host import Host
from netfw.policy.decision import Decision, Match, RuleRef
from netfw.policy.model import Action, Phase
from netfw.proxy.exchange import Exchange

GROUP = "consistency"
"""The group that records name for what these checks decide; the rule is the check."""

CERTIFICATE = "certificate"
"""What records call the one comparison that is no setting: the origin's certificate is for the name asked for."""


def _decision(check: NameCheck, action: Action) -> Decision:
    rule = RuleRef(GROUP, check.value, Phase.PRE_REQUEST)
    return Decision(
        phase=Phase.PRE_REQUEST,
        action=action,
        rule=rule,
        matches=(Match(rule, Action.ALERT), Match(rule, action)),
        reason=None,
    )


_DECISIONS = {
    (check, verdict): _decision(check, Action.DENY if verdict is NameVerdict.DENY else Action.ALLOW)
    for check in NameCheck
    for verdict in NameVerdict
}


class Consistency:
    """Built once from `consistency`. `counts` is how often each check came to each verdict."""

    def __init__(self, section: ConsistencySection, counts: dict[tuple[str, ...], int]) -> None:
        self._verdicts = {
            NameCheck.CONNECT_SNI: section.connect_sni,
            NameCheck.SNI_HOST: section.sni_host,
            NameCheck.MISSING_SNI: section.missing_sni,
        }
        self._exceptions: list[tuple[DomainForm, Network | None, dict[NameCheck, NameVerdict]]] = [
            (parse_domain_form(entry.host), entry.source, dict(entry.verdicts)) for entry in section.exceptions
        ]
        self._counts = counts

    def under(self, section: ConsistencySection) -> Consistency:
        """Other settings, the same counts."""
        return Consistency(section, self._counts)

    def verdict(self, check: NameCheck, host: Host, source: IPv4Address | IPv6Address) -> NameVerdict:
        """What becomes of it in a tunnel of this client whose CONNECT names `host`."""
        for form, network, verdicts in self._exceptions:
            if check not in verdicts or not form.matches(host.text):
                continue
            if network is None or (source.version == network.version and source in network):
                return verdicts[check]
        return self._verdicts[check]

    def judge(
        self, exchange: Exchange, check: NameCheck, *, connect: Host, sni: str | None, host: str | None = None
    ) -> NameVerdict:
        """The verdict; the exchange's record shows it as an alert, with the names."""
        verdict = self.verdict(check, connect, exchange.caller.address)
        exchange.names = {
            "check": check.value, "verdict": verdict.value, "connect": connect.text, "sni": sni, "host": host,
        }  # fmt: skip
        exchange.decisions.append(_DECISIONS[check, verdict])
        self._count(check.value, verdict.value)
        return verdict

    def note_certificate(self, exchange: Exchange, *, connect: Host, sni: str | None) -> None:
        """The origin's certificate is for another host: always refused, whatever is configured."""
        verdict = NameVerdict.DENY.value
        exchange.names = {
            "check": CERTIFICATE, "verdict": verdict, "connect": connect.text, "sni": sni, "host": None,
        }  # fmt: skip
        self._count(CERTIFICATE, verdict)

    def _count(self, check: str, verdict: str) -> None:
        self._counts[check, verdict] = self._counts.get((check, verdict), 0) + 1
