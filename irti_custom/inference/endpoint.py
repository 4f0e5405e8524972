"""The path that a `handler.py` of version 0.3.0 imports."""

from ..serving.endpoint import EndpointHandler

__all__ = ["EndpointHandler"]
