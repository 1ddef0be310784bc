"""The prose of docs/api.md; `api_document` fills in what the tables say. PURE."""

from __future__ import annotations

TEMPLATE = """\
# The control API

The policy can be read and changed over the API of the vendor's three-phase proxy, in the form in which it was in
preview: AWS JSON 1.0, service `network-firewall`, version 2020-11-12. Automation that was written for the preview
goes on working with `endpoint_url` set. What is marked *ours* is an extension; everything else has the vendor's
names, types and bounds.

This page is printed from the tables that check the requests: `python -m netfw.control.api_document > docs/api.md`.

## Where it is, and who may call it

At `/` of the admin surface (`admin:` in proxy.yaml), by `POST`.

* **Over the Unix socket** no signature is needed: the kernel says who asks. Root and the user that the proxy runs as
  are owners; everybody else who can open the socket is a viewer, or what `control.local` says of them.
* **Over the port** every request is signed (Signature Version 4) with an access key. Clocks may differ by five
  minutes. On an address that is not loopback the port must speak TLS (`admin.certificate`, `admin.private_key`); from
  other machines nothing but the API is served there.

`netfw key create NAME --role ROLE` makes a key and prints its secret, once; `netfw key list` and `netfw key revoke
ID` do what they say, from the next request on. Keys are in the file that `control.keys` names. A signature can only
be checked with the secret itself, so that file holds secrets: it is its owner's alone (mode 0600, or nobody is let
in), and each machine of a fleet that serves the API has its own.

| role | may |
| --- | --- |
| `viewer` | read everything |
| `editor` | also change the rule groups, and their tags, that `--group` names, by name or pattern (`payments-*`) |
| `operator` | also change configurations and proxies: which groups count, in which order, for whom; not their rules |
| `owner` | everything |

`--decrypted` is a right of its own, in no role: to see decrypted URLs and fields. docs/control-plane.md has both rights
and roles in full.

A key may make `control.rate` requests a second, and `control.burst` at once; more are refused with
`ThrottlingException`, after which SDKs wait and try again by themselves.

## Clients

boto3 and the AWS CLI had these operations built in from botocore 1.41.4 to 1.44.2. Newer ones take the description
that netfw ships, in `netfw/control/botocore`:

```sh
export AWS_DATA_PATH=$(python3 -c 'import netfw.control, os; print(os.path.dirname(netfw.control.__file__))')/botocore
aws nfw-proxy list-proxies --endpoint-url http://127.0.0.1:9901 --region us-east-2
aws network-firewall list-proxies --endpoint-url http://127.0.0.1:9901 --region us-east-2
```

`nfw-proxy` is a service of its own; `network-firewall` adds the operations to those that the SDK has under that name,
and hides none of them. In boto3: `boto3.client("nfw-proxy", endpoint_url=...)`.

Without a signature, from this machine:

<!-- examples: beside a running proxy -->
```console
$ curl -s --unix-socket var/admin.sock http://localhost/ -H 'Content-Type: application/x-amz-json-1.0' \\
  -H 'X-Amz-Target: NetworkFirewall_20201112.ListProxies' -d '{{}}'
{{"Proxies":[{{"Name":"netfw","Arn":"arn:aws:network-firewall:us-east-2:000000000000:proxy/netfw"}}]}}
```

Clients that speak CBOR get an empty 404 on `/service/...`.

## How it works

* **Resources.** Rule groups hold rules of the three phases; a configuration has a default action for each phase and
  rule groups in order of priority, from 0 on; a proxy is a name that follows a configuration: every process whose
  `proxy.name` it is. Names are unique by kind. A resource is given by name, by ARN, or by both when they agree;
  region and account of the ARNs of what is made are `control.region` and `control.account`. A resource keeps the ARN
  that it was made with, and is found by that one, also when these are set to others afterwards: automation has written
  it down. Policy files have no resources that were made: their ARNs are always those of the settings.
* **Tokens.** Each change of a resource gives it a new `UpdateToken`; a change made from an old one is refused
  (`InvalidTokenException`) and changes nothing. Rules have the token of their group. Changing a rule leaves the
  tokens of configurations that have its group alone, and tags leave every token alone.
* **Positions** begin at 0. Inserting moves what stands there, and everything behind it, down; a gap is refused.
  Moving gives each that is named its new position, and leaves the order of the others.
* **Rules** say what policy files may say (docs/policy.md), and are refused for the same reasons, in the vendor's
  words. Names of rules are unique in a group, over all phases.
* **Generations.** Each call that changes the policy is one transaction and one generation: all of it is stored, or
  none. The field `x-netfw-generation` of the answer says which.
* **Pages** are of `MaxResults` (100 if it is not given). A `NextToken` says after which name to go on, so what comes
  and goes meanwhile moves nothing.
* **Proxies** are what their nodes' proxy.yaml permits. Certificates are always that file's. A listener there with
  `from_store: [8080-8089]` has the ports that the API gives it among these, as many as are asked for; its own `port` is
  open until somebody asks. One without is fixed: always open, and part of every list. `UpdateProxy` opens and closes
  ports in the running nodes, new ones first; on a closed one nobody gets in, idle connections end, and what is under
  way may finish within `timeouts.drain`. Asking for anything else is an `UnsupportedOperationException` that says what
  is permitted, and leaving `ListenerProperties` out takes the listeners as they are. Where proxy.yaml has
  `tls_intercept.mode: ENABLED`, `TlsInterceptMode` turns interception off and on. `NatGatewayId` is an opaque handle,
  one proxy each; a proxy that `netfw apply` has made takes the first that it is called by. `PcaArn` names the
  interception CA as `DescribeProxy` shows it. `PrivateDNSName` is `proxy.hostname`.
* **States** are what the nodes report, whichever node is asked. `ProxyState` is `ATTACHED` once a node serves,
  `ATTACHING` before, `ATTACH_FAILED` when none does and one says why. `ProxyModifyState` is `MODIFYING` until every
  node has the newest change in force, then `COMPLETED`; it is `FAILED`, with `FailureCode` and `FailureMessage`, while
  a node refuses the policy (`NODE_REFUSED`) or cannot do what is asked (`NODE_CANNOT`): a port that somebody else has,
  a listener that its own proxy.yaml does not permit. Such a node keeps the ports that it has, tries again every five
  seconds, and starts by its other listeners. Of a proxy that no node follows yet nobody knows what is permitted: any
  listener is taken, and the state says later what cannot be.
* **With policy files** reads are answered and changes are refused (`UnsupportedOperationException`).

Unlike the vendor, netfw refuses unknown members, members that stand there twice, and everything else that it would
have to ignore.

## Audit

Every change that was asked for, and every reading of what only decryption shows, is a JSON object on a line of
`control.audit` (the program's own log, where that is not set): `at`, `id` (also in the answer, `x-amzn-requestid`),
`who`, `key`, `roles`, `from`, `operation`, `about`
(the names in the request), `outcome` (`done`, or the code of the refusal), `generation`, and `changes`: for each
resource its `arn`, and of `before` and `after` what differs.

`netfw ca`, `netfw key` and the commands that change the store where no proxy runs write such lines too, with the user
who typed the command, and do nothing when they cannot.

## Quotas

{quotas}

`quotas: vendor` sets them all as the vendor does. What would be more is a `LimitExceededException`.

## Errors

A JSON object with `__type` and `Message`, and the field `x-amzn-errortype`.

{errors}

## Operations

**Bold** members must be there.

{operations}

## Operations of ours

About several resources at once, so that each is one transaction and one generation; `netfw apply`, `export`, `allow`,
`exceptions`, `history`, `diff` and `rollback` (docs/control-plane.md) are made of them. `X-Amz-Target` is
`{own_prefix}.<Operation>`; they are in no description for SDKs. A caller needs the right to change each resource that
is changed by what they ask for, and all of it is within the quotas, or nothing is done. They need a policy store.

{own_operations}

## Structures

{structures}

## Bounds

{bounds}
"""
