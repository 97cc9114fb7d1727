"""What everything that speaks HTTP shares: a strict front, problem details, sessions in signed cookies, pages.

It serves no route of its own, and knows neither files nor administration.
"""

from ._assets import Assets
from ._bodies import jsonBody, queryBytes, queryFlag, queryNumber, refuseOthers
from ._channel import Patience
from ._forms import FormLogin
from ._pages import Pages, templatesOf
from ._problems import HTTPProblem, answerProblems, encodeJSON, jsonAnswer, problemOf
from ._request import JSON_BYTES, BodyCutShort, Request
from ._routing import RoutedResource, toTheEnd
from ._sessions import (
    CSRF_HEADER,
    SAFE_METHODS,
    Session,
    Sessions,
    VerifiedLogins,
    basicCredentials,
    isForeign,
)
from ._site import Site

__all__ = [
    "CSRF_HEADER",
    "JSON_BYTES",
    "SAFE_METHODS",
    "Assets",
    "BodyCutShort",
    "FormLogin",
    "HTTPProblem",
    "Pages",
    "Patience",
    "Request",
    "RoutedResource",
    "Session",
    "Sessions",
    "Site",
    "VerifiedLogins",
    "answerProblems",
    "basicCredentials",
    "encodeJSON",
    "isForeign",
    "jsonAnswer",
    "jsonBody",
    "problemOf",
    "queryBytes",
    "queryFlag",
    "queryNumber",
    "refuseOthers",
    "templatesOf",
    "toTheEnd",
]
