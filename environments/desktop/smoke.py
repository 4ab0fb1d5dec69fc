"""Starts the desktop of this image as its configuration says, opens every application, and writes a screenshot.

Runs inside the image, as its user, with its read-only root: `smoke.py OUT.png`. It needs nothing but Python and the image's
own programs, and fails if a service ends, an application opens no window, or the picture is empty.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import time
import zlib

WIDTH, HEIGHT = 1280, 800
PATIENCE = 60
RFB = "/run/user-1000/smoke.sock"
FIRST = ("browser", "terminal", "files", "editor")


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    sys.exit(f"smoke: still not so after {PATIENCE} s: {what}; windows: {list(windows().values())}")


def properties(window, *names):
    command = ["xprop", "-root"] if window is None else ["xprop", "-id", window]
    done = subprocess.run([*command, *names], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def windows():
    listed = properties(None, "_NET_CLIENT_LIST").partition("#")[2]
    return {name.strip(): properties(name.strip(), "WM_CLASS") for name in listed.split(",") if name.strip()}


def receive(connection, size):
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(1 << 20, size - len(data)))
        if not part:
            sys.exit("smoke: the display ended the connection")
        data += part
    return bytes(data)


def picture():
    """Rows of RGB bytes, read over RFB 3.8 with raw encoding."""
    with socket.socket(socket.AF_UNIX) as display:
        display.connect(RFB)
        receive(display, 12)
        display.sendall(b"RFB 003.008\n")
        receive(display, receive(display, 1)[0])
        display.sendall(b"\x01")
        receive(display, 4)
        display.sendall(b"\x01")
        width, height = struct.unpack(">HH", receive(display, 4))
        receive(display, 16)
        receive(display, struct.unpack(">I", receive(display, 4))[0])
        display.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        display.sendall(struct.pack(">BxHi", 2, 1, 0))
        display.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        rows = [bytearray(width * 3) for _ in range(height)]
        left = width * height
        while left > 0:
            kind = receive(display, 1)[0]
            if kind == 2:
                continue
            if kind == 3:
                receive(display, struct.unpack(">xxxI", receive(display, 7))[0])
                continue
            for _ in range(struct.unpack(">xH", receive(display, 3))[0]):
                x, y, w, h, _ = struct.unpack(">HHHHi", receive(display, 12))
                pixels = receive(display, w * h * 4)
                for line in range(h):
                    part = pixels[line * w * 4 : (line + 1) * w * 4]
                    for channel in range(3):
                        rows[y + line][x * 3 + channel : (x + w) * 3 : 3] = part[2 - channel :: 4]
                left -= w * h
        return rows


def write_png(path, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", len(rows[0]) // 3, len(rows), 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def main(out):
    with open("/etc/a8s/desktop.json", encoding="utf-8") as file:
        desktop = json.load(file)
    os.makedirs("/tmp/.X11-unix", mode=0o1777, exist_ok=True)
    with open("/tmp/.a8s-machine-id", "w", encoding="ascii") as file:
        file.write("0" * 32 + "\n")
    os.environ["DISPLAY"] = ":1"
    home = os.environ["HOME"]
    subprocess.run(["cp", "-rT", "/usr/share/a8s/skel", home], check=True)
    log = open("/tmp/smoke.log", "wb")
    running = {}

    def start(name, command):
        running[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=home)

    start("Xvnc", [
        "Xvnc", ":1", "-geometry", f"{WIDTH}x{HEIGHT}", "-depth", "24", "-rfbport", "-1", "-rfbunixpath", RFB,
        "-SecurityTypes", "None", "-UseBlacklist=0", "-extension", "GLX", "-nolisten", "tcp",
    ])
    wait_for("the display answers", lambda: properties(None, "_XROOTPMAP_ID"))
    kept = {"Xvnc"}
    for after in ("display", "wm"):
        for service in desktop["services"]:
            if service.get("after", "display") == after:
                start(service["name"], service["command"])
                if service.get("restart"):
                    kept.add(service["name"])
        wait_for("the window manager", lambda: "window id" in properties(None, "_NET_SUPPORTING_WM_CHECK"))
    wait_for("the wallpaper", lambda: "pixmap id" in properties(None, "_XROOTPMAP_ID"))
    wait_for("the panel", lambda: "window id" in properties(None, "_NET_CLIENT_LIST") or running["tint2"].poll() is None)

    with open(f"{home}/Documents/quarterly.md", "w", encoding="utf-8") as file:
        file.write("# Q3 supplier review\n- 14 invoices matched, 2 need a person\n- Currency: € 48 210.55 · 日本語 ok · 🚀\n")
    arguments = {
        "browser": ["--window-position=560,20", "--window-size=690,480"],
        "terminal": ["--geometry=72x18+40+40"],
        "editor": [f"{home}/Documents/quarterly.md"],
    }
    applications = desktop["applications"]
    for name in (*FIRST, *(other for other in applications if other not in FIRST)):
        # Programs of one family, like LibreOffice's, name their windows after program and family.
        program = applications[name][0]
        wanted = f"{program}-{name}" if program == "libreoffice" else program
        start(name, [*applications[name], *arguments.get(name, [])])
        wait_for(f"a window of {name}", lambda w=wanted: any(w in text.lower() for text in windows().values()))
    # The picture is complete once it stays the same.
    last = [None]

    def still():
        before, last[0] = last[0], picture()
        time.sleep(1)
        return before == last[0]

    wait_for("a picture that stays the same", still)
    for name in kept:
        if running[name].poll() is not None:
            sys.exit(f"smoke: {name} ended with {running[name].returncode}")
    rows = last[0]
    colours = {bytes(row[x : x + 3]) for row in rows[::8] for x in range(0, len(row), 24)}
    if len(colours) < 100:
        sys.exit(f"smoke: the picture has only {len(colours)} colours")
    write_png(out, rows)


if __name__ == "__main__":
    main(sys.argv[1])
