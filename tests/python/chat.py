"""A WebChat client written from PROTOCOL.md alone: chat.py URL NAME PEER COUNT
Sends COUNT messages to PEER, receives as many, and survives whatever happens to the server."""
import json, random, secrets, sys, time
import requests
from requests.adapters import HTTPAdapter, Retry
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

url, name, peer, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
producer, pending, next_no = f"{secrets.randbits(63):016x}", {}, 1
position, token, history = 0, None, []
http = requests.Session()
http.headers["x-webchat"] = "1"
http.mount("http://", HTTPAdapter(max_retries=Retry(100, allowed_methods=None, raise_on_status=False,
           status_forcelist=[429, 502, 503], backoff_factor=0.1, backoff_max=0.5)))

def call(method, path, body=None):
    reply = http.request(method, url + path, json=body, timeout=10)
    return reply.json() if reply.ok else None

def apply(event):  # R21, R22: only what follows the position moves it
    global position
    hole = event["type"] == "hole"
    first, last = (event["from"], event["to"]) if hole else (event["seq"], event["seq"])
    if first > position + 1:
        fetch()
    if first <= position + 1 <= last:
        if event["type"] == "message":
            history.append((event["seq"], event["from"], event["body"]["text"]))
        position = last

def fetch():
    while (page := call("GET", f"/api/conversations/{chat}/events?after={position}"))["events"]:
        for event in page["events"]:
            apply(event)

def publish(ws, no):
    key = {"conversation": chat, "producer": producer, "no": no}
    ws.send(json.dumps({"type": "publish", **key, "body": {"text": pending[no]}}))

def is_done():  # all is sent, stored and received
    return not pending and next_no > count and sum(who != me for _, who, _ in history) >= count

def session(ws):
    global token, next_no, pending
    ws.send(json.dumps({"type": "hello", **({"resume": token} if token else {})}))
    while not is_done():
        frame = json.loads(ws.recv(timeout=40))  # R34
        token = frame.get("at", token)  # R26
        if frame["type"] == "welcome":
            if frame["resume"] != "resumed":
                fetch()  # R28
            for no in sorted(pending):
                publish(ws, no)  # R11: stored once, however often it is sent
        elif frame["type"] == "error":
            time.sleep(frame.get("retry_after_ms", 100) / 1000)
            publish(ws, frame["no"])
        elif frame["type"] == "persisted":  # R17
            stored = {text for seq, _, text in history if seq <= frame["seq"]}
            pending = {no: text for no, text in pending.items() if text not in stored}
        elif frame["type"] != "ack" and frame.get("conversation") == chat and "at" in frame:
            apply(frame)
        if next_no <= count and len(pending) < 32:
            pending[next_no] = f"{name} {next_no}"
            publish(ws, next_no)
            next_no += 1

account = {"username": name, "password": "correct horse battery"}
reply = call("POST", "/api/auth/register", account) or call("POST", "/api/auth/login", account)
me, bearer = reply["user"]["id"], {"Authorization": f"Bearer {reply['socket_token']}"}
while not (other := [one["id"] for one in call("GET", f"/api/users?q={peer}")["users"]]):
    time.sleep(0.2)  # the peer is not there yet
chat = call("POST", "/api/conversations/direct", {"user": other[0]})["id"]
while not is_done():
    try:
        with connect(url.replace("http", "ws") + "/ws", subprotocols=["webchat.v1"], additional_headers=bearer) as ws:
            session(ws)
    except (WebSocketException, OSError, TimeoutError):
        time.sleep(random.uniform(0, 0.3))  # R40, in a hurry
print("\n".join(json.dumps(line) for line in history))
