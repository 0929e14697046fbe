"""Methods of editing behind one protocol: DreamMotion and what it is compared with."""

from dreammotion_core.methods.base import Method
from dreammotion_core.method.baselines import METHODS, MethodEntry, method_for

__all__ = ["METHODS", "Method", "MethodEntry", "method_for"]
