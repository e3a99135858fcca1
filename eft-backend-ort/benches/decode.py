"""The `decode` benchmark's other side: a hand-written decoding loop over onnxruntime's IoBinding.

Arguments: the model and the number of threads.

Requests on standard input:
  open N  starts a text with N tokens
  step N  takes N greedy steps; prints the last token and the seconds of each step
"""
import sys
import time

import numpy as np
import onnxruntime as rt


class Loop:
    def __init__(self, file, threads):
        options = rt.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = rt.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs = {entry.name: entry for entry in self.session.get_inputs()}
        self.outputs = [entry.name for entry in self.session.get_outputs()]
        self.past = [name for name in self.inputs if name.startswith("past_key_values")]

    def open(self, tokens):
        empty = lambda name: np.zeros((1, self.inputs[name].shape[1], 0, self.inputs[name].shape[3]), np.float32)
        self.caches = {name: rt.OrtValue.ortvalue_from_numpy(empty(name)) for name in self.past}
        self.length = 0
        self.token = self.feed(tokens)

    def feed(self, tokens):
        total = self.length + len(tokens)
        binding = self.session.io_binding()
        binding.bind_cpu_input("input_ids", np.array([tokens]))
        binding.bind_cpu_input("attention_mask", np.ones((1, total), np.int64))
        if "position_ids" in self.inputs:
            binding.bind_cpu_input("position_ids", np.arange(self.length, total)[None])
        for name, cache in self.caches.items():
            binding.bind_ortvalue_input(name, cache)
        for name in self.outputs:
            binding.bind_output(name, "cpu")
        self.session.run_with_iobinding(binding)
        values = dict(zip(self.outputs, binding.get_outputs()))
        self.caches = {name: values[name.replace("past_key_values", "present")] for name in self.past}
        self.length = total
        return int(values["logits"].numpy()[0, -1].argmax())

    def step(self):
        start = time.perf_counter()
        self.token = self.feed([self.token])
        return time.perf_counter() - start


def main():
    loop = Loop(sys.argv[1], int(sys.argv[2]))
    print("ready", rt.__version__, flush=True)
    for line in sys.stdin:
        what, count = line.split()
        if what == "open":
            loop.open([3 + i % 7 for i in range(int(count))])
            print(loop.token, flush=True)
        else:
            seconds = [loop.step() for _ in range(int(count))]
            print(loop.token, *seconds, flush=True)


main()
