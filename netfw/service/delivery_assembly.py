"""The outputs that deliver batches to servers, made from the configuration: a spool, a carrier and a log each.

What sends by HTTP, and boto3, are loaded only where an output asks for them. Not here: outputs of other kinds
(`record_assembly`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netfw.config.delivery_model import DeliverySection
from netfw.config.log_model import OutputSection
from netfw.telemetry.carrier import Carrier
from netfw.telemetry.record_log import Printer
from netfw.telemetry.record_printer import Finish, as_line
from netfw.telemetry.spool import BatchLimits, Spool
from netfw.telemetry.spooled_destination import SpooledDestination, SpooledLog

# A spool that holds fewer batches than this could not keep the newest and deliver the oldest.
_BATCHES = 4


def build_delivery(
    output: OutputSection,
    credentials: Callable[[], Any],
    printer: Callable[[OutputSection, Finish], Printer | None],
    *,
    reactor: Any,
    processes: int,
) -> SpooledLog:
    """The log of this output. `credentials` gives those in force; `processes`: how many share the spool's size."""
    section = output.delivery
    assert section is not None
    carrier, finish = _carrier(section, credentials, reactor)
    share = section.spool.size // processes
    limits = BatchLimits(section.batch.records, min(section.batch.size, share // _BATCHES), section.batch.wait)
    spool = Spool(section.spool.path, size=share, limits=limits, drop=section.spool.drop.value)
    destination = SpooledDestination(spool, carrier)
    return SpooledLog(destination, printer=printer(output, finish), queued_records=output.queue)


def _carrier(section: DeliverySection, credentials: Callable[[], Any], reactor: Any) -> tuple[Carrier, Finish]:
    """What sends, and what it wants of a record. A new kind of server has its line here."""
    posts = section.posts
    assert posts is not None
    from netfw.telemetry.http_carrier import HttpCarrier

    return HttpCarrier(posts.url, credentials, reactor=reactor, compress=posts.compress), as_line
