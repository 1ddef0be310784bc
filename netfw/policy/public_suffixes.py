"""Names under which anybody can have a name: common public suffixes, for warnings only.

A rule that allows everything below one of these allows the whole world. The list is short on purpose and decides
nothing; `lint_policy` takes a longer one.
"""

from __future__ import annotations

_TOP_LEVEL = """
    com org net edu gov mil int info biz name io ai app dev cloud co me tv cc xyz online site shop store tech top club
    live page link blog eu us uk de fr it es nl be ch at pl se no fi dk ie pt cz sk hu ro bg gr ru ua tr il in cn jp kr
    tw hk sg my th vn id ph au nz ca mx br ar cl pe za ng ke eg ae sa ir pk bd lk
"""
_SECOND_LEVEL = """
    co.uk org.uk ac.uk gov.uk com.au net.au org.au co.nz org.nz co.jp ne.jp or.jp ac.jp com.br com.cn com.tw com.hk
    com.sg com.my com.mx com.ar com.tr co.in co.kr co.za co.il com.pl com.ua
"""
_SHARED_HOSTING = """
    github.io gitlab.io githubusercontent.com pages.dev workers.dev netlify.app vercel.app herokuapp.com appspot.com
    web.app firebaseapp.com cloudfunctions.net run.app azurewebsites.net blob.core.windows.net cloudapp.net
    azureedge.net azurefd.net trafficmanager.net cloudfront.net amazonaws.com s3.amazonaws.com elasticbeanstalk.com
    execute-api.us-east-1.amazonaws.com on.aws storage.googleapis.com digitaloceanspaces.com fastly.net
    b-cdn.net ngrok.io ngrok-free.app trycloudflare.com duckdns.org dyndns.org no-ip.org glitch.me repl.co onrender.com
    fly.dev surge.sh blogspot.com wordpress.com
"""

COMMON_SUFFIXES: frozenset[str] = frozenset((_TOP_LEVEL + _SECOND_LEVEL + _SHARED_HOSTING).split())
