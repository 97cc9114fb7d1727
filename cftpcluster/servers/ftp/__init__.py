"""FTP and FTPS: wire words to file-system verbs.

:mod:`.control` takes lines, runs the commands that :mod:`.access`, :mod:`.information`, :mod:`.parameters`,
:mod:`.transfer`, :mod:`.listing` and :mod:`.files` name in their tables, and sends their answers. A command works with
its :class:`~.session.Session`; bytes of files travel over :mod:`.data` connections, which come from a :mod:`.channel`.
"""

from .factory import FTPServer, ftpServerFactory
from .options import FTPOptions, PassiveAddress

__all__ = ["FTPOptions", "FTPServer", "PassiveAddress", "ftpServerFactory"]
