"""A harness that misbehaves on demand. It speaks just enough of the protocol and remembers nothing.

A prompt with "deaf" never ends and ignores cancel; "crash" ends the process; "ask" asks for permission; "unknown" sends an update of an
unknown kind first; everything else is echoed.
"""
import json
import os
import signal
import sys

signal.signal(signal.SIGTERM, signal.SIG_IGN)


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(**update):
    send(method="session/update", params={"sessionId": "s", "update": update})


def say(text):
    update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": text})


pending = None
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method == "initialize":
        send(id=message["id"], result={"protocolVersion": 1, "agentCapabilities": {}})
    elif method == "session/new":
        send(id=message["id"], result={"sessionId": "s"})
    elif method == "session/prompt":
        text = "\n".join(block.get("text", "") for block in message["params"]["prompt"])
        last = text.splitlines()[-1]
        if "crash" in last:
            say("half a mess")
            os._exit(3)
        elif "deaf" in last:
            update(sessionUpdate="tool_call", toolCallId="t1", title="listen to music", status="in_progress")
        elif "ask" in last:
            pending = message["id"]
            options = [
                {"optionId": "no", "name": "No", "kind": "reject_once"},
                {"optionId": "always", "name": "Always", "kind": "allow_always"},
                {"optionId": "once", "name": "Once", "kind": "allow_once"},
            ]
            params = {"sessionId": "s", "toolCall": {"toolCallId": "p1", "title": "pay"}, "options": options}
            send(id="permission", method="session/request_permission", params=params)
        else:
            if "unknown" in last:
                update(sessionUpdate="telepathy", thought="?")
            say("echo: ")
            say(text)
            send(id=message["id"], result={"stopReason": "end_turn"})
    elif message.get("id") == "permission":
        say("outcome: " + json.dumps(message["result"]["outcome"], sort_keys=True))
        send(id=pending, result={"stopReason": "end_turn"})
# The end of input is ignored too: only SIGKILL helps.
signal.pause()
