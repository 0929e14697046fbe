"""Everything that can go wrong, as one tree.

    DreamMotionError
      InputError (ValueError)        what the caller passed cannot be used
        VideoError                   a clip that cannot be read or edited
        MaskError                    a mask that does not fit its clip
        PromptError                  a prompt that is missing, too long or changes nothing
        ConfigError                  a setting out of its range
        MetricError                  a figure that these clips do not allow
        StateError                   a kept edit, its record or its project that cannot be used
      BackendError (RuntimeError)    the model cannot do its part
        ModelLoadError               weights missing, incomplete, unknown or unreachable
        OutOfMemoryError             the device ran out of memory
        DeviceLostError              the device failed or went away in the middle of the work
        KeySiteError                 attention keys could not be captured
        KeyLayoutError               captured keys have an unexpected shape
      NumericsError (ArithmeticError)  a non-finite direction, gradient or picture
      OutputError (OSError)          a result could not be written; nothing half-written is left

Every message says what was received, what is accepted, and what to do next.
"""


class DreamMotionError(Exception):
    """Root of all errors this library raises on purpose."""


class InputError(DreamMotionError, ValueError):
    """What the caller passed cannot be used."""


class VideoError(InputError):
    """A clip that cannot be read or edited."""


class MaskError(InputError):
    """A mask that does not fit its clip."""


class PromptError(InputError):
    """A prompt that is missing, too long or changes nothing."""


class ConfigError(InputError):
    """A setting out of its range, or an unknown setting."""


class MetricError(InputError):
    """A figure that these clips do not allow."""


class StateError(InputError):
    """A kept edit, its record or its project that cannot be used: damaged, foreign, of another machine."""


class BackendError(DreamMotionError, RuntimeError):
    """The model cannot do its part."""


class ModelLoadError(BackendError):
    """Weights are missing, incomplete, unknown or unreachable."""


class OutOfMemoryError(BackendError):
    """The device ran out of memory."""


class DeviceLostError(BackendError):
    """The device failed or went away in the middle of the work."""


class KeySiteError(BackendError):
    """Attention keys could not be captured at the named sites."""


class KeyLayoutError(BackendError):
    """Captured keys do not have the shape that their layout promises."""


class NumericsError(DreamMotionError, ArithmeticError):
    """A direction, gradient or picture became infinite or not a number."""


class OutputError(DreamMotionError, OSError):
    """A result could not be written. Nothing half-written is left behind."""


def reason_of(error: BaseException) -> str:
    """The first line of a library's error, at most 300 characters; its class if it has no text."""
    return (str(error).strip() or type(error).__name__).split("\n")[0][:300]
