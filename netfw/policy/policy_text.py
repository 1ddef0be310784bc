"""The prose of docs/policy.md. Names in braces are filled in by `policy.document`."""

TEMPLATE = """\
# The policy language

<!-- Printed by `python -m netfw.policy.document`; change it there. -->

A policy says which exchanges pass. It is looked at three times for each of them:

1. **PreDNS**, before the name is looked up. A denial here means that not one packet leaves for that name.
2. **PreREQUEST**, before the request goes out: addresses are known, and of HTTP whatever is visible.
3. **PostRESPONSE**, when the response's head is there and before any of it goes to the client.

In each phase the rules are taken in order: groups as `RuleGroups` names them, in a group rule by rule. `ALERT` notes
the match in the record and goes on. `ALLOW` ends the phase and lets the exchange go on to the next one. `DENY` ends
everything. When no rule decides, the phase's default action does; a default of `ALERT` allows, and notes it.

## What is visible

Plain HTTP and intercepted HTTPS show everything. A CONNECT tunnel that is passed through shows names, addresses and the
server name of its TLS, and never any HTTP. **A condition on a field of HTTP does not match such a tunnel**, not even a
negated one: `StringNotEquals` on the method is no way to catch it. `Null` and the `...IfExists` operators do see it.

With interception, the CONNECT comes first and the requests inside it later. A rule that needs what is not yet known
keeps the decision open, as long as it could still change the outcome; the phase is then taken for each request inside.

## A policy

```yaml
ProxyConfiguration:
  ProxyConfigurationName: example
  DefaultRulePhaseActions: {{PreDNS: DENY, PreREQUEST: ALLOW, PostRESPONSE: ALLOW}}   # all three; there is no default
  RuleGroups: [house-rules, sites]                                                  # in order of priority
ProxyRuleGroups:
  - ProxyRuleGroupName: house-rules
    Rules:
      PreREQUEST:
        - ProxyRuleName: no-uploads
          Action: DENY
          Description: uploads go through the gateway    # shown with the denial
          NotAfter: 2030-01-01T00:00:00Z                 # from then on the rule is skipped
          Conditions:                                    # all of them have to hold
            - ConditionKey: request:Http:Method
              ConditionOperator: StringEquals
              ConditionValues: [POST, PUT]               # any of them is enough
  - ProxyRuleGroupName: sites
    allow: [.example.com]
```

Members of the document: {document_members}. Of a configuration: {configuration_members}. Of a group: {group_members}.
Of a rule: {rule_members}. Of a condition: {condition_members}.

* Names are letters, digits and hyphens, up to 128; a rule's name is unique in its group, over all phases.
* `InsertPosition` is a rule's place among those of its phase, from 0 and without gaps; rules without one come last.
* `ConditionValuesFile` names a file with one value a line, for long lists; it may stand beside `ConditionValues`.
* Several files of a directory make one policy: groups from all of them, one `ProxyConfiguration` in all.
* Unknown members are mistakes, and every mistake is reported at once. A policy with a mistake is not used at all.

## The short form

```yaml
  - ProxyRuleGroupName: sites
    allow:
      - .example.com                                  # the name and all below it, any port
      - api.example.org:8443
      - GET,HEAD https://packages.example/simple/*    # methods and paths
    deny:
      - POST github.com/*/git-receive-pack
    alert:
      - "*.example.net"
```

An entry is `[METHOD,METHOD ][http://|https://]HOST[:PORT][/PATH][?QUERY]`. HOST is a name, `.name`, `*.name`, a pattern
with `*`, an address (IPv6 in brackets) or `*` for every host; PATH and QUERY may hold `*`, and without one they are
compared as a whole. Entries become ordinary rules, after those of `Rules` and in the order alert, deny, allow:

* `allow` number 1 becomes `allow-1` in PreDNS, for host and port, and `allow-1-request` in PreREQUEST, for host, port,
  method, path and query. So it opens the whole way to the response where both phases deny by default. Where PreREQUEST
  allows by default, method and path of an `allow` entry limit nothing: write what is forbidden as `deny`.
* `deny` number 1 becomes `deny-1`: in PreDNS when it has host and port only, else in PreREQUEST. `alert` likewise.
* `http://` means port 80 and `https://` port 443, unless a port is given; `allow` with `https://` also wants a CONNECT.

## Keys

{keys}

The following are netfw's own.

{extension_keys}

A key is accepted in the phases in which its value can be known. Also accepted: {aliases}.

* **Names** (`request:DestinationDomain`, `request:Sni`, `request:Http:Host`) are compared in one canonical form: small
  letters, no final dot, A-labels for international names. A value in another form is refused, and the form is told.
  `x` is that name, `.x` the name and all below it, and with `StringLike` `*.x` is what is below it. `*x` is a pattern
  like any other and also matches `notx`. An address in the place of a name is compared as text.
* **`request:Http:Uri`** is the path. It is looked at as it came and in the normal form of RFC 3986 (`%61` is `a`,
  `/a/../b` is `/b`): a DENY or ALERT matches when either does, an ALLOW only when both do. The same for the query.
* **Headers**: names in any case, values in the case they have. Of a field that stands several times, any value or all
  of them joined by `, ` may match. Text that is not ASCII is compared as UTF-8.
* **Addresses**: an IPv4-mapped address is its IPv4 address. An IPv6 address that leads to an IPv4 one (NAT64, 6to4,
  Teredo) matches a DENY or ALERT by either; an ALLOW by itself only, and a negated ALLOW only if neither is listed.
* **`request:Time`** is UTC. Dates are `2026-01-31`, `2026-01-31T16:05:00Z` or seconds since the epoch.
* **`request:Protocol`** `http` is a request that is not in TLS, `https` a CONNECT or what is inside it.
* **Lengths** are declared ones: a chunked message has none, so a DENY by length wants `...IfExists` or a second rule.

## Operators

{operators}

* `*` is any run of characters, also none; `?` is one character; the whole value has to match. Patterns are never slow.
* The values of a condition are alternatives; for a negated operator none of them may be met.
* A network with bits behind its prefix is refused; an address alone is a network of one.

**Suffix `IfExists`** (`StringEqualsIfExists`): also true when the key is absent or not visible. `Null` has no suffix.

**Prefixes `ForAnyValue:` and `ForAllValues:`**, for header keys only: one field value, or each of them, has to meet the
operator. `ForAllValues:` is true of a header that is absent. Without a prefix any value is enough.

**Absent and invisible.** What a condition gives for a key without a value:

| | key absent (no such header, no such source) | HTTP not visible |
| --- | --- | --- |
| `StringEquals`, `NumericLessThan`, ... | false | false |
| `StringNotEquals`, `NotIpAddress`, ... | true | false |
| `...IfExists` | true | true |
| `ForAnyValue:...` | false | false |
| `ForAllValues:...` | true | false |
| `Null` with `"true"` | true | true |

## Limits

Files have none but their size: 16 MiB a YAML file, 64 MiB a JSON file. The vendor's quotas, where they are asked for:

{limits}

## Trying it out

`netfw check` finds mistakes, `netfw lint` rules that cannot match or allow too much, `netfw show` shows the rules in
the order of evaluation, `netfw explain URL` tells what each rule says to a request, and `netfw test FILE` runs
expectations:

```yaml
- GET https://example.com/: allow
  as: {{ip: 10.9.0.4}}
- CONNECT www.facebook.com:443: {{deny: house-rules/no-social-network, phase: PreDNS}}
```
"""
