"""HTML pages that stand alone: no script, style, font or picture is fetched from anywhere."""
