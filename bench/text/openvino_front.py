"""A thin front of OpenAI's chat, streamed, over OpenVINO GenAI's ContinuousBatchingPipeline, for bench/text alone: it serves what the
bench asks and nothing else. openvino_front.py MODEL.gguf PORT THREADS SLOTS CONTEXT. One thread steps the pipeline; the other speaks HTTP. A token's
text comes from a table made at the start, so that Python does as little as it can between two steps."""

import asyncio
import json
import sys
import threading

import openvino_genai as genai


class Loop(threading.Thread):
    """Steps the pipeline while there are requests, and hands out after each step what it made."""

    def __init__(self, pipeline, loop):
        super().__init__(daemon=True)
        self.pipeline, self.loop = pipeline, loop
        self.wake = threading.Condition()
        self.waiting, self.number = [], 0

    def add(self, prompt, config, queue):
        with self.wake:
            self.waiting.append((prompt, config, queue))
            self.wake.notify()

    def run(self):
        running = []
        while True:
            with self.wake:
                while not self.waiting and not running:
                    self.wake.wait()
                fresh, self.waiting = self.waiting, []
            for prompt, config, queue in fresh:
                self.number += 1
                running.append((self.pipeline.add_request(self.number, prompt, config), queue))
            self.pipeline.step()
            made, still = [], []
            for handle, queue in running:
                tokens = []
                while handle.can_read():
                    for output in handle.read().values():
                        tokens += output.generated_ids
                ended = handle.get_status() != genai.GenerationStatus.RUNNING
                if tokens or ended:
                    made.append((queue, tokens, ended))
                if not ended:
                    still.append((handle, queue))
            running = still
            if made:
                self.loop.call_soon_threadsafe(hand_out, made)


def hand_out(made):
    for queue, tokens, ended in made:
        queue.put_nowait((tokens, ended))


class Front:
    def __init__(self, pipeline, tokenizer, pieces):
        self.tokenizer, self.pieces = tokenizer, pieces
        self.steps = Loop(pipeline, asyncio.get_running_loop())
        self.steps.start()

    async def client(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                size = 0
                for line in lines[1:]:
                    name, _, value = line.partition(":")
                    if name.lower() == "content-length":
                        size = int(value)
                body = await reader.readexactly(size)
                if lines[0].startswith("GET /health"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                else:
                    await self.answer(json.loads(body), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, ask, writer):
        prompt = self.tokenizer.apply_chat_template(ask["messages"], add_generation_prompt=True)
        config = genai.GenerationConfig()
        config.max_new_tokens, config.do_sample = ask["max_tokens"], False
        config.ignore_eos = ask.get("ignore_eos", False)
        config.apply_chat_template = False
        queue = asyncio.Queue()
        tokens = self.tokenizer.encode(prompt, add_special_tokens=False).input_ids
        self.steps.add(tokens, config, queue)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        asked, count, ended = tokens.shape[1], 0, False
        while not ended:
            made, ended = await queue.get()
            count += len(made)
            text = "".join(self.pieces[t] for t in made)
            event(writer, {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "length" if ended else None}]})
            await writer.drain()
        event(writer, {"choices": [], "usage": {"prompt_tokens": asked, "completion_tokens": count}})
        done = b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(done), done))


def event(writer, value):
    data = b"data: " + json.dumps(value).encode() + b"\n\n"
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


async def main():
    model, port, threads, slots, context = sys.argv[1], *map(int, sys.argv[2:6])
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = max(1, slots * context * 46080 >> 30)  # GiB; the most that 16-bit keys and values of such models take
    scheduler.max_num_seqs = slots
    pipeline = genai.ContinuousBatchingPipeline(model, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads})
    tokenizer = pipeline.get_tokenizer()
    pieces = tokenizer.decode([[t] for t in range(len(tokenizer.get_vocab()))], skip_special_tokens=False)
    front = Front(pipeline, tokenizer, pieces)
    server = await asyncio.start_server(front.client, "127.0.0.1", port, limit=1 << 20)
    print("ready, openvino_genai", genai.__version__, flush=True)
    await server.serve_forever()


asyncio.run(main())
