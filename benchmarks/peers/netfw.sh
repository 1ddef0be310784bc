#!/bin/sh
# caps: abs connect mitm acl workers
# netfw as it ships: a policy of 100 rules (or the deny list of the scenario), JSON records to a file; one process, or WORKERS of them.
# It uses the `twistd` on PATH; the harness gives the rest (its README says what).
set -e
python3 - "$DIR" <<'X'
import os, re, sys
d, env = sys.argv[1], os.environ
kind, acl = env["ACL_KIND"], env["ACL_FILE"]
rules = [
    {"ProxyRuleName": f"deny-{i}", "Action": "DENY", "Conditions": [
        {"ConditionKey": "request:DestinationDomain", "ConditionOperator": "StringEquals", "ConditionValues": [f".blocked-{i}.example"]}]}
    for i in range(60)
]
paths = [
    {"ProxyRuleName": f"path-{i}", "Action": "DENY", "Conditions": [
        {"ConditionKey": "request:Http:Uri", "ConditionOperator": "StringLike", "ConditionValues": [f"/blocked/{i}/*"]}]}
    for i in range(30)
]
types = [
    {"ProxyRuleName": f"type-{i}", "Action": "DENY", "Conditions": [
        {"ConditionKey": "response:Http:ContentType", "ConditionOperator": "StringLike", "ConditionValues": [f"application/x-blocked-{i}*"]}]}
    for i in range(10)
]
# The list of a scenario comes on top: what it costs is held against these hundred rules alone.
values = [line.strip() for line in open(acl) if line.strip()] if kind in ("dstdomain", "url_regex") else []
if kind == "dstdomain":
    rules += [
        {"ProxyRuleName": f"acl-{i}", "Action": "DENY", "Conditions": [
            {"ConditionKey": "request:DestinationDomain", "ConditionOperator": "StringEquals", "ConditionValues": [v]}]}
        for i, v in enumerate(values)
    ]
for i, v in enumerate(values if kind == "url_regex" else ()):
    # `[a-z]+7/(admin|login)[0-9]+[.]php`, with or without `^https?://` and `[.]blocked[.]test`, as patterns of name and path.
    number = re.search(r"\+([0-9]+)", v)[1]
    host = [("request:DestinationDomain", [f"*{number}.blocked.test"])] if v.startswith("^") else []
    start = "" if host else f"*{number}"
    conditions = [*host, ("request:Http:Uri", [f"{start}/{page}*.php*" for page in ("admin", "login")])]
    paths.append({"ProxyRuleName": f"acl-{i}", "Action": "DENY", "Conditions": [
        {"ConditionKey": key, "ConditionOperator": "StringLike", "ConditionValues": texts} for key, texts in conditions]})
import json
json.dump({
    "ProxyConfiguration": {"ProxyConfigurationName": "bench", "RuleGroups": ["bench"],
                           "DefaultRulePhaseActions": {"PreDNS": "ALLOW", "PreREQUEST": "ALLOW", "PostRESPONSE": "ALLOW"}},
    "ProxyRuleGroups": [{"ProxyRuleGroupName": "bench", "Rules": {"PreDNS": rules, "PreREQUEST": paths, "PostRESPONSE": types}}],
}, open(f"{d}/policy.json", "w"))
mitm = env["MODE"] == "mitm"
ca = env.get("CA", "").replace("-rsa", "-ec")
if mitm:
    import shutil
    shutil.copy(ca + ".crt", f"{d}/ca.pem"); shutil.copy(ca + ".key", f"{d}/ca.key"); os.chmod(f"{d}/ca.key", 0o600)
config = {
    "proxy": {"name": "netfw"},
    "listeners": [{"name": "bench", "type": "HTTP", "address": "127.0.0.1", "port": int(env["PORT"])}],
    "tls_intercept": {"mode": "ENABLED", "ca": {"certificate": "ca.pem", "private_key": "ca.key"}} if mitm else {"mode": "DISABLED"},
    "policy": {"file": "policy.json"},
    "dns": {"hosts_file": "/etc/hosts"},
    "guard": {"allow": ["127.0.0.0/8"]},
    "upstream": {"trust": env.get("TRUST") or "system"},
    "limits": {"connections": 60000, "connections_per_client": 60000, "requests_per_connection": 1000000000, "leaf_cache": 4000},
    "log": {"path": "records.jsonl"},
    "workers": int(env["WORKERS"]) if int(env["WORKERS"]) > 1 else 0,
}
json.dump(config, open(f"{d}/proxy.json", "w"))
X
exec twistd -n --pidfile= --logfile "$DIR/twistd.log" netfwproxy --config "$DIR/proxy.json"
