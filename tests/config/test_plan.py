"""From what runs to what should run."""

from __future__ import annotations

from attrs import frozen
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.config.document import Listener
from cftpcluster.config.plan import Change, Start, Stop, overridden, plan

from .strategies import forAll


@frozen
class Config:
    port: int
    option: int = 0


configs = st.dictionaries(st.sampled_from("abcd"), st.builds(Config, st.integers(1, 4), st.integers(0, 1)))


def samePort(running: Config, wanted: Config) -> bool:
    return running.port == wanted.port


def free(wanted: dict[str, Config]) -> dict[str, Config]:
    """``wanted`` without the second of two on one port, as validation has it."""
    ports: dict[int, str] = {}
    return {name: config for name, config in wanted.items() if ports.setdefault(config.port, name) == name}


class PlanTests(SynchronousTestCase):
    @forAll(configs, configs)
    def test_stepsLeadToWhatIsWanted(self, before: dict[str, Config], wanted: dict[str, Config]) -> None:
        running, wanted = free(before), free(wanted)
        for step in plan(dict(running), wanted, samePort):
            match step:
                case Stop(name):
                    del running[name]
                case Change(name, config):
                    self.assertEqual(running[name].port, config.port)
                    running[name] = config
                case Start(name, config):
                    self.assertNotIn(name, running)
                    self.assertNotIn(config.port, {one.port for one in running.values()})
                    running[name] = config
        self.assertEqual(running, wanted)

    @forAll(configs)
    def test_whatIsSoAlreadyNeedsNothing(self, running: dict[str, Config]) -> None:
        self.assertEqual(list(plan(running, dict(running), samePort)), [])

    @forAll(configs, configs)
    def test_stopsThenChangesThenStarts(self, running: dict[str, Config], wanted: dict[str, Config]) -> None:
        kinds = [(Stop, Change, Start).index(type(step)) for step in plan(running, wanted, samePort)]
        self.assertEqual(kinds, sorted(kinds))

    def test_listenersSwapPorts(self) -> None:
        steps = plan({"a": Config(1), "b": Config(2)}, {"a": Config(2), "b": Config(1)}, samePort)
        self.assertEqual(list(steps), [Stop("a"), Stop("b"), Start("a", Config(2)), Start("b", Config(1))])

    def test_whatKeepsItsPortGoesOn(self) -> None:
        self.assertEqual(list(plan({"a": Config(1)}, {"a": Config(1, 5)}, samePort)), [Change("a", Config(1, 5))])


class OverrideTests(SynchronousTestCase):
    def test_nodeOverridesPortAndOptions(self) -> None:
        listener = Listener(name="ftp", kind="ftp", port=2121, options={"tls": "off", "passivePorts": "1-2"})
        mine = overridden(listener, {"port": 21, "passivePorts": "3-4"})
        self.assertEqual((mine.port, mine.options), (21, {"tls": "off", "passivePorts": "3-4"}))
        self.assertEqual(overridden(listener, {}), listener)
