"""Settings to compare on one clip, seed and model: parts of the method switched off, and the baselines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dreammotion_core.config import EditConfig
from dreammotion_core.errors import ConfigError


@dataclass(frozen=True)
class Variant:
    """What is changed of the settings that all others share.

    Attributes:
        name: short stable name.
        label: for people.
        changes: settings and their values.
    """

    name: str
    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    def of(self, config: EditConfig) -> EditConfig:
        """The shared settings with this variant's changes.

        Raises:
            ConfigError: if a change does not fit the other settings.
        """
        return config.with_changes(**self.changes)


# Named, so that a row of a table is what its label says whatever method the shared settings name.
_OURS = {"method": "dreammotion"}
_WITHOUT_SPATIAL = {"spatial_weight": 0.0}
_WITHOUT_TEMPORAL = {"temporal_weight": 0.0}
_WITHOUT_MATCHING = _WITHOUT_SPATIAL | _WITHOUT_TEMPORAL
_WHOLE_FRAME = {"use_mask": False}

_KNOWN = (
    Variant("dreammotion", "DreamMotion", _OURS),
    Variant("no-matching", "without S-SSM and T-SSM (DDS only)", _OURS | _WITHOUT_MATCHING),
    Variant("no-temporal", "without T-SSM", _OURS | _WITHOUT_TEMPORAL),
    Variant("no-spatial", "without S-SSM", _OURS | _WITHOUT_SPATIAL),
    Variant("no-mask", "without masks", _OURS | _WHOLE_FRAME),
    Variant("v-sds", "V-SDS", {"method": "v-sds"}),
    Variant("sdedit", "SDEdit", {"method": "sdedit"} | _WHOLE_FRAME),
    Variant("ddim-inversion", "DDIM inversion and word swap", {"method": "ddim-inversion"} | _WHOLE_FRAME),
    Variant("flowedit", "FlowEdit", {"method": "flowedit"} | _WHOLE_FRAME),
)
VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in _KNOWN}
"""All variants by name. Baselines work on the whole frame, as they were published."""

ABLATION = ("no-matching", "no-temporal", "no-spatial", "dreammotion", "no-mask")
"""Of the ablation board: DDS only, with spatial, with temporal, with both, and both without a mask."""


def known_variants(names: Iterable[str]) -> tuple[Variant, ...]:
    """The variants of some names, in that order, each once.

    Raises:
        ConfigError: if there is none of a name, or no name at all.
    """
    wanted = list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in VARIANTS]
    if unknown or not wanted:
        said = f"there is no variant {', '.join(unknown)}" if unknown else "no variant was chosen"
        raise ConfigError(f"{said}; known are: {', '.join(VARIANTS)}")
    return tuple(VARIANTS[name] for name in wanted)
