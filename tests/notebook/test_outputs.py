"""Outputs of a call, and what stands for them where there are no widgets: `rpc_magic.notebook.outputs`."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from rpc_magic.notebook.outputs import html_of


def displayed(data: dict[str, str]) -> dict[str, Any]:
    return {"output_type": "display_data", "data": data, "metadata": {}}


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


SVG = "<svg xmlns='http://www.w3.org/2000/svg'/>"
ENCODED = base64.b64encode(SVG.encode()).decode()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        pytest.param(stream("a < b\n"), "<pre>a &lt; b\n</pre>", id="text"),
        pytest.param(stream("\x1b[1;31mred\x1b[0m"), "<pre>red</pre>", id="colours"),
        pytest.param(stream("top\n10%\r\x1b[K20%\r"), "<pre>top\n20%\r</pre>", id="a bar"),
        pytest.param(
            displayed({"image/png": "iVBORw0KGgo=\n", "text/plain": "<Figure>"}),
            '<p><img src="data:image/png;base64,iVBORw0KGgo=" style="max-width: 100%"></p>',
            id="picture",
        ),
        pytest.param(
            displayed({"image/svg+xml": SVG, "text/plain": "<SVG>"}),
            f'<p><img src="data:image/svg+xml;base64,{ENCODED}" style="max-width: 100%"></p>',
            id="drawing",
        ),
        pytest.param(
            displayed({"text/html": "<b>x</b>", "text/plain": "x"}), "<b>x</b>", id="HTML comes before text"
        ),
        pytest.param(
            displayed({"text/html": "<script>x()</script>", "text/plain": "<x>"}),
            "<pre>&lt;x&gt;</pre>",
            id="scripts do not run twice",
        ),
        pytest.param(
            {
                "output_type": "error",
                "ename": "E",
                "evalue": "v",
                "traceback": ["\x1b[31mTraceback\x1b[0m", "E: v"],
            },
            "<pre>Traceback\nE: v</pre>",
            id="error",
        ),
    ],
)
def test_outputs_as_html(output: dict[str, Any], expected: str) -> None:
    """Each kind has its counterpart; several stand below each other."""
    assert html_of([output]) == expected
    assert html_of([output, output]) == 2 * expected
