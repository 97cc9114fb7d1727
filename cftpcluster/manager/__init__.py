"""The administration: a REST API over the cluster's document, for the socket of a node and over HTTPS.

It knows what administrators may ask and how; the node it runs on is an ``IAdministration`` to it.
"""

from ._status import SERIES
from .api import Administration, administrationResource
from .happened import ACTION as EVENTS
from .happened import Happened
from .revisions import ACTION as HISTORY
from .revisions import Revisions
from .server import ManagerOptions, ManagerServerFactory, socketSite
from .underway import ACTION as TRANSFERS
from .underway import UnderWay
from .writing import Preparation

__all__ = [
    "EVENTS",
    "HISTORY",
    "Administration",
    "Happened",
    "ManagerOptions",
    "ManagerServerFactory",
    "Preparation",
    "Revisions",
    "SERIES",
    "TRANSFERS",
    "UnderWay",
    "administrationResource",
    "socketSite",
]
