"""`docs/clients.md`, printed from the tables: `python -m netfw.kit.document > docs/clients.md`."""

from __future__ import annotations

import sys

from netfw.kit.clients import CLIENTS
from netfw.kit.formats import FORMATS
from netfw.kit.variables import VARIABLES

_HEAD = """\
# Clients

<!-- Printed by `python -m netfw.kit.document`; change it there. -->

A proxy is of use when programs use it. Each has its own way to be told of one, and its own roots of trust. This page
says which; `netfw env` prints the settings, `netfw run` runs one command with them, and `netfw doctor` finds out what
works on this machine.

## In a minute

With netfw on the client, and the CA's certificate from whoever runs the proxy:

<!-- examples: beside a running proxy -->
```console
$ eval "$(netfw env --proxy http://egress:3128 --ca netfw-ca.pem)"     # this shell, until it ends
$ curl -s https://www.example.com/
…
$ eval "$(netfw env --unset)"                                          # the way back
$ netfw run --proxy http://egress:3128 --ca netfw-ca.pem -- curl -s https://www.example.com/     # one command
…
$ netfw doctor --proxy http://egress:3128 --ca netfw-ca.pem --tool curl https://www.example.com/   # or all
…
```

Instead of the file, its fingerprint will do: `--ca-fingerprint SHA256` takes the certificate from the proxy and
refuses any other. On the proxy's own machine both are read from the configuration.

Without netfw on the client, the proxy's listener serves what is needed:

| page | what it is |
| --- | --- |
| `/ca.pem`, `/ca.der` | the CA's certificate, as PEM and as DER |
| `/ca.p12` | the same as a trust store (PKCS#12) without keys; its password is `changeit` |
| `/ca.crl` | what the CA has revoked, once there is a list (`netfw ca crl`) |
| `/setup.sh` | a script that does what `netfw env` does; it fetches nothing, so what was read is what runs |
| `/proxy.pac` | automatic configuration for browsers; it names a way round the proxy only with `pac_direct` |

```console
$ curl -s --noproxy '*' -o setup.sh http://egress:3128/setup.sh
$ grep -A1 SHA-256 setup.sh       # read it, and compare the fingerprint with what the administrator says
# The certificate of the proxy; SHA-256:
#   …
$ eval "$(sh setup.sh)"
$ curl -s https://www.example.com/
…
$ eval "$(sh setup.sh --unset)"    # the way back
```

The pages come over plain HTTP to who has no trust yet. Compare the fingerprint before you trust the CA: who can put in
another one can read everything. The pages name the proxy as `proxy.hostname` says, else by its listener's address.

## Where the proxy wants a password

It answers 407 until it gets one. Write name and password into the proxy's address, with what is no letter or digit as
`%XX` (`%40` for `@`); nearly every client takes it from there:

```sh
export http_proxy=http://alice:secret@egress:3128 https_proxy=http://alice:secret@egress:3128
git config --global http.proxyAuthMethod basic        # git asks first, and sends it when it is asked
curl --proxy-user alice https://example.com/          # asks for the password
```

`netfw env` writes no password anywhere: set these two yourself. Browsers ask; Java needs
`-Djdk.http.auth.tunneling.disabledSchemes=""` besides, since it keeps Basic from CONNECT otherwise. An address with a
password is a secret: in a file it is 0600, in a pipeline a masked variable. Machines
are better off with a certificate, on a listener with `client_ca` (curl: `--proxy-cert`).

## What it cannot do

Variables are advice: a program can ignore them, and some do without a word. Only a network without another way out
makes the proxy the only one. `netfw nftables` prints rules for that (docs/egress.md);
`netfw doctor --bypass URL` and `--direct ADDRESS:PORT` try whether there is another way.

`NO_PROXY` is read differently by nearly every client. The kit takes names and single addresses, which all of them
understand, and refuses ranges and stars. A name stands for what is below it as well, with most. The best list is short:
let the proxy's rules allow what is local.

## Formats

"""

_TRUST = """
Files of trust go to `--bundle-dir` (default `~/.local/share/netfw`):

| file | what it is |
| --- | --- |
| `netfw-ca.pem` | the CA alone, for programs that add to their roots |
| `netfw-bundle.pem` | the system's roots and the CA, for programs that replace theirs |
| `netfw-trust.p12` | the bundle for Java; its password is `changeit` |
| `netfw-wgetrc` | the user's `.wgetrc` and the bundle, for wget |

When the system's roots or the CA change, run `netfw env` again: the bundle is a copy.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "| `--format` | use | way back |\n| --- | --- | --- |\n"]
    for form in FORMATS.values():
        use, back = form.use.replace("|", "\\|"), "`--unset`" if form.unset is not None else form.way_back
        parts.append(f"| {form.name} | `{use}` | {back} |\n")
    parts.append(_TRUST)
    parts.append("\n## Who needs what\n\nA star: as the program's documentation says, not tried by us.\n\n")
    parts.append("| client | told by | trusts by | https:// proxy | also |\n")
    parts.append("| --- | --- | --- | --- | --- |\n")
    for client in CLIENTS:
        name = client.name if client.tried else f"{client.name} \\*"
        cells = (name, _codes(client.told_by), _codes(client.trusts), client.tls_proxy.value, client.also)
        parts.append(f"| {' | '.join(cells)} |\n")
    parts.append("\n## The variables\n\n| variable | value | who reads it |\n| --- | --- | --- |\n")
    for variable in VARIABLES:
        parts.append(f"| `{variable.name}` | {variable.value.value} | {variable.readers} |\n")
    return "".join(parts)


def _codes(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


if __name__ == "__main__":
    sys.stdout.write(page())
