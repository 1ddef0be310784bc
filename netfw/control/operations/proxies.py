"""Proxies: create, describe, list, update, delete.

A proxy is a name in the store: the processes whose proxy.yaml has it as `proxy.name` follow its configuration. Their
listeners and certificates are those of proxy.yaml, which also says whether TLS may be intercepted; asking for more is
an unsupported operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from netfw.control.operations.call import Call, Input, Output, Site
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
    listeners = read_listeners(given["ListenerProperties"]) if "ListenerProperties" in given else site.listeners
    _check_listeners(listeners, site)
    mode, ca_arn = _tls(given["TlsInterceptProperties"], site, site.tls_mode)
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
    return _output(transaction, call.add(transaction.proxies, proxy))


def describe(transaction: Any, given: Input, call: Call) -> Output:
    """DescribeProxy."""
    proxy: StoredProxy = call.site.observed(transaction, find(transaction, given, Resource.PROXY))
    output = _output(transaction, proxy)
    output["Proxy"]["PrivateDNSName"] = call.site.hostname
    return output


def list_all(transaction: Any, given: Input, _call: Call) -> Output:
    """ListProxies."""
    return listed(transaction.proxies, given, "Proxies")


def update(transaction: Any, given: Input, call: Call) -> Output:
    """UpdateProxy."""
    before = _proxy(transaction, given)
    listeners = list(before.listeners)
    for one in read_listeners(given.get("ListenerPropertiesToRemove", [])):
        if one not in listeners:
            raise InvalidRequest(f"ListenerPropertiesToRemove: {before.name} has no listener {one.port} {one.type}")
        listeners.remove(one)
    for one in read_listeners(given.get("ListenerPropertiesToAdd", [])):
        if any(one.port == other.port for other in listeners):
            raise InvalidRequest(f"ListenerPropertiesToAdd: {before.name} has a listener on port {one.port} already")
        listeners.append(one)
    _check_listeners(listeners, call.site)
    mode, ca_arn = _tls(given.get("TlsInterceptProperties", {}), call.site, before.tls_mode)
    after = replace(before, listeners=tuple(listeners), tls_mode=mode, ca_arn=ca_arn, modify_state="MODIFYING")
    return _output(transaction, call.replace(transaction.proxies, before, after, given["UpdateToken"]))


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
    if proxy.nat_gateway != given["NatGatewayId"]:
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


def _check_listeners(listeners: Sequence[StoredListener], site: Site) -> None:
    if sorted(listeners, key=repr) != sorted(site.listeners, key=repr):
        known = ", ".join(f"{one.port} {one.type}" for one in site.listeners)
        raise UnsupportedOperation(
            f"listeners are set in proxy.yaml, and are {known}; leave ListenerProperties out, or name these"
        )


def _tls(given: Input, site: Site, present: str) -> tuple[str, str | None]:
    mode = given.get("TlsInterceptMode", present)
    if mode == "ENABLED" and site.tls_mode != mode:
        raise UnsupportedOperation(
            "TLS interception is not permitted by proxy.yaml: tls_intercept.mode is DISABLED there"
        )
    if given.get("PcaArn") not in (None, site.ca_arn):
        known = f"; the CA here is {site.ca_arn}" if site.ca_arn is not None else ": there is none here"
        raise InvalidRequest(f"PcaArn: {shown(given['PcaArn'])} is not the interception CA{known}")
    return mode, site.ca_arn if mode == "ENABLED" else None


def _output(transaction: Any, proxy: StoredProxy) -> Output:
    arn = transaction.configurations.arns([proxy.configuration])[proxy.configuration]
    return {"Proxy": shown_proxy(proxy, arn), "UpdateToken": proxy.update_token}
