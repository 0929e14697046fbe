"""The paper's tables in kind: methods and measures over pairs of clip and prompt."""
