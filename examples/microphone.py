"""Prints when somebody starts and stops speaking into the microphone:  pip install sounddevice, then
python examples/microphone.py"""

import queue

import sounddevice

import audiocnn

RATE = 16000


def main() -> None:
    heard = queue.SimpleQueue()
    # A pause of 0.7 s ends a turn. Each onset includes the 0.2 s before it.
    turns = audiocnn.DetectSettings(min_silence_seconds=0.7, pad_seconds=0.2)
    stream = audiocnn.Stream(sample_rate=RATE, settings=turns, pre_roll=True)
    # The callback runs in a separate thread that must not wait, so it only passes the samples on. None marks the end.
    microphone = sounddevice.InputStream(
        samplerate=RATE,
        channels=1,
        blocksize=RATE // 50,
        callback=lambda samples, frames, time, status: heard.put(samples[:, 0].copy()),
        finished_callback=lambda: heard.put(None),
    )
    with microphone, stream:
        while (samples := heard.get()) is not None:
            for event in stream.push(samples):
                if isinstance(event, audiocnn.Onset):
                    print(f"{event.start:7.2f} s  {event.label} ({len(event.samples) / RATE:.2f} s received so far)")
                else:
                    print(f"{event.segment.end:7.2f} s  end of the turn, known at {event.known:.2f} s")


if __name__ == "__main__":
    main()
