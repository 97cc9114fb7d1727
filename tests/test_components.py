"""The kinds of components that come with the product."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from cftpcluster.components import FACTORY_INTERFACES, Components


class ComponentsTests(SynchronousTestCase):
    def test_everyBuiltInKindIsFound(self) -> None:
        kinds = {section: set(found) for section, found in Components.gather().kinds.items()}
        self.assertLessEqual({"local", "memory"}, kinds["backends"])
        self.assertLessEqual({"users"}, kinds["checkers"])
        self.assertLessEqual({"log"}, kinds["observers"])
        self.assertLessEqual({"ftp", "sftp", "web"}, kinds["listeners"])

    def test_everyFactoryKeepsItsInterface(self) -> None:
        for section, factories in Components.gather().factories.items():
            for kind, factory in factories.items():
                self.assertTrue(verifyObject(FACTORY_INTERFACES[section], factory), (section, kind))
                self.assertEqual(factory.kind, kind)
                self.assertTrue(factory.summary)

    def test_nodeAddsItsOwnListeners(self) -> None:
        class Own:
            kind = "own"
            configClass = dict

        components = Components.gather().including(Own())
        self.assertIs(components.kinds["listeners"]["own"], dict)
        self.assertIn("ftp", components.kinds["listeners"])
