"""A harness that misbehaves on demand. It speaks just enough of the protocol and remembers nothing.

The last line of a prompt says what it does; whatever is no command is echoed:
  deaf            never ends, ignores cancel          late            ends the turn with end_turn when it is cancelled
  crash           ends the process                    twice           answers a cancel, then answers the prompt again
  ask             asks for permission                 form            asks to fill in a form
  ask-deaf        asks for permission, ignores all    once            ends in error when it is cancelled
  unknown         sends an update of an unknown kind  think           thinks aloud, gives a notice
  compact         says that it compacted              spend N C       says that its context holds N tokens, at C dollars
  pieces A|B|C    says A, B and C in pieces           long N          says N letters
  half A|B|C      the same, and never ends
  env NAME        says what is in the environment     heard           says what it was answered so far
  call M PATH [B] calls the gateway, says the answer   call-deaf       the same, and never ends
  deaf-once       hears cancels, and ends when the file `go` is in the home
  fs              reads a file through the client, says what came of it
With the argument "resume" or "load" it takes up old sessions, with "forgets" it says so and cannot; with "early" it asks
for permission before the first prompt; with "modes" it begins in a mode in which it decides itself, with "strict-modes" it
stays in it; with "no-mcp" it takes no servers, with "key" it wants to be authenticated, with "model" its model is chosen.
"""
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request

signal.signal(signal.SIGTERM, signal.SIG_IGN)
ABILITY = sys.argv[1] if len(sys.argv) > 1 else ""
OPTIONS = [
    {"optionId": "no", "name": "No", "kind": "reject_once"},
    {"optionId": "always", "name": "Always", "kind": "allow_always"},
    {"optionId": "once", "name": "Once", "kind": "allow_once"},
]


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(**update):
    send(method="session/update", params={"sessionId": "s", "update": update})


def say(text):
    update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": text})


def ask():
    params = {"sessionId": "s", "toolCall": {"toolCallId": "p1", "title": "pay"}, "options": OPTIONS}
    send(id="permission", method="session/request_permission", params=params)


