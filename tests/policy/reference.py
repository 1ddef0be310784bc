"""The policy language in a page: every rule in order, every condition by the letter, nothing clever."""

import re
from ipaddress import ip_network
from urllib.parse import quote, unquote_to_bytes

from netfw.names.address import unwrap
from netfw.policy.decision import Decision, Match, Open, RuleRef
from netfw.policy.facts import ABSENT, INVISIBLE, NOT_YET, Unknown
from netfw.policy.model import Action
from netfw.policy.values import parse_date

ATTRIBUTES = {
    "request:SourceAccount": "source_account",
    "request:SourceVpc": "source_vpc",
    "request:SourceVpce": "source_vpce",
    "request:SourceIp": "source_ip",
    "request:DestinationIp": "destination_ip",
    "request:SourcePort": "source_port",
    "request:DestinationPort": "destination_port",
    "request:Protocol": "protocol",
    "request:DestinationDomain": "destination_domain",
    "request:Time": "time",
    "request:Http:Uri": "path",
    "request:Http:Method": "method",
    "request:Http:Host": "http_host",
    "request:Http:Query": "query",
    "request:Http:ContentLength": "request_content_length",
    "response:Http:ContentLength": "response_content_length",
    "response:Http:StatusCode": "status",
    "request:Sni": "sni",
    "request:ListenerName": "listener_name",
    "request:ClientIdentity": "client_identity",
    "request:Tls:Intercepted": "tls_intercepted",
}
FIELDS = {
    "request:Http:UserAgent": ("request_fields", b"user-agent"),
    "request:Http:ContentType": ("request_fields", b"content-type"),
    "response:Http:ContentType": ("response_fields", b"content-type"),
}
DOMAINS = ("request:DestinationDomain", "request:Http:Host", "request:Sni")


def reference_evaluate(configuration, phase, facts):
    """What `evaluate` has to give."""
    alerts, waiting, outcome = [], [], None
    for group, rule in configuration.rules(phase):
        if rule.not_after is not None and rule.not_after <= facts.time:
            continue
        states = [condition_state(condition, rule.action, facts) for condition in rule.conditions]
        if False in states:
            continue
        ref = RuleRef(group.name, rule.name, phase)
        if rule.action is Action.ALERT:
            if None not in states:
                alerts.append(Match(ref, Action.ALERT))
        elif None in states:
            waiting.append((rule.action, ref))
        else:
            outcome = rule.action, ref, (Match(ref, rule.action),), rule.description
            break
    if outcome is None:
        ref, default = RuleRef("", "default", phase), configuration.defaults[phase]
        if default is Action.ALERT:
            outcome = Action.ALLOW, ref, (Match(ref, Action.ALERT), Match(ref, Action.ALLOW)), None
        else:
            outcome = default, ref, (Match(ref, default),), None
    action, ref, matches, reason = outcome
    if any(possible is not action for possible, _ in waiting):
        return Open(phase, waiting[0][1])
    return Decision(phase, action, ref, (*alerts, *matches), reason)


def condition_state(condition, action, facts):
    """True, False, or None: not yet known."""
    fact = value_of(condition.key, facts)
    operator = condition.operator
    if fact is NOT_YET:
        return None
    if operator == "Null":
        return ("true" if isinstance(fact, Unknown) else "false") in condition.values
    prefix, colon, name = operator.rpartition(":")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negated = "Not" in name
    if fact is ABSENT:
        return if_exists or (prefix == "ForAllValues" if colon else negated)
    if fact is INVISIBLE:
        return if_exists

    def holds(value):
        return any(compare(condition.key, name.replace("Not", ""), value, wanted) for wanted in condition.values)

    if isinstance(fact, list):
        if prefix == "ForAnyValue":
            return any(holds(value) != negated for value in fact)
        if prefix == "ForAllValues":
            return all(holds(value) != negated for value in fact)
        return (any(map(holds, fact)) or holds(b", ".join(fact))) != negated
    readings = [holds(reading) != negated for reading in readings_of(condition.key, fact)]
    if condition.key.endswith("Ip") and not negated and action is Action.ALLOW:
        return readings[0]
    return all(readings) if action is Action.ALLOW else any(readings)


def value_of(key, facts):
    if key in ATTRIBUTES:
        return getattr(facts, ATTRIBUTES[key])
    attribute, name = FIELDS.get(key) or (key[: key.index(":")] + "_fields", key.rpartition("/")[2].lower().encode())
    fields = getattr(facts, attribute)
    return fields if isinstance(fields, Unknown) else fields.get_all(name) or ABSENT


def readings_of(key, fact):
    if key == "request:Http:Uri":
        return [fact, resolved(unescaped(fact))]
    if key == "request:Http:Query":
        return [fact, unescaped(fact)]
    if key.endswith("Ip"):
        inner = unwrap(fact)
        return [inner] if fact.version == 4 or fact.ipv4_mapped else [fact, inner]
    return [fact]


def unescaped(path):
    def decoded(found):
        return found[0].upper() if quote(unquote_to_bytes(found[0])).startswith("%") else unquote_to_bytes(found[0])

    return re.sub(rb"%[0-9A-Fa-f]{2}", decoded, path)


def resolved(path):
    """RFC 3986, section 5.2.4, letter by letter."""
    if not path.startswith(b"/"):
        return path
    rest, output = path, b""
    while rest:
        if rest.startswith(b"/./") or rest == b"/.":
            rest = b"/" + rest[3:]
        elif rest.startswith(b"/../") or rest == b"/..":
            rest = b"/" + rest[4:]
            output = output[: output.rfind(b"/")] if b"/" in output else b""
        else:
            cut = rest.find(b"/", 1)
            cut = len(rest) if cut < 0 else cut
            output, rest = output + rest[:cut], rest[cut:]
    return output


def compare(key, name, value, wanted):
    if key == "request:Protocol":
        return matches(name, value, wanted) or matches(name, "TCP", wanted)
    if name.startswith("String"):
        if key in DOMAINS and wanted.startswith("."):
            return value == wanted[1:] or value.endswith(wanted)
        return matches(name, value, wanted)
    if name == "IpAddress":
        return value in ip_network(wanted) if value.version == ip_network(wanted).version else False
    if name == "Bool":
        return value == (wanted == "true")
    number = float(parse_date(wanted)) if name.startswith("Date") else float(wanted)
    value = int(value) if name.startswith("Date") else value
    order = name.removeprefix("Numeric").removeprefix("Date")
    return {
        "Equals": value == number,
        "LessThan": value < number,
        "LessThanEquals": value <= number,
        "GreaterThan": value > number,
        "GreaterThanEquals": value >= number,
    }[order]


def matches(name, value, wanted):
    if isinstance(value, bytes):
        value, wanted = value.decode("latin-1"), wanted.encode().decode("latin-1")
    if name == "StringEqualsIgnoreCase":
        return value.lower() == wanted.lower()
    if name == "StringEquals":
        return value == wanted
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in wanted)
    return re.fullmatch(expression, value, re.DOTALL) is not None
