"""A headless browser for tests of pages, and what is measured in it."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location(
    "browser", Path(__file__).parents[4] / "tools" / "browser.py"
)
browser = importlib.util.module_from_spec(spec)
spec.loader.exec_module(browser)

NO_CHROMIUM = pytest.mark.skipif(browser.PROGRAM is None, reason="no chromium is installed")
AXE = Path(importlib.util.find_spec("axe_core_python").origin).with_name("axe.min.js")
OVERLAPS = """
() => {
  const leaves = [...document.querySelectorAll("body *:not(svg *)")].filter(
    e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
      && e.checkVisibility({opacityProperty: true, contentVisibilityAuto: true})
      && !e.closest(".tokens, .skip, .sr, q"));
  const boxes = leaves.flatMap(e => [...e.childNodes].filter(n => n.nodeType === 3).flatMap(n => {
    const range = document.createRange();
    range.selectNodeContents(n);
    return [...range.getClientRects()].map(r => [e, r]);
  })).filter(([e, r]) => r.width > 1 && r.height > 1);
  const found = [];
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [e, a] = boxes[i], [f, b] = boxes[j];
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    // half a line is two texts in one place; less is the leading of neighbouring lines
    if (e !== f && wide > 2 && high > Math.min(a.height, b.height) / 2)
      found.push([e.textContent.slice(0, 40), f.textContent.slice(0, 40)]);
  }
  return found;
}
"""
CLIPPED = """
() => [...document.querySelectorAll("body *:not(svg, svg *)")].filter(
    e => e.checkVisibility() && !e.closest(".skip, .quantities")
      && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1
      && !e.closest(".scroll, .panels, nav")
  ).map(e => e.outerHTML.slice(0, 80))
"""
