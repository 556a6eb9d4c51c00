"""Questions about modules, asked by any thread, answered by whoever reads."""

from __future__ import annotations

import os
import threading

from rpc_magic.wire import messages
from rpc_magic.worker.questions import Questions

SECONDS = 30 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))


class Client:
    """Answers when it is read, or at once on another thread; may leave."""

    def __init__(self, *, by_reading: bool) -> None:
        self.by_reading, self.is_there = by_reading, True
        self.asked: list[messages.FindModule] = []
        self.questions = Questions(self.send, self.read, lambda: self.is_there)

    def send(self, message: messages.FindModule) -> None:
        self.asked.append(message)
        if not self.by_reading:
            threading.Thread(target=self.answer).start()

    def read(self) -> None:
        if self.by_reading and self.asked:
            self.answer()

    def answer(self) -> None:
        question = self.asked.pop(0)
        answer = messages.ModuleFound(question.number, "local", distribution=question.name)
        self.questions.take(answer, [memoryview(b"x")])


def test_the_one_who_waits_reads():
    """Between calls nobody else does."""
    found, buffers = Client(by_reading=True).questions.ask("mine")
    assert found.distribution == "mine"
    assert bytes(buffers[0]) == b"x"


def test_another_thread_reads():
    """While a call runs, that is the helper; threads that ask at once get each their own answer."""
    client = Client(by_reading=False)
    found: dict[str, str] = {}

    def ask(name: str) -> None:
        answered = client.questions.ask(name)
        assert answered is not None
        found[name] = answered[0].distribution

    threads = [threading.Thread(target=ask, args=(f"m{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found == {f"m{number}": f"m{number}" for number in range(8)}


def test_nobody_is_waited_for_who_is_not_there():
    """Without a client there is no answer, nor when it leaves meanwhile; a late answer is dropped."""
    client = Client(by_reading=True)
    client.is_there = False
    assert client.questions.ask("mine") is None
    client.answer()
    client.by_reading, client.is_there = False, True
    client.send = lambda _: None
    questions = Questions(client.send, lambda: setattr(client, "is_there", False), lambda: client.is_there)
    assert questions.ask("mine") is None
