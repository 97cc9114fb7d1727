"""A time of day that a test sets, for a process that has this folder on its path: the true one, and as many seconds as
the file that ``CFTPCLUSTER_CLOCK`` names says. Monotonic time stays what it is.
"""

import datetime
import os
import time

_true = time.time
_path = os.environ["CFTPCLUSTER_CLOCK"]


def _shifted() -> float:
    try:
        with open(_path) as file:
            return _true() + float(file.read() or 0)
    except FileNotFoundError:
        return _true()


class _ShiftedDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz: "datetime.tzinfo | None" = None) -> "_ShiftedDatetime":
        return cls.fromtimestamp(_shifted(), tz)


time.time = _shifted
datetime.datetime = _ShiftedDatetime
