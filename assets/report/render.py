"""Templates to HTML. Whatever a corpus says is escaped, and what is no sign that one sees is made one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from validation.visible import visible

_TEMPLATES = Path(__file__).parent / "templates"
_MINUTES_BELOW_H = 0.1
_WHOLE_FROM_H = 1000.0


def render(template: str, **context: Any) -> bytes:
    """One page, UTF-8."""
    return _environment().get_template(template).render(context).encode("utf-8")


def hours_text(hours: float) -> str:
    """Hours for a person, in minutes where there are few."""
    if not round(hours, 7):
        return "0"
    if hours < _MINUTES_BELOW_H:
        minutes = 60 * hours
        return f"{minutes:.2f} min" if minutes < 1 else f"{minutes:.1f} min"
    return f"{hours:,.0f} h" if hours >= _WHOLE_FROM_H else f"{hours:.2f} h"


def percent_text(part: float, whole: float) -> str:
    """A share for a person; nothing where there is no whole."""
    if not whole:
        return ""
    share = 100 * part / whole
    if share in (0.0, 100.0):
        return f"{share:.0f} %"
    return "< 0.1 %" if share < 0.1 else "> 99.9 %" if share > 99.9 else f"{share:.1f} %"


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(n=lambda value: f"{value:,}", hours=hours_text, pct=percent_text, cut=_cut)
    # Our own file; as it is, or its quotes would be escaped.
    environment.globals["style"] = Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704
    return environment
