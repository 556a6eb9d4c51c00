"""What a call showed, as a notebook's outputs."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from rpc_magic.wire import messages

__all__ = ["outputs_of"]


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
