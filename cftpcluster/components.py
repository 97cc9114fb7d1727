"""The kinds of components that this node can build: built-in ones and third parties' alike, found as twistd plug-ins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    def gather(cls, servers: Iterable[Any] = ()) -> Components:
        """Find every plug-in; ``servers`` are factories that the node makes itself, since they need its own parts.

        Of two factories of one kind the first found stays, and the other is named in the log.
        """
        factories: dict[str, dict[str, Any]] = {section: {} for section in FACTORY_INTERFACES}
        factories["listeners"] = {factory.kind: factory for factory in servers}
        for section, interface in FACTORY_INTERFACES.items():
            for factory in getPlugins(interface):
                present = factories[section].setdefault(factory.kind, factory)
                if present is not factory:
                    log.warn("two plug-ins for {section} of kind {kind}: using {present!r}, not {factory!r}",
                             section=section, kind=factory.kind, present=present, factory=factory)  # fmt: skip
        return cls(factories)

    @property
    def kinds(self) -> Mapping[str, Mapping[str, type]]:
        """Section to kind to the class of its options, as validation wants it."""
        return {
            section: {kind: factory.configClass for kind, factory in factories.items()}
            for section, factories in self.factories.items()
        }
