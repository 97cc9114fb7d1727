"""Tests of client networks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.networks import PRIVATE_NETWORKS, AddressRule, Networks, countedAs, parseAddress, parseNetwork


class NetworksTests(SynchronousTestCase):
    def test_holdsTheAddressesOfItsNetworks(self) -> None:
        networks = Networks.parse(["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"])
        for address in (
            "192.0.2.0",
            "192.0.2.255",
            "2001:db8::1",
            "198.51.100.7",
            "::ffff:192.0.2.1",
            "2001:db8::1%eth0",
        ):
            self.assertIn(address, networks)
        for address in ("192.0.3.0", "2001:db9::", "198.51.100.8", "::1", "localhost", "", "192.0.2.1.", "192.0.2.01"):
            self.assertNotIn(address, networks)

    def test_networksOfMappedAddressesAreThoseOfIPv4(self) -> None:
        self.assertIn("192.0.2.1", Networks.parse(["::ffff:192.0.2.0/120"]))
        self.assertNotIn("192.0.3.1", Networks.parse(["::ffff:192.0.2.0/120"]))

    def test_whatIsNoNetworkIsRefused(self) -> None:
        for text in ("", "x", "192.0.2.1/24", "192.0.2.0/33", "192.0.2", "localhost", "192.0.2.0/24 "):
            self.assertRaises(ValueError, parseNetwork, text)

    def test_zonesAreNoPartOfNetworks(self) -> None:
        for text in ("fe80::1%eth0", "fe80::1%a\n    bind *:1", "fe80::%a/64"):
            self.assertRaises(ValueError, parseNetwork, text)

    def test_whatIsNoAddressIsRefused(self) -> None:
        for text in ("", "localhost", "192.0.2.0/24", "1", "::1::"):
            self.assertRaises(ValueError, parseAddress, text)

    def test_privateNetworksAreNetworks(self) -> None:
        private = Networks.parse(PRIVATE_NETWORKS)
        for address in ("127.0.0.9", "::1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "fd00::1", "fe80::1%eth0"):
            self.assertIn(address, private)
        for address in ("172.32.0.1", "8.8.8.8", "2001:db8::1", "0.0.0.0", "::"):
            self.assertNotIn(address, private)


class RuleTests(SynchronousTestCase):
    inner = Networks.parse(["10.0.0.0/8"])
    one = Networks.parse(["10.0.0.1"])

    def test_withoutListsAllMayCome(self) -> None:
        for address in ("10.0.0.1", "::1", "somewhere"):
            self.assertTrue(AddressRule().admits(address))

    def test_withAllowOnlyThose(self) -> None:
        rule = AddressRule(allow=self.inner)
        self.assertEqual([rule.admits(each) for each in ("10.9.9.9", "11.0.0.1", "x")], [True, False, False])

    def test_denyIsStronger(self) -> None:
        rule = AddressRule(allow=self.inner, deny=self.one)
        self.assertEqual(
            [rule.admits(each) for each in ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2")], [False, False, True]
        )
        rule = AddressRule(deny=self.one)
        self.assertEqual([rule.admits(each) for each in ("10.0.0.1", "11.0.0.1", "x")], [False, True, False])


class CountingTests(SynchronousTestCase):
    def test_wholeSixtyFourIsOneClient(self) -> None:
        self.assertEqual(countedAs("2001:db8:1:2:3::4"), countedAs("2001:db8:1:2::"))
        self.assertNotEqual(countedAs("2001:db8:1:2::1"), countedAs("2001:db8:1:3::1"))

    def test_addressesOfIPv4CountAlone(self) -> None:
        self.assertEqual(countedAs("192.0.2.1"), "192.0.2.1")
        self.assertEqual(countedAs("::ffff:192.0.2.1"), "192.0.2.1")
        self.assertEqual(countedAs("unix"), "unix")
