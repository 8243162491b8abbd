"""A server to which any number of clients send sound:  pip install websockets, then
python examples/websocket_server.py

A client connects to ws://127.0.0.1:8765/8000, where 8000 is the sample rate, and sends 16-bit samples as binary
messages of any size. Each event is returned as a line of JSON. websocket_client.py is such a client.
"""

import asyncio
import json

import numpy
import websockets.asyncio.server as server
from websockets.exceptions import ConnectionClosed

import audiocnn

MODEL = audiocnn.LiveModel()  # loaded once; every stream has its own state


def as_json(event: audiocnn.Onset | audiocnn.Ending) -> str:
    if isinstance(event, audiocnn.Onset):
        return json.dumps({"type": "onset", "label": event.label, "start": event.start, "known": event.known})
    segment = event.segment
    return json.dumps({"type": "segment", "label": segment.label, "start": segment.start, "end": segment.end})


async def serve(caller: server.ServerConnection) -> None:
    try:
        stream = audiocnn.Stream(MODEL, sample_rate=int(caller.request.path.strip("/") or 16000))
        async for message in caller:
            if message == "end":  # a text message marks the end
                break
            for event in stream.push(numpy.frombuffer(message, "<i2")):
                await caller.send(as_json(event))
        for event in stream.close():
            await caller.send(as_json(event))
    except ConnectionClosed:
        pass  # the client has disconnected
    except (audiocnn.AudiocnnError, ValueError, TypeError) as problem:
        await caller.send(json.dumps({"type": "error", "error": str(problem)}))


async def main(port: int = 8765) -> None:
    async with server.serve(serve, "127.0.0.1", port) as running:
        print("listening on", running.sockets[0].getsockname()[1], flush=True)
        await running.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
