"""What nodes are to do, over the API."""

from __future__ import annotations

from .support import AdministrationTestCase


class ActionTests(AdministrationTestCase):
    def test_nodeDoesIt(self) -> None:
        self.cluster.node.answers.append({"sessions": 3})
        answer = self.ask("POST", "nodes/node-a/drain", {"seconds": 5}).json
        self.assertEqual(answer, {"node": "node-a", "sessions": 3})
        ((node, action, arguments, author),) = self.cluster.node.performed
        self.assertEqual((node, action, arguments, author.role), ("node-a", "drain", {"seconds": 5}, "full"))

    def test_branchesAreTheNodes(self) -> None:
        for method, path, body, action in (
            ("GET", "branches", None, "branches"),
            ("GET", "branches/1-9-ab", None, "branch"),
            ("POST", "branches/1-9-ab/apply", {"only": ["settings"]}, "applyBranch"),
            ("DELETE", "branches/1-9-ab", None, "discardBranch"),
        ):
            self.ask(method, f"nodes/node-a/{path}", body)
            self.assertEqual(self.cluster.node.performed[-1][1], action)
        self.assertEqual(self.cluster.node.performed[2][2], {"only": ["settings"], "id": "1-9-ab"})
        self.ask("POST", "nodes/node-a/branches/1-9-ab/apply", {"id": "other"}, status=422)
        self.ask("GET", "nodes/nowhere/branches", status=404)

    def test_unknownNodesActionsAndArgumentsAreRefused(self) -> None:
        self.ask("POST", "nodes/nowhere/drain", {}, status=404)
        self.ask("POST", "nodes/node-a/explode", {}, status=404)
        self.ask("POST", "nodes/node-a/resume", {"seconds": 5}, status=422)
        self.ask("POST", "nodes/node-a/drain?seconds=5", {}, status=400)
        self.assertEqual(self.cluster.node.performed, [])
