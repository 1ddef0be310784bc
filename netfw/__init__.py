"""netfw: an explicit egress proxy that decides in three phases."""

__version__ = "0.1.0"
