"""What a call showed, as a notebook's outputs; and outputs as one piece of HTML."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable
from typing import Any

from rpc_magic.wire import messages

__all__ = ["PICTURES", "html_of", "outputs_of"]

PICTURES = {"image/png": "png", "image/jpeg": "jpeg"}
"""Types of pictures that any page shows, and their formats' names."""
_SVG = "image/svg+xml"
_CODES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_RETURN = re.compile(r"[^\n]*\r(?=[^\r\n])")


def outputs_of(shown: Iterable[messages.Message]) -> list[dict[str, Any]]:
    """Return messages as outputs: neighbouring text joined, updates and clearing carried out."""
    outputs: list[dict[str, Any]] = []
    places: dict[str, int] = {}
    for message in shown:
        match message:
            case messages.Stream(name, text):
                if outputs and outputs[-1].get("name") == name:
                    outputs[-1]["text"] += text
                else:
                    outputs.append({"output_type": "stream", "name": name, "text": text})
            case messages.Display(data, metadata, transient, update):
                key = transient.get("display_id")
                if update and key in places:
                    outputs[places[key]] = _display(data, metadata)
                elif not update:
                    if isinstance(key, str):
                        places[key] = len(outputs)
                    outputs.append(_display(data, metadata))
            case messages.ExecuteResult(data, metadata) if data:
                outputs.append(_display(data, metadata))
            case messages.ShownError(name, text, lines):
                outputs.append(
                    {"output_type": "error", "ename": name, "evalue": text, "traceback": list(lines)}
                )
            case messages.ClearOutput():
                outputs.clear()
                places.clear()
    return outputs


def _display(data: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    text = {
        mime: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for mime, value in data.items()
    }
    return {"output_type": "display_data", "data": text, "metadata": metadata}


def html_of(outputs: Iterable[dict[str, Any]]) -> str:
    """Return outputs as HTML that needs no widgets and runs no scripts."""
    return "".join(map(_html_of, outputs))


def _html_of(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return _pre(output["text"])
    if output["output_type"] == "error":
        return _pre("\n".join(output["traceback"]))
    data = output["data"]
    for mime in (*PICTURES, _SVG):
        if mime in data:
            encoded = base64.b64encode(data[mime].encode()).decode() if mime == _SVG else data[mime].strip()
            return f'<p><img src="data:{mime};base64,{encoded}" style="max-width: 100%"></p>'
    text: str = data.get("text/html", "")
    return text if text and "<script" not in text else _pre(data.get("text/plain", ""))


def _pre(text: str) -> str:
    """Return a text as a terminal would leave it, without its colours."""
    return f"<pre>{html.escape(_RETURN.sub('', _CODES.sub('', text)))}</pre>"
