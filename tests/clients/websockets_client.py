"""websockets_client.py PORT DEVICE TIME_NS: streams the two known readings and waits for {"ack":2}."""
import asyncio
import json
import sys

import websockets

port, device, time_ns = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


async def stream() -> None:
    async with websockets.connect(f"ws://127.0.0.1:{port}/v1/stream?device={device}") as socket:
        await socket.send(json.dumps({
            "measurement": "climate",
            "fields": {"t": 21.5, "on": True, "mode": "auto"},
            "ts": time_ns,
        }))
        # JSON has no integers of its own: every number is a float. One field then, to be found by its type.
        await socket.send(json.dumps({"measurement": "meter", "fields": {"power": 230.25}, "ts": time_ns}))
        acknowledged = 0
        while acknowledged < 2:
            answer = json.loads(await socket.recv())
            if "nack" in answer:
                sys.exit(f"refused: {answer}")
            acknowledged = answer["ack"]


asyncio.run(asyncio.wait_for(stream(), 20))
