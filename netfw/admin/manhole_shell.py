"""What an operator sees in the manhole: a prompt with editing, history, completion and help.

In this room: the terminal. Not here: the commands (`manhole_commands`), and SSH (`manhole`).
"""

from __future__ import annotations

from typing import Any

from twisted.conch.insults import insults
from twisted.conch.recvline import HistoricRecvLine
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from netfw.admin.manhole_commands import LONGEST_LINE, CommandError, CommandLine

_PROMPT = b"netfw> "
_MOST_HISTORY = 500


class Shell(HistoricRecvLine):
    """One terminal."""

    ps = (_PROMPT, _PROMPT)

    def __init__(self, commands: CommandLine, greeting: str) -> None:
        super().__init__()
        self._commands = commands
        self._greeting = greeting
        self._running: Deferred[str] | None = None

    def connectionMade(self) -> None:
        """Greet, and take keys that a shell would."""
        super().connectionMade()
        self.keyHandlers[b"\x01"] = self.handle_HOME
        self.keyHandlers[b"\x03"] = self._interrupt
        self.keyHandlers[b"\x04"] = self._end_of_file
        self.keyHandlers[b"\x05"] = self.handle_END
        self.keyHandlers[b"\x0c"] = self._clear
        self.keyHandlers[b"\x15"] = self._forget_line
        self.keyHandlers[insults.ServerProtocol.BACKSPACE] = self.handle_BACKSPACE
        self.keyHandlers[b"\x08"] = self.handle_BACKSPACE

    def initializeScreen(self) -> None:
        """No more than a prompt: what was on the screen stays."""
        self.setInsertMode()
        self._show(self._greeting)
        self.drawInputLine()

    def terminalSize(self, width: int, height: int) -> None:
        """Nothing is laid out by it."""
        self.width, self.height = width, height

    def unhandledControlSequence(self, seq: bytes) -> None:
        """A key that means nothing here."""

    def keystrokeReceived(self, keyID: Any, modifier: Any) -> None:
        """Keys that mean nothing are no warning in the log. While a command runs only Ctrl-C and Ctrl-D count."""
        if self._running is not None and keyID not in (b"\x03", b"\x04"):
            return
        if keyID in self.keyHandlers or keyID in self._printableChars:
            super().keystrokeReceived(keyID, modifier)

    def characterReceived(self, ch: bytes, moreCharactersComing: bool) -> None:
        """Up to the longest line."""
        if len(self.lineBuffer) < LONGEST_LINE:
            super().characterReceived(ch, moreCharactersComing)

    def handle_TAB(self) -> None:
        """Complete the command: as far as it is certain, and show what it could be."""
        begun, rest = self.currentLineBuffer()
        found = self._commands.completions(begun.decode("utf-8", "replace").lstrip()) if not rest.strip() else []
        if len(found) == 1:
            self._type(found[0][len(begun.lstrip()) :] + "(")
        elif found:
            self.terminal.nextLine()
            self._show("  ".join(found))
            self.drawInputLine()

    def _type(self, text: str) -> None:
        for character in text.encode():
            self.characterReceived(bytes([character]), True)

    def lineReceived(self, line: bytes) -> None:
        """Run it."""
        del self.historyLines[:-_MOST_HISTORY]
        self.historyPosition = len(self.historyLines)
        text = line.decode("utf-8", "replace").strip()
        if text in ("exit", "exit()", "quit", "quit()"):
            self.terminal.loseConnection()
            return
        if not text:
            self.drawInputLine()
            return
        self._running = running = self._commands.run(text, self._show)
        running.addCallbacks(self._show, self._failed).addBoth(self._finished)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            self._show("stopped")
        elif failure.check(CommandError):
            self._show(failure.getErrorMessage())
        else:
            self._show(f"the command failed: {failure.getErrorMessage()}")

    def _finished(self, _: Any) -> None:
        self._running = None
        if self.terminal is not None:
            self.drawInputLine()

    def _show(self, text: str | None) -> None:
        if text and self.terminal is not None:
            self.terminal.write(text.encode("utf-8", "replace"))
            self.terminal.nextLine()

    def _interrupt(self) -> None:
        if self._running is not None:
            self._running.cancel()
            return
        self.lineBuffer, self.lineBufferIndex = [], 0
        self.terminal.nextLine()
        self.drawInputLine()

    def _end_of_file(self) -> None:
        if not self.lineBuffer or self._running is not None:
            self.terminal.loseConnection()

    def _clear(self) -> None:
        self.terminal.eraseDisplay()
        self.terminal.cursorHome()
        self.drawInputLine()

    def _forget_line(self) -> None:
        self.handle_HOME()
        self.terminal.eraseToLineEnd()
        self.lineBuffer = []

    def connectionLost(self, reason: Any) -> None:
        """What runs for nobody stops."""
        self.terminal = None
        if self._running is not None:
            self._running.cancel()
