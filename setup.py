"""Everything that describes the package stands in setup.cfg. This compiles the data path, where it is asked for.

    NETFW_COMPILE=1 pip install .

turns the modules below into C with mypyc, which takes a third off what Python costs a request; without it, or without
a compiler, netfw is plain Python and does the same. The list names what every exchange or tunnel goes through.
docs/performance.md has the figures, docs/architecture.md what compiled modules ask of those who write them.
"""

import os
import sys

from setuptools import setup

COMPILED = """
    http1: bodies chunked events fields first_line forwarding grammar heads host_field limits reader target traits
    names: address authority domain_form host printable
    policy: decision evaluate facts glob_index indexes lookup_tables paths
    proxy: admission binding client_connection connect data_plane destinations exchange first_facts forward
           forward_by_way guard held_origin joining limits_bodies listener live opaque_origin phases rates recording
           routing sources steps tunnel tunnel_inside tunnel_opening upstream_connection upstream_opening upstream_pool
           way_connection
    telemetry: counters histogram metrics metrics_merge outcome record_line record_values
    tls: client_hello contexts interception issuer record_layer records stream upstream verification
    transport: accepting deadlines descriptor_set dialer dns_cache dns_lookup dns_message dns_query pipes relay
               relay_life resolution resolver socket_facts splice splicing stream turns unsent
    x509: leaf reading reference_identity
"""

# The commands that make modules; pip asks for names and versions before, with others.
BUILDING = {"bdist_wheel", "build", "build_ext", "develop", "editable_wheel", "install"}


def modules() -> list[str]:
    """The files of COMPILED."""
    found = []
    room = ""
    for word in COMPILED.split():
        if word.endswith(":"):
            room = word[:-1]
        else:
            found.append(f"netfw/{room}/{word}.py")
    return found


def extensions() -> list:
    """What setuptools is to build: nothing, unless NETFW_COMPILE is 1."""
    if os.environ.get("NETFW_COMPILE", "0") in ("", "0") or not BUILDING & set(sys.argv):
        return []
    from mypyc.build import mypycify

    # Types are judged by `make lint`, with plugins that a build does not have: here they are only read.
    unjudged = (
        "arg-type,assignment,attr-defined,call-arg,call-overload,func-returns-value,import,misc,override,union-attr,"
        "var-annotated"
    )
    options = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    options += [f"--disable-error-code={code}" for code in unjudged.split(",")]
    return mypycify([*options, *modules()])


setup(ext_modules=extensions())
