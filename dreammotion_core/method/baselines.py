"""The methods known by name: ours, and what it is compared with on the same model and clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dreammotion_core.method.prior import Backend
from dreammotion_core.checks import check_timesteps
from dreammotion_core.config import EditConfig
from dreammotion_core.method.editing import edit_latents
from dreammotion_core.methods.base import Method
from dreammotion_core.methods.flowedit import check_flow_model, flowedit
from dreammotion_core.methods.inversion import check_inversion, inversion_word_swap
from dreammotion_core.methods.sdedit import sdedit
from dreammotion_core.methods.sds import score_distillation


@dataclass(frozen=True)
class MethodEntry:
    """A method and what a user should know of it.

    Attributes:
        label: for people.
        edit: the method.
        check: refuses models that it cannot work with.
    """

    label: str
    edit: Method
    check: Callable[[Backend, EditConfig], None] | None = None


METHODS: Mapping[str, MethodEntry] = {
    "dreammotion": MethodEntry("DreamMotion: V-DDS with matching", edit_latents),
    "v-sds": MethodEntry("V-SDS", score_distillation),
    "sdedit": MethodEntry("SDEdit", sdedit),
    "ddim-inversion": MethodEntry("DDIM inversion and word swap", inversion_word_swap, check_inversion),
    "flowedit": MethodEntry("FlowEdit", flowedit, check_flow_model),
}
"""By the names of `EditConfig.method`."""


def method_for(config: EditConfig, *, backend: Backend) -> Method:
    """The method that the settings name, if it works with them and the model.

    Raises:
        ConfigError: if it needs another kind of model, more steps or other timesteps.
    """
    check_timesteps(config, backend)
    entry = METHODS[config.method]
    if entry.check is not None:
        entry.check(backend, config)
    return entry.edit
