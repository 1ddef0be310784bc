"""The outputs that deliver batches to servers, made from the configuration: a spool, a carrier and a log each.

What sends by HTTP, and boto3, are loaded only where an output asks for them. Not here: outputs of other kinds
(`record_assembly`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from netfw import __version__
from netfw.config.delivery_model import AwsService, DeliverySection, Signal
from netfw.config.log_model import EXCHANGE_TYPES, OutputSection, RecordForm
from netfw.telemetry import otlp_message
from netfw.telemetry.carrier import JSON_LINES, TEXT_LINES, Carrier
from netfw.telemetry.record_fields import JSON_FORMATS
from netfw.telemetry.record_log import Printer
from netfw.telemetry.record_printer import Finish, as_line
from netfw.telemetry.spool import BatchLimits, Spool
from netfw.telemetry.spooled_destination import SpooledDestination, SpooledLog
from netfw.telemetry.w3c_file import with_columns

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
    carrier, finish = _carrier(section, credentials, reactor, _form(output))
    share = section.spool.size // processes
    limits = BatchLimits(section.batch.records, min(section.batch.size, share // _BATCHES), section.batch.wait)
    wanted = section.spool
    spool = Spool(wanted.path, size=share, limits=limits, drop=wanted.drop.value, sync=wanted.sync)
    destination = SpooledDestination(spool, carrier)
    return SpooledLog(destination, printer=printer(output, finish), queued_records=output.queue)


def load_carriers(outputs: Iterable[OutputSection]) -> None:
    """Import what sends for these. That takes up to a second: for a thread, before a running proxy builds them."""
    for output in outputs:
        if output.delivery is not None:
            aws = output.delivery.aws is not None
            import_module("netfw.telemetry.aws_carriers" if aws else "netfw.telemetry.http_carrier")


def _form(output: OutputSection) -> RecordForm:
    """What most of its records are; with columns they all are (`config.format_rules`)."""
    return output.form(next((kind for kind in EXCHANGE_TYPES if kind in output.types), output.types[0]))


def _carrier(
    section: DeliverySection, credentials: Callable[[], Any], reactor: Any, form: RecordForm
) -> tuple[Carrier, Finish]:
    """What sends, and what it wants of a record. A new kind of server has its line here."""
    if section.aws is not None:
        from netfw.telemetry.aws_carriers import CARRIERS, with_moment

        service = section.aws.service
        finish: Finish = with_moment if service is AwsService.CLOUDWATCH else as_line
        if form.format == "w3c":
            finish = with_columns(form.fields)
        return CARRIERS[service](section.aws, credentials, form), finish
    from netfw.telemetry.http_carrier import HttpCarrier

    posts, otlp = section.posts, section.otlp
    assert posts is not None
    if otlp is None:
        kind = JSON_LINES if form.format in JSON_FORMATS else TEXT_LINES
        return HttpCarrier(
            posts.url, credentials, reactor=reactor, compress=posts.compress, content_type=kind, shown=posts.shown
        ), as_line
    resource = {"service.name": "netfw", "service.version": __version__, "host.name": socket.gethostname()}
    carrier = HttpCarrier(
        posts.url,
        credentials,
        reactor=reactor,
        compress=posts.compress,
        content_type=otlp_message.CONTENT_TYPE,
        shown=posts.shown,
        envelope=otlp_message.envelope(otlp.signal.value, {**resource, **otlp.resource}, __version__),
        accepted=otlp_message.accepted,
    )
    return carrier, otlp_message.log_record if otlp.signal is Signal.LOGS else otlp_message.span
