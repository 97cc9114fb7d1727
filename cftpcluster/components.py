"""The kinds of components that a node can build: built-in ones and third parties' alike, found as twistd plug-ins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from twisted.logger import Logger
from twisted.plugin import getPlugins

from .interfaces import IBackendFactory, ICheckerFactory, IComponentFactory, IObserverFactory, IServerFactory

log = Logger()

FACTORY_INTERFACES: Mapping[str, type[IComponentFactory]] = {
    "backends": IBackendFactory,
    "checkers": ICheckerFactory,
    "observers": IObserverFactory,
    "listeners": IServerFactory,
}
"""The document's section to the interface of the factories that build its objects."""


@frozen
class Components:
    """Factories by section and kind.

    :ivar factories: section name to kind to factory.
    """

    factories: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @classmethod
    def gather(cls) -> Components:
        """Find every plug-in.

        Of two factories of one kind the first found stays, and the other is named in the log.
        """
        factories: dict[str, dict[str, Any]] = {section: {} for section in FACTORY_INTERFACES}
        for section, interface in FACTORY_INTERFACES.items():
            for factory in getPlugins(interface):
                present = factories[section].setdefault(factory.kind, factory)
                if present is not factory:
                    log.warn("two plug-ins for {section} of kind {kind}: using {present!r}, not {factory!r}",
                             section=section, kind=factory.kind, present=present, factory=factory)  # fmt: skip
        return cls(factories)

    def including(self, *servers: Any) -> Components:
        """With factories of listeners that the node makes itself, since they serve its own parts."""
        own = {factory.kind: factory for factory in servers}
        return Components({**self.factories, "listeners": {**self.factories["listeners"], **own}})

    @property
    def kinds(self) -> Mapping[str, Mapping[str, type]]:
        """Section to kind to the class of its options, as validation wants it."""
        return {
            section: {kind: factory.configClass for kind, factory in factories.items()}
            for section, factories in self.factories.items()
        }
