"""Proxies: create, describe, list, update, delete.

A proxy is a name in the store: the processes whose proxy.yaml has it as `proxy.name` follow its configuration, and do
what is asked of it within what that file permits; asking for more is an unsupported operation. Certificates are always
the file's. Of a proxy that no process follows yet nobody knows what is permitted: its state will say what cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from netfw.control.operations.call import Call, Input, Output, ProxyFacts
from netfw.control.operations.finding import find, find_by, name_meant
from netfw.control.operations.lists import listed
from netfw.control.quotas import check_quota
from netfw.control.refusals import InvalidRequest, ResourceNotFound, UnsupportedOperation
from netfw.control.service_model import Resource
from netfw.control.shapes import shown
from netfw.control.translation import read_listeners, read_tags, shown_proxy
from netfw.store.resources import StoredListener, StoredProxy


def create(transaction: Any, given: Input, call: Call) -> Output:
    """CreateProxy."""
    name, site, quotas = given["ProxyName"], call.site, call.site.quotas
    if given.get("ProxyConfigurationName") is None and given.get("ProxyConfigurationArn") is None:
        raise InvalidRequest("ProxyConfigurationName or ProxyConfigurationArn is wanted")
    configuration = find(transaction, given, Resource.CONFIGURATION).name
    check_quota(transaction.proxies.count() + 1, quotas.proxies, "proxies", "proxies")
    following = len(transaction.proxies.using(configuration)) + 1
    check_quota(
        following, quotas.proxies_per_configuration, f"proxies that follow {configuration}", "proxies_per_configuration"
    )
    if transaction.proxies.find(name) is None:
        taken = _of_gateway(transaction, given["NatGatewayId"])
        if taken is not None:
            raise InvalidRequest(f"{shown(given['NatGatewayId'])} has the proxy {taken.name} already")
    facts = site.facts(transaction, name)
    # An empty list is as good as none: SDKs and Terraform send it for what was not written.
    listeners = _kept(read_listeners(given["ListenerProperties"]), facts) if given.get("ListenerProperties") else None
    mode, ca_arn = _tls(given["TlsInterceptProperties"], facts, None)
    proxy = StoredProxy(
        name=name,
        arn=site.arns.of(Resource.PROXY, name),
        configuration=configuration,
        nat_gateway=given["NatGatewayId"],
        listeners=listeners,
        tls_mode=mode,
        ca_arn=ca_arn,
        tags=read_tags(given.get("Tags", []), quotas),
    )
    return _output(transaction, call.add(transaction.proxies, proxy), facts)


def describe(transaction: Any, given: Input, call: Call) -> Output:
    """DescribeProxy."""
    proxy: StoredProxy = call.site.observed(transaction, find(transaction, given, Resource.PROXY))
    facts = call.site.facts(transaction, proxy.name)
    output = _output(transaction, proxy, facts)
    output["Proxy"]["PrivateDNSName"] = None if facts is None else facts.hostname
    return output


def list_all(transaction: Any, given: Input, _call: Call) -> Output:
    """ListProxies."""
    return listed(transaction.proxies, given, "Proxies")


def update(transaction: Any, given: Input, call: Call) -> Output:
    """UpdateProxy."""
    before = _proxy(transaction, given)
    facts = call.site.facts(transaction, before.name)
    present = shown_listeners(before, facts)
    listeners = list(present)
    for one in read_listeners(given.get("ListenerPropertiesToRemove", [])):
        if one not in listeners:
            raise InvalidRequest(f"ListenerPropertiesToRemove: {before.name} has no listener {one.port} {one.type}")
        listeners.remove(one)
    for one in read_listeners(given.get("ListenerPropertiesToAdd", [])):
        if any(one.port == other.port for other in listeners):
            raise InvalidRequest(f"ListenerPropertiesToAdd: {before.name} has a listener on port {one.port} already")
        listeners.append(one)
    if not listeners and present:
        raise InvalidRequest(f"{before.name} would have no listener: add another one in the same call")
    # Who asks for what is there asks for nothing: the proxy goes on with the listeners of its proxy.yaml.
    kept = before.listeners if set(listeners) == set(present) else _kept(listeners, facts)
    mode, ca_arn = _tls(given.get("TlsInterceptProperties", {}), facts, before.tls_mode)
    after = replace(
        before,
        listeners=kept,
        tls_mode=mode,
        ca_arn=ca_arn,
        nat_gateway=given["NatGatewayId"],
        modify_state="MODIFYING",
    )
    changed: StoredProxy = call.replace(transaction.proxies, before, after, given["UpdateToken"])
    # It serves all the while: what changes is how far the change is.
    serving = call.site.observed(transaction, changed)
    return _output(transaction, replace(serving, modify_state="MODIFYING"), facts)


def delete(transaction: Any, given: Input, call: Call) -> Output:
    """DeleteProxy."""
    proxy = _proxy(transaction, given)
    call.remove(transaction.proxies, proxy)
    return {"NatGatewayId": proxy.nat_gateway, "ProxyName": proxy.name, "ProxyArn": proxy.arn}


def proxy_name(transaction: Any, given: Input) -> str:
    """The proxy that a request names, if only by its NAT gateway."""
    if given.get("ProxyName") is None and given.get("ProxyArn") is None:
        found = _of_gateway(transaction, given["NatGatewayId"])
        if found is None:
            raise ResourceNotFound(f"no proxy has the NAT gateway {shown(given['NatGatewayId'])}")
        return found.name
    return name_meant(given, Resource.PROXY)


def _proxy(transaction: Any, given: Input) -> StoredProxy:
    proxy: StoredProxy = find_by(transaction, Resource.PROXY, proxy_name(transaction, given), given.get("ProxyArn"))
    # One that `netfw apply` has made has none, and takes what it is called by.
    if proxy.nat_gateway not in ("", given["NatGatewayId"]):
        raise InvalidRequest(
            f"NatGatewayId: {proxy.name} has the NAT gateway {shown(proxy.nat_gateway)}, "
            f"not {shown(given['NatGatewayId'])}"
        )
    return proxy


def _of_gateway(transaction: Any, gateway: str) -> StoredProxy | None:
    for found in transaction.proxies.list(None):
        proxy: StoredProxy = transaction.proxies.get(found.name)
        if proxy.nat_gateway == gateway:
            return proxy
    return None


def _kept(listeners: Sequence[StoredListener], facts: ProxyFacts | None) -> tuple[StoredListener, ...]:
    """What the store is to keep of these: what proxy.yaml has fixed stays its business."""
    if facts is None:
        return tuple(listeners)
    problem = facts.permitted.problem([(one.port, one.type) for one in listeners])
    if problem is not None:
        raise UnsupportedOperation(problem)
    return tuple(one for one in listeners if (one.port, one.type) not in facts.permitted.fixed)


def _tls(given: Input, facts: ProxyFacts | None, present: str | None) -> tuple[str | None, str | None]:
    mode = given.get("TlsInterceptMode", present)
    if mode == "ENABLED" and facts is not None and facts.tls_mode != mode:
        raise UnsupportedOperation(
            "TLS interception is not permitted by proxy.yaml: tls_intercept.mode is DISABLED there"
        )
    ca_arn = None if facts is None else facts.ca_arn
    if given.get("PcaArn") not in (None, ca_arn):
        known = f"; the CA here is {ca_arn}" if ca_arn is not None else ": none is known here"
        raise InvalidRequest(f"PcaArn: {shown(given['PcaArn'])} is not the interception CA{known}")
    return mode, ca_arn if mode == "ENABLED" else None


def _output(transaction: Any, proxy: StoredProxy, facts: ProxyFacts | None) -> Output:
    """As it is: what nobody asked for is what the nodes' proxy.yaml says, and the CA is the one in force."""
    arn = transaction.configurations.arns([proxy.configuration])[proxy.configuration]
    mode = proxy.tls_mode or (facts.tls_mode if facts is not None else None)
    ca_arn = (facts.ca_arn if facts is not None and facts.ca_arn else proxy.ca_arn) if mode == "ENABLED" else None
    as_it_is = replace(proxy, listeners=shown_listeners(proxy, facts), tls_mode=mode, ca_arn=ca_arn)
    return {"Proxy": shown_proxy(as_it_is, arn), "UpdateToken": proxy.update_token}


def shown_listeners(proxy: StoredProxy, facts: ProxyFacts | None) -> tuple[StoredListener, ...]:
    """Those that are fixed, and those that were asked for; where nobody asked, those that there are."""
    if proxy.listeners is None:
        return () if facts is None else facts.listeners
    fixed = () if facts is None else facts.permitted.fixed
    return tuple(dict.fromkeys([*(StoredListener(port, kind) for port, kind in fixed), *proxy.listeners]))
