"""The settings over the REST API."""

from __future__ import annotations

from cftpcluster.config.changes import MergeSettings
from cftpcluster.config.document import Settings

from .support import AdministrationTestCase


class SettingsTests(AdministrationTestCase):
    def test_shownWithTheirRevision(self) -> None:
        answer = self.ask("GET", "settings")
        self.assertEqual(answer.json["banAfterFailures"], Settings().banAfterFailures)
        self.assertEqual(answer.headers["ETag"], f'"{self.cluster.document.settings.revision}"')
        self.ask("GET", "settings", status=304, If_None_Match=answer.headers["ETag"])

    def test_changedKeyByKey(self) -> None:
        answer = self.ask("PATCH", "settings", {"banAfterFailures": 5, "branding": {"name": "Ours"}})
        self.assertEqual(answer.json["revision"], self.revision)
        self.ask("PATCH", "settings", {"banAfterFailures": None, "banSeconds": 60})
        settings = self.cluster.document.settings
        self.assertEqual((settings.banAfterFailures, settings.banSeconds), (Settings().banAfterFailures, 60))
        self.assertEqual(settings.branding.name, "Ours")

    def test_nothingNewIsNoRevision(self) -> None:
        self.assertEqual(self.ask("PATCH", "settings", {"banSeconds": 3600}).json["revision"], self.revision)

    def test_mistakesAreToldByTheirKeys(self) -> None:
        before = self.revision
        for key, value, path in (("banSeconds", "x", "banSeconds"), ("neverBan", ["nowhere"], "neverBan[0]")):
            problem = self.ask("PATCH", "settings", {key: value}, 422).json
            self.assertEqual([one["path"] for one in problem["errors"]], [path])
        self.assertIn("unknown key", self.ask("PATCH", "settings", {"banSecond": 1}, 422).json["errors"][0]["message"])
        self.ask("PATCH", "settings", ["x"], 400)
        self.assertEqual(self.revision, before)

    def test_somebodyElseCameFirst(self) -> None:
        tag = self.ask("GET", "settings").headers["ETag"]
        self.cluster.node.change(MergeSettings({"banSeconds": 7}))
        problem = self.ask("PATCH", "settings", {"banSeconds": 9}, 412, If_Match=tag).json
        self.assertEqual(problem["current"]["banSeconds"], 7)
        now = f'"{self.cluster.document.settings.revision}"'
        self.cluster.node.beforeAppend = lambda: self.cluster.node.change(MergeSettings({"banSeconds": 8}))
        self.ask("PATCH", "settings", {"banSeconds": 9}, 412, If_Match=now)
        self.assertEqual(self.cluster.document.settings.banSeconds, 8)
