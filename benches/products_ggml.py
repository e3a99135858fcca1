"""Products of llama.cpp's library ggml, in the wheel `xllamacpp`, and its side of the `products` benchmark.

usage: products_ggml.py FOLDER THREADS

Reads one command per line from stdin:
- `weights KIND OUTPUTS COLUMNS COPIES` quantises a matrix, writes COPIES copies of it to FOLDER/weights and keeps them as
  llama.cpp does, repacked if it does that with this kind on this processor;
- `run TOKENS COPIES ROUNDS` multiplies each of the first COPIES copies with TOKENS rows and prints the seconds of each of ROUNDS rounds.
"""
import ctypes as C
import pathlib
import sys
import time

import numpy
import xllamacpp

KINDS = {"Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8}
KINDS |= {"Q2K": 10, "Q3K": 11, "Q4K": 12, "Q5K": 13, "Q6K": 14}
KINDS |= {"IQ1S": 19, "IQ1M": 29, "IQ2XXS": 16, "IQ2XS": 17, "IQ2S": 22, "IQ3XXS": 18, "IQ3S": 21}
KINDS |= {"IQ4NL": 20, "IQ4XS": 23, "TQ1_0": 34, "TQ2_0": 35, "MXFP4": 39}
# Some kinds take long to quantise, so that a part of the outputs is quantised and repeated.
REPEATED = 8

POINTER, NUMBER, LONG = C.c_void_p, C.c_int32, C.c_int64


class Settings(C.Structure):
    _fields_ = [("size", C.c_size_t), ("memory", POINTER), ("no_alloc", C.c_bool)]


LIB = C.CDLL(xllamacpp.xllamacpp.__file__)
REPACKED = "_Z35ggml_backend_cpu_repack_buffer_typev"
for name, result, arguments in [
    ("ggml_init", POINTER, [Settings]),
    ("ggml_free", None, [POINTER]),
    ("ggml_new_tensor_2d", POINTER, [POINTER, NUMBER, LONG, LONG]),
    ("ggml_mul_mat", POINTER, [POINTER, POINTER, POINTER]),
    ("ggml_new_graph", POINTER, [POINTER]),
    ("ggml_build_forward_expand", None, [POINTER, POINTER]),
    ("ggml_quantize_chunk", C.c_size_t, [NUMBER, POINTER, POINTER, LONG, LONG, LONG, POINTER]),
    ("ggml_row_size", C.c_size_t, [NUMBER, LONG]),
    ("ggml_backend_cpu_init", POINTER, []),
    ("ggml_backend_cpu_set_n_threads", None, [POINTER, NUMBER]),
    ("ggml_backend_cpu_buffer_type", POINTER, []),
    (REPACKED, POINTER, []),
    ("ggml_backend_alloc_ctx_tensors_from_buft", POINTER, [POINTER, POINTER]),
    ("ggml_backend_buffer_free", None, [POINTER]),
    ("ggml_backend_get_device", POINTER, [POINTER]),
    ("ggml_backend_dev_supports_op", C.c_bool, [POINTER, POINTER]),
    ("ggml_backend_tensor_set", None, [POINTER, POINTER, C.c_size_t, C.c_size_t]),
    ("ggml_backend_tensor_get", None, [POINTER, POINTER, C.c_size_t, C.c_size_t]),
    ("ggml_backend_graph_compute", NUMBER, [POINTER, POINTER]),
]:
    getattr(LIB, name).restype, getattr(LIB, name).argtypes = result, arguments


def context():
    return LIB.ggml_init(Settings(1 << 20, None, True))


class Weights:
    """Copies of one quantised matrix."""

    def __init__(self, backend, file, kind, outputs, columns, copies):
        self.backend, self.outputs, self.columns = backend, outputs, columns
        self.context = context()
        kind = KINDS[kind]
        self.copies = [LIB.ggml_new_tensor_2d(self.context, kind, columns, outputs) for _ in range(copies)]
        buffers = [getattr(LIB, REPACKED)(), LIB.ggml_backend_cpu_buffer_type()]
        for i, buffer in enumerate(buffers):
            self.buffer = LIB.ggml_backend_alloc_ctx_tensors_from_buft(self.context, buffer)
            if self.is_supported():
                break
            LIB.ggml_backend_buffer_free(self.buffer)
            LIB.ggml_free(self.context)
            self.context = context()
            self.copies = [LIB.ggml_new_tensor_2d(self.context, kind, columns, outputs) for _ in range(copies)]
        self.repacked = i == 0
        assert outputs % REPEATED == 0
        few = outputs // REPEATED
        numbers = numpy.random.default_rng(1).standard_normal((few, columns), dtype=numpy.float32) * 0.02
        importance = numpy.ones(columns, dtype=numpy.float32)
        quantised = numpy.empty(few * LIB.ggml_row_size(kind, columns), dtype=numpy.uint8)
        LIB.ggml_quantize_chunk(
            kind, numbers.ctypes.data, quantised.ctypes.data, 0, few, columns, importance.ctypes.data
        )
        quantised = numpy.tile(quantised, REPEATED)
        with open(file, "wb") as out:
            for copy in self.copies:
                LIB.ggml_backend_tensor_set(copy, quantised.ctypes.data, 0, quantised.nbytes)
                out.write(quantised.data)

    def is_supported(self):
        small = context()
        x = LIB.ggml_new_tensor_2d(small, 0, self.columns, 1)
        device = LIB.ggml_backend_get_device(self.backend)
        supported = LIB.ggml_backend_dev_supports_op(device, LIB.ggml_mul_mat(small, self.copies[0], x))
        LIB.ggml_free(small)
        return supported

    def run(self, tokens, copies, rounds):
        small = context()
        x = LIB.ggml_new_tensor_2d(small, 0, self.columns, tokens)
        graph = LIB.ggml_new_graph(small)
        for copy in self.copies[:copies]:
            LIB.ggml_build_forward_expand(graph, LIB.ggml_mul_mat(small, copy, x))
        buffer = LIB.ggml_backend_alloc_ctx_tensors_from_buft(small, LIB.ggml_backend_cpu_buffer_type())
        numbers = numpy.random.default_rng(2).standard_normal((tokens, self.columns), dtype=numpy.float32)
        LIB.ggml_backend_tensor_set(x, numbers.ctypes.data, 0, numbers.nbytes)
        seconds = []
        for _ in range(rounds + 1):
            start = time.perf_counter()
            assert LIB.ggml_backend_graph_compute(self.backend, graph) == 0
            seconds.append(time.perf_counter() - start)
        LIB.ggml_backend_buffer_free(buffer)
        LIB.ggml_free(small)
        # The first round warms up.
        return seconds[1:]

    def free(self):
        LIB.ggml_backend_buffer_free(self.buffer)
        LIB.ggml_free(self.context)


def main():
    folder = pathlib.Path(sys.argv[1])
    backend = LIB.ggml_backend_cpu_init()
    LIB.ggml_backend_cpu_set_n_threads(backend, int(sys.argv[2]))
    print("ready", flush=True)
    weights = None
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "weights":
            if weights:
                weights.free()
            kind, *sizes = arguments
            weights = Weights(backend, folder / "weights", kind, *map(int, sizes))
            print("repacked" if weights.repacked else "plain", flush=True)
        else:
            print(*weights.run(*map(int, arguments)), flush=True)


if __name__ == "__main__":
    main()
