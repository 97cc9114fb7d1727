"""The administration: a REST API over the cluster's document, for the socket of a node and over HTTPS.

It knows what administrators may ask and how; the node it runs on is an ``IAdministration`` to it.
"""

from .api import Administration, administrationResource
from .server import ManagerOptions, ManagerServerFactory, socketSite
from .writing import Preparation

__all__ = [
    "Administration",
    "ManagerOptions",
    "ManagerServerFactory",
    "Preparation",
    "administrationResource",
    "socketSite",
]