def call(method, path, body="", key="authorization"):
    """Calls the gateway; says the status, the headers' names and the body."""
    token = os.environ["A8S_GATEWAY_TOKEN"]
    request = urllib.request.Request(os.environ["A8S_GATEWAY_URL"] + path, method=method, data=body.encode() or None)
    request.add_header(key, "Bearer " + token if key == "authorization" else token)
    request.add_header("cookie", "mine=1")
    try:
        opener = urllib.request.build_opener(NoRedirect)
        with opener.open(request) as answer:
            return "%d %s" % (answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        return "%d %s" % (error.code, error.read().decode())


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


def end(reason="end_turn"):
    global pending
    send(id=pending, result={"stopReason": reason})
    pending = None


pending = None
mode = ""
heard = []
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method == "initialize":
        load = {"loadSession": True}
        capabilities = {"load": load, "forgets": load, "resume": {"sessionCapabilities": {"resume": {}}}}
        methods = [{"id": "login", "name": "Log in"}, {"id": "some-api-key", "name": "Key"}]
        result = {"protocolVersion": 1, "agentCapabilities": capabilities.get(ABILITY, {}), "authMethods": methods}
        send(id=message["id"], result=result)
    elif method == "authenticate":
        heard.append(message["params"]["methodId"])
        send(id=message["id"], result={})
    elif method == "session/set_config_option":
        heard.append("%(configId)s=%(value)s" % message["params"])
        send(id=message["id"], result={"configOptions": []})
    elif method == "session/new" and ABILITY == "key" and not heard:
        send(id=message["id"], error={"code": -32000, "message": "Authentication required"})
    elif method == "session/new" and ABILITY == "no-mcp" and message["params"]["mcpServers"]:
        send(id=message["id"], error={"code": -32602, "message": "per-session mcpServers are not supported"})
    elif method == "session/new":
        if ABILITY == "early":
            ask()
        modes = {"currentModeId": "auto", "availableModes": [{"id": "auto", "name": "A"}, {"id": "default", "name": "D"}]}
        choices = [{"value": value, "name": value} for value in ("m-0", "m-1")]
        option = {"id": "model", "name": "Model", "category": "model", "type": "select"}
        option.update(currentValue="m-0", options=choices)
        more = {"modes": {"modes": modes}, "strict-modes": {"modes": modes}, "model": {"configOptions": [option]}}
        send(id=message["id"], result={"sessionId": "s", **more.get(ABILITY, {})})
    elif method == "session/set_mode" and ABILITY == "strict-modes":
        send(id=message["id"], error={"code": -32603, "message": "Invalid mode"})
    elif method == "session/set_mode":
        heard.append(message["params"]["modeId"])
        send(id=message["id"], result={})
    elif method == "session/load" and ABILITY == "forgets":
        send(id=message["id"], error={"code": -32002, "message": "Session not found"})
    elif method in ("session/load", "session/resume"):
        say("an old message that must not be told again")
        send(id=message["id"], result={})
    elif method == "session/cancel":
        heard.append("cancel")
        if mode == "late":
            end()
        elif mode == "twice":
            first = pending
            end("cancelled")
            send(id=first, result={"stopReason": "end_turn"})
        elif mode == "once":
            send(id=pending, error={"code": -32603, "message": "cancelled " + " ".join(heard)})
        elif mode == "deaf-once":
            # What is sent twice is sent at once; whoever waits until it must have come sees it.
            while not os.path.exists("go"):
                time.sleep(0.005)
            end("cancelled")
        elif mode == "order":
            say(" ".join(heard))
            end("cancelled")
    elif method == "session/prompt":
        text = "\n".join(block.get("text", "") for block in message["params"]["prompt"])
        last = text.splitlines()[-1]
        mode, _, rest = last.partition(" ")
        pending = message["id"]
        heard = heard if mode == "heard" else []
        if "crash" in last:
            say("half a mess")
            os._exit(3)
        elif mode in ("deaf", "deaf-once", "late", "twice", "once") or "be deaf" in last:
            update(sessionUpdate="tool_call", toolCallId="t1", title="listen to music", status="in_progress")
        elif mode in ("ask", "ask-deaf", "order"):
            ask()
        elif mode == "form":
            schema = {
                "type": "object",
                "required": ["city"],
                "properties": {"city": {"type": "string", "title": "City"}, "days": {"type": "integer"}},
            }
            params = {"sessionId": "s", "mode": "form", "message": "Where to?", "requestedSchema": schema}
            send(id="form", method="elicitation/create", params=params)
        elif mode == "fs":
            send(id="fs", method="fs/read_text_file", params={"sessionId": "s", "path": "/etc/hostname"})
        elif mode == "think":
            update(sessionUpdate="agent_thought_chunk", content={"type": "text", "text": "hmm"})
            update(sessionUpdate="notice", severity="info", title="Careful")
            end()
        elif mode == "compact":
            update(sessionUpdate="compaction_update", compactionId="c", status="completed")
            end()
        elif mode == "spend":
            tokens, price = rest.split()
            cost = {"amount": float(price), "currency": "USD"}
            update(sessionUpdate="usage_update", used=int(tokens), size=200000, cost=cost)
            end()
        elif mode in ("pieces", "half"):
            for piece in rest.split("|"):
                say(piece)
            if mode == "pieces":
                end()
        elif mode == "long":
            say("x" * int(rest))
            end()
        elif mode == "env":
            say(" ".join(os.environ.get(name, "-") for name in rest.split()))
            end()
        elif mode == "call":
            say(call(*rest.split(" ")))
            end()
        elif mode == "call-deaf":
            say(call(*rest.split(" ")))
        elif mode == "heard":
            say(" ".join(heard))
            end()
        else:
            if "unknown" in last:
                update(sessionUpdate="telepathy", thought="?")
            say("echo: ")
            say(text)
            end()
    elif message.get("id") == "permission":
        outcome = message["result"]["outcome"]
        heard.append(outcome["outcome"])
        if mode == "ask" and pending is not None:
            say("outcome: " + json.dumps(outcome, sort_keys=True))
            end()
    elif message.get("id") == "fs":
        say("fs: " + str(message.get("error", {}).get("code")))
        end()
    elif message.get("id") == "form":
        say("form: " + json.dumps(message["result"], sort_keys=True))
        end()
# The end of input is ignored too: only SIGKILL helps.
signal.pause()
