"""Colours and type of the page: warm paper, ink, one accent. The details are in static/page.css."""

from __future__ import annotations

import gradio as gr

_INK, _PAPER, _CARD, _LINE = "#1f1c18", "#f7f4ee", "#fffdf9", "#e4ddd1"
_INK_DARK, _PAPER_DARK, _CARD_DARK, _LINE_DARK = "#efe9df", "#15130f", "#1e1b16", "#37322a"
_MUTED, _MUTED_DARK = "#6c655a", "#a79f91"
_ACCENT, _ACCENT_HOVER, _ACCENT_DARK = "#b01e55", "#8f1443", "#ff7aa5"


_COLOURS = {
    "body_background_fill": (_PAPER, _PAPER_DARK),
    "body_text_color": (_INK, _INK_DARK),
    "body_text_color_subdued": (_MUTED, _MUTED_DARK),
    "background_fill_primary": (_CARD, _CARD_DARK),
    "background_fill_secondary": (_PAPER, _PAPER_DARK),
    "border_color_primary": (_LINE, _LINE_DARK),
    "border_color_accent": (_ACCENT, _ACCENT_DARK),
    "block_background_fill": (_CARD, _CARD_DARK),
    "block_border_color": (_LINE, _LINE_DARK),
    "block_label_text_color": (_MUTED, _MUTED_DARK),
    "block_title_text_color": (_INK, _INK_DARK),
    "input_background_fill": ("#ffffff", "#262219"),
    "input_border_color": (_LINE, _LINE_DARK),
    "input_border_color_focus": (_ACCENT, _ACCENT_DARK),
    "slider_color": (_ACCENT, _ACCENT_DARK),
    "checkbox_background_color_selected": (_ACCENT, _ACCENT_DARK),
    "checkbox_border_color_selected": (_ACCENT, _ACCENT_DARK),
    "checkbox_label_background_fill": ("transparent", "transparent"),
    "button_primary_background_fill": (_ACCENT, "#bd2f66"),
    "button_primary_background_fill_hover": (_ACCENT_HOVER, "#d3437b"),
    "button_primary_border_color": (_ACCENT, "#bd2f66"),
    "button_primary_text_color": ("#ffffff", "#ffffff"),
    "button_secondary_background_fill": (_CARD, _CARD_DARK),
    "button_secondary_background_fill_hover": (_PAPER, "#2a251e"),
    "button_secondary_border_color": (_LINE, _LINE_DARK),
    "button_secondary_text_color": (_INK, _INK_DARK),
    "link_text_color": (_ACCENT, _ACCENT_DARK),
}
"""Gradio's names of colours: (light, dark)."""

_SETTINGS = {
    "color_accent": _ACCENT,
    "block_shadow": "none",
    "block_title_text_weight": "600",
    "button_border_width": "1px",
    "input_border_width": "1px",
    "button_large_text_weight": "600",
}
"""The same in light and dark."""


def page_theme() -> gr.themes.Base:
    """The theme for `launch`. Light and dark follow the visitor's system; no font is fetched."""
    sans = (
        "Inter",
        "ui-sans-serif",
        "system-ui",
        "Segoe UI",
        "Helvetica Neue",
        "Liberation Sans",
        "sans-serif",
    )
    mono = ("ui-monospace", "SF Mono", "Menlo", "Liberation Mono", "monospace")
    theme = gr.themes.Base(font=sans, font_mono=mono, radius_size=gr.themes.sizes.radius_md)
    dark = {f"{name}_dark": colours[1] for name, colours in _COLOURS.items()}
    return theme.set(**_SETTINGS, **{name: colours[0] for name, colours in _COLOURS.items()}, **dark)
