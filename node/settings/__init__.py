"""What a person sets: dataclasses that the command line, a TOML file and the environment fill.

Every field's docstring is also its help text, so a setting is described in one place.
"""

from node.settings.audio import AudioSettings
from node.settings.limits import LimitSettings
from node.settings.run import RunSettings
from node.settings.shared import AccountSettings, OverlaySettings
from node.settings.status import StatusSettings

__all__ = [
    "AccountSettings",
    "AudioSettings",
    "LimitSettings",
    "OverlaySettings",
    "RunSettings",
    "StatusSettings",
]
