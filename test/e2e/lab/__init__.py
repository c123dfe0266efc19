"""A lab of network namespaces with real SIP servers and real phones."""

from . import bodies
from .lab import DOMAIN, Lab
from .netns import cleanup_stale
from .wait import Timeout, never, until

__all__ = ["DOMAIN", "Lab", "Timeout", "bodies", "cleanup_stale", "never",
           "until"]
