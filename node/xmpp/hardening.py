"""Import slixmpp so that strangers' XML expands no entities: it reads the variable only then."""

import os
import warnings

os.environ["SLIXMPP_ENABLE_DEFUSEDXML"] = "true"

with warnings.catch_warnings():
    # defusedxml imports a part of itself that it has deprecated.
    warnings.filterwarnings("ignore", "defusedxml", DeprecationWarning)
    import slixmpp  # noqa: F401
