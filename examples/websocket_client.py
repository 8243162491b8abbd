"""Sends a recording to websocket_server.py as fast as possible, and prints the answers:
python examples/websocket_client.py data/samples/greeting.flac [PORT]"""

import asyncio
import sys

import soundfile
import websockets.asyncio.client as client


async def main(path: str, port: int = 8765) -> None:
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    async with client.connect(f"ws://127.0.0.1:{port}/{rate}") as server:

        async def send() -> None:
            for start in range(0, len(samples), rate // 50):
                await server.send(samples[start : start + rate // 50, 0].tobytes())
            await server.send("end")

        sending = asyncio.create_task(send())
        async for line in server:
            print(line)
        await sending


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8765))
