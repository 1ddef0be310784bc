"""What a request can be refused with: one class a code, each with its HTTP status. PURE.

The first seven are the service's own, the others those of every AWS JSON service's front. `message` is for a person and
says what to do.
"""

from __future__ import annotations


class Refusal(Exception):
    """The root; `code` is what `__type` says."""

    code = "InternalServerError"
    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InternalFailure(Refusal):
    """Ours."""


class InvalidRequest(Refusal):
    """The request does not have its shape, or asks for what cannot be."""

    code, status = "InvalidRequestException", 400


class ResourceNotFound(Refusal):
    """No resource has this name or ARN."""

    code, status = "ResourceNotFoundException", 400


class InvalidToken(Refusal):
    """The UpdateToken is not the resource's: somebody else changed it."""

    code, status = "InvalidTokenException", 400


class LimitExceeded(Refusal):
    """A quota."""

    code, status = "LimitExceededException", 400


class Throttled(Refusal):
    """Too many requests at a time."""

    code, status = "ThrottlingException", 400


class UnsupportedOperation(Refusal):
    """Not possible here: the policy is files, or proxy.yaml does not permit it."""

    code, status = "UnsupportedOperationException", 400


class AccessDenied(Refusal):
    """The key has no right to this."""

    code, status = "AccessDeniedException", 400


class UnrecognizedClient(Refusal):
    """Nobody knows this access key, or it was revoked."""

    code, status = "UnrecognizedClientException", 400


class InvalidSignature(Refusal):
    """The signature is not that of the key's secret over this request, or its date is off."""

    code, status = "InvalidSignatureException", 400


class IncompleteSignature(Refusal):
    """The Authorization field does not say what Signature Version 4 needs."""

    code, status = "IncompleteSignatureException", 400


class MissingAuthenticationToken(Refusal):
    """Nothing is signed."""

    code, status = "MissingAuthenticationTokenException", 400


class Malformed(Refusal):
    """The body is not a JSON object."""

    code, status = "SerializationException", 400


class UnknownOperation(Refusal):
    """X-Amz-Target names nothing that is offered."""

    code, status = "UnknownOperationException", 400
