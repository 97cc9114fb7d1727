"""Bodies are held to their form: every fault is told at its place, as a whole implementation of JSON Schema sees it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from cftpcluster.manager._formed import faults
from cftpcluster.manager._rules import BAN
from cftpcluster.manager._tokens import MAKE

from ..config.strategies import forAll
from .described import table

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**9)
    | st.floats(allow_nan=False)
    | st.sampled_from(["read", "a", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "scopes", "x"]), inner),
    max_leaves=8,
)


def told(value: Any, form: Any) -> list[str]:
    return [str(one) for one in faults(value, form)]


class FaultsTests(SynchronousTestCase):
    def test_everyFaultHasItsPlace(self) -> None:
        assert MAKE.body is not None
        self.assertEqual(
            told({"scopes": ["read", "root", 1], "expiresSeconds": 0, "nme": "ci"}, MAKE.body.form),
            [
                "name: is required",
                "scopes[1]: expected one of read, users, full",
                "scopes[2]: expected text",
                "expiresSeconds: expected more than 0 and at most 31622400",
                'unknown key "nme"; did you mean "name"?',
            ],
        )

    def test_valuesAreNotRepeated(self) -> None:
        for form in ({"type": "string", "maxLength": 3}, {"type": "integer"}, {"enum": ["a"]}):
            self.assertNotIn("hunter2", told("hunter2", form)[0])

    def test_limits(self) -> None:
        assert BAN.body is not None
        for body, text in (
            ({"network": "192.0.2.1", "seconds": 0.5}, "seconds: expected at least 1 and at most 31622400"),
            ({"network": "192.0.2.1", "seconds": True}, "seconds: expected a number"),
            ({"network": "192.0.2.1", "reason": "x" * 201}, "reason: expected 0 to 200 characters"),
            ({"network": "\ud800"}, "network: expected text in valid Unicode"),
        ):
            self.assertEqual(told(body, BAN.body.form), [text])

    @forAll(ANYTHING)
    def test_verdictIsThatOfJSONSchema(self, value: Any) -> None:
        for route in table().known:
            form = route.body.form if route.body is not None else ""
            if isinstance(form, dict) and "allOf" not in form and "format" not in form:
                self.assertEqual(not told(value, form), Draft202012Validator(form).is_valid(value), route.name)
