"""`/setup.sh`: what `netfw env` does, for a client that has no netfw. A POSIX script to be read before it is run.

In this room: its text. It fetches nothing, needs no root, writes into one directory and prints `export` lines; the CA
is within it. Nothing of a request goes into it.
"""

from __future__ import annotations

import base64
import hashlib

from netfw.kit.formats import quote_sh
from netfw.kit.setting import STORE_PASSWORD, ProxyAddress, Setting
from netfw.kit.trust_store import SYSTEM_ROOTS, der_certificates
from netfw.kit.variables import OF_TRUST, VARIABLES, Value, java_options, java_tool_options, value_of

_PLACES = {Value.OWN_CA: "$dir/netfw-ca.pem", Value.BUNDLE: "$dir/netfw-bundle.pem", Value.WGETRC: "$dir/netfw-wgetrc"}

_HEAD = """\
#!/bin/sh
# Tells this shell's programs of a forward proxy{and_trust}. Read it, then:
#     eval "$(sh setup.sh)"               until the shell ends
#     sh setup.sh >> ~/.profile           for good
#     eval "$(sh setup.sh --unset)"       the way back
# It fetches nothing and needs no root. Standard output is for the shell, all else goes to standard error.
set -eu

# In single quotes, with every single quote in them closed, escaped and opened again.
say() {{
    printf "export %s='%s'\\n" "$1" "$(printf '%s' "$2" | sed "s/'/'\\\\\\\\''/g")"
}}

if [ "${{1:-}}" = --unset ]; then
    for name in {names}; do
        echo "unset $name"
    done
    exit 0
fi
"""

_TRUST = """
# The files of trust. NETFW_DIR names another directory.
dir=${{NETFW_DIR:-${{XDG_DATA_HOME:-$HOME/.local/share}}/netfw}}
mkdir -p "$dir"
dir=$(CDPATH='' cd "$dir" && pwd -P)
umask 022

# {count} of the proxy; SHA-256:
{fingerprints}cat > "$dir/netfw-ca.pem.new" <<'END-OF-CERTIFICATES'
{pem}END-OF-CERTIFICATES
mv -f "$dir/netfw-ca.pem.new" "$dir/netfw-ca.pem"

# Most programs replace their roots by what they are told of, so the system's come along.
roots=
for place in {places}; do
    if [ -r "$place" ]; then
        roots=$place
        break
    fi
done
if [ -n "$roots" ]; then
    cat "$dir/netfw-ca.pem" "$roots" > "$dir/netfw-bundle.pem.new"
else
    echo "setup.sh: no system roots found: only what the proxy intercepts will be trusted" >&2
    cat "$dir/netfw-ca.pem" > "$dir/netfw-bundle.pem.new"
fi
mv -f "$dir/netfw-bundle.pem.new" "$dir/netfw-bundle.pem"

# wget reads its roots from a start-up file only; the user's own goes before.
{{
    if [ -r "$HOME/.wgetrc" ]; then
        cat "$HOME/.wgetrc"
        echo
    fi
    printf 'ca_certificate = %s\\n' "$dir/netfw-bundle.pem"
}} > "$dir/netfw-wgetrc.new"
mv -f "$dir/netfw-wgetrc.new" "$dir/netfw-wgetrc"

# Java's own roots with the proxy's CA added, where there is a Java to do it. JAVA_HOME names another one.
store=
java=${{JAVA_HOME:-}}
if [ -z "$java" ] && command -v keytool > /dev/null 2>&1; then
    java=$(dirname "$(dirname "$(readlink -f "$(command -v keytool)")")")
fi
case $dir in
    *[\\ \\"\\']*) echo "setup.sh: Java's options cannot name $dir: Java is not set up" >&2 ;;
    *)
        if [ -n "$java" ] && [ -r "$java/lib/security/cacerts" ] && [ -x "$java/bin/keytool" ]; then
            rm -f "$dir/netfw-trust.store.new"
            cp "$java/lib/security/cacerts" "$dir/netfw-trust.store.new"
            chmod u+w "$dir/netfw-trust.store.new"
            if JAVA_TOOL_OPTIONS='' "$java/bin/keytool" -importcert -noprompt -alias netfw-proxy \\
                -storepass {password} -keystore "$dir/netfw-trust.store.new" \\
                -file "$dir/netfw-ca.pem" > /dev/null 2>&1; then
                mv -f "$dir/netfw-trust.store.new" "$dir/netfw-trust.store"
                store=$dir/netfw-trust.store
            else
                rm -f "$dir/netfw-trust.store.new"
                echo "setup.sh: keytool could not add the CA: Java is not set up" >&2
            fi
        fi
        ;;
esac
"""


def setup_script(proxy: ProxyAddress, authority_pem: bytes | None) -> str:
    """The script for one listener; `authority_pem` is the CA, None where nothing is intercepted."""
    setting = Setting(proxy)
    trusts = authority_pem is not None
    names = [variable.name for variable in VARIABLES if trusts or variable.value not in OF_TRUST]
    parts = [_HEAD.format(and_trust=" and of its CA" if trusts else "", names=_folded(names))]
    if authority_pem is not None:
        parts.append(_trust_part(authority_pem))
    parts.append("\n")
    for variable in VARIABLES:
        if variable.value in OF_TRUST:
            if trusts:
                parts.append(f'say {variable.name} "{_PLACES[variable.value]}"\n')
        elif variable.value is Value.JAVA:
            parts.append(_java_part(setting, trusts))
        else:
            value = value_of(variable.value, setting, None)
            assert value is not None
            parts.append(f"say {variable.name} {quote_sh(value)}\n")
    return "".join(parts)


def _trust_part(pem: bytes) -> str:
    certificates = der_certificates(pem)
    fingerprints = [hashlib.sha256(certificate).hexdigest() for certificate in certificates]
    # Printed anew: what else stands between the certificates is no matter for a script that people run.
    printed = "".join(_pem_of(certificate) for certificate in certificates)
    return _TRUST.format(
        count="The certificate" if len(certificates) == 1 else "The certificates",
        fingerprints="".join(f"#   {fingerprint}\n" for fingerprint in fingerprints),
        pem=printed,
        places=" ".join(SYSTEM_ROOTS),
        password=STORE_PASSWORD,
    )


def _java_part(setting: Setting, trusts: bool) -> str:
    plain = java_tool_options(java_options(setting.proxy, setting.no_proxy, None))
    if not trusts:
        return f"say JAVA_TOOL_OPTIONS {quote_sh(plain)}\n" if plain else ""
    options = java_tool_options(java_options(setting.proxy, setting.no_proxy, "NETFW-STORE"))
    # cacerts is JKS or PKCS#12, by Java's age: its type is found out by Java.
    kept = [option for option in options.split(" ") if "trustStoreType" not in option]
    with_store = " ".join(kept).replace("NETFW-STORE", "$store")
    lines = [
        'if [ -n "$store" ]; then',
        f'    say JAVA_TOOL_OPTIONS "{with_store}"',
        *(["else", f"    say JAVA_TOOL_OPTIONS {quote_sh(plain)}"] if plain else []),
        "fi",
    ]
    return "".join(f"{line}\n" for line in lines)


def _pem_of(certificate: bytes) -> str:
    text = base64.b64encode(certificate).decode("ascii")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def _folded(names: list[str]) -> str:
    lines = [" ".join(names[start : start + 5]) for start in range(0, len(names), 5)]
    return " \\\n        ".join(lines)
