"""The fields of records: their names, what they mean, and which forms have them. PURE.

One table, for what a command may be asked for and for docs/records.md, which a test compares with it. A name with a dot
is a member of a field: `url.query`. Not here: how a record comes to these values (`telemetry.exchange_record`).
"""

from __future__ import annotations

from dataclasses import dataclass

FORMATS = ("json", "aws", "squid", "pretty", "ecs", "ocsf", "plain")
"""The forms that a record may be printed in."""
COLUMN_FORMATS = ("plain", "w3c", "raw")
"""Those that are columns of text; the last two are for servers that know them."""
JSON_FORMATS = ("json", "aws", "ecs", "ocsf")
"""Those whose lines are documents."""
OUTPUT_FORMATS = (*FORMATS, "w3c", "raw")
"""Those that an output may have."""
MANDATORY = ("event_timestamp", "proxy_name", "final_action", "kind", "id")
"""Never left out nor changed: without them a record says nothing, and nobody finds it again."""
AWS_MANDATORY = ("event_timestamp", "proxy_name", "final_action")
"""What every record of the vendor's log has."""


@dataclass(frozen=True, slots=True)
class RecordField:
    """`type` is a JSON type. `aws`: the AWS proxy's log has it too; `aws_default`: without a selection."""

    name: str
    type: str
    meaning: str
    aws: bool = False
    aws_default: bool = False


def _aws(name: str, kind: str, meaning: str, *, default: bool = False) -> RecordField:
    return RecordField(name, kind, meaning, aws=True, aws_default=default)


FIELDS = (
    _aws("event_timestamp", "integer", "when it ended, in whole seconds since the epoch", default=True),
    _aws("proxy_name", "string", "`proxy.name`", default=True),
    _aws("final_action", "string", "`allow` or `deny`", default=True),
    _aws("client_src_ip", "string", "the client's address", default=True),
    _aws("client_src_port", "integer", "its port"),
    _aws("src_vpc", "string", "the client's VPC, from `sources`", default=True),
    _aws("src_vpce", "string", "its endpoint, from `sources` or the PROXY header"),
    _aws("vpce_account_id", "string", "its account, from `sources`"),
    _aws("dest_domain", "string", "the destination's name with a final dot, or its address", default=True),
    _aws("url", "object", "`scheme`, `authority`, `path`, `query`, `fragment`; secrets are `***`"),
    RecordField("url.authority", "string", "the host and, where it is not the scheme's own, the port"),
    _aws("url.path", "string", "the path alone"),
    _aws("url.query", "string", "the query alone"),
    _aws("http_method", "string", "the method", default=True),
    _aws("dest_ip", "string", "the address that was dialled", default=True),
    _aws("dest_port", "integer", "the destination's port"),
    _aws("http_status_code", "integer", "the status that the client was sent", default=True),
    _aws("first_alert_match", "string", "the first ALERT rule that matched"),
    _aws("all_matches", "object", "`matches`: `rule_id`, `hook` and `action` of each rule that matched"),
    _aws("final_rule_name", "string", "the rule that decided, `default`, or empty", default=True),
    _aws("final_rule_group_name", "string", "its group, empty for the default", default=True),
    _aws("request_size", "integer", "bytes of the request's body"),
    _aws("response_size", "integer", "bytes of the response's body"),
    RecordField("id", "string", "the exchange's id, as the client saw it"),
    RecordField("kind", "string", "`exchange`, `connect`, `tunnel`, `connection`, or what was done by command"),
    RecordField("parent_id", "string", "the id of the tunnel that it came in"),
    RecordField("generation", "integer", "the generation of the policy that decided"),
    RecordField("listener", "string", "the listener's name"),
    RecordField("client_identity", "string", "the user, or the client certificate's name"),
    RecordField("started", "number", "when it began, in seconds since the epoch"),
    RecordField("duration_ms", "integer", "how long it took, in milliseconds"),
    RecordField("durations", "object", "seconds of each step: `dns`, `connect`, `tls`, `first_byte`, `total`"),
    RecordField("bytes_in", "integer", "bytes read from the client"),
    RecordField("bytes_out", "integer", "bytes sent to the client"),
    RecordField("http_version", "string", "the client's HTTP version"),
    RecordField("user_agent", "string", "its User-Agent"),
    RecordField("traceparent", "string", "its trace context, W3C's form"),
    RecordField("trace_id", "string", "the trace that `traceparent` names"),
    RecordField("span_id", "string", "the client's span, which it names as the parent"),
    RecordField("origin_status", "integer", "the origin's status, where the client was sent another one"),
    RecordField("dns", "object", "`source`, `resolver`, `ttl`, `chain`, `addresses`; of an answer `type` and `code`"),
    RecordField("tls", "object", "`intercepted`, `sni`, versions, the origin's certificate"),
    RecordField("tls.sni", "string", "the server name alone"),
    RecordField("names", "object", "all four names, where they disagreed"),
    RecordField("route", "object", "`proxy` and `by` of a parent, parents `tried` before; `pool` and `from`"),
    RecordField("error", "object", "`token`, `fault`, `message`, `detail` of what went wrong"),
    RecordField("close_reason", "string", "why a tunnel ended"),
    RecordField("count", "integer", "how many connections one record stands for; 1 where it is missing"),
    RecordField("sample_rate", "number", "the share of such records that is kept, where it is not 1"),
)

FIELD_NAMES = tuple(field.name for field in FIELDS)
AWS_NAMES = tuple(field.name for field in FIELDS if field.aws)
AWS_DEFAULT = tuple(field.name for field in FIELDS if field.aws_default)
HASHED = frozenset(field.name for field in FIELDS if field.type == "string" and field.name not in MANDATORY)
"""Fields that a token or a mask may stand for; objects and numbers can only be kept or dropped."""


def fields_table() -> str:
    """The table of docs/records.md."""
    rows = ["| field | type | `aws` | meaning |", "| --- | --- | --- | --- |"]
    for field in FIELDS:
        shown = "default" if field.aws_default else "yes" if field.aws else ""
        rows.append(f"| `{field.name}` | {field.type} | {shown} | {field.meaning} |")
    return "\n".join(rows) + "\n"
