"""Installing a node: the questions of init, the files that it writes, and what is packaged.

Packaged are a unit for systemd, a drop-in for it, and a Containerfile.
"""

from node.install.questions import complete
from node.install.written import Installation, install

__all__ = ["Installation", "complete", "install"]
