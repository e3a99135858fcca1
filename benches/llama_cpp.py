"""llama.cpp, through the C interface in the wheel `xllamacpp`, and its side of the `decode` benchmark.

usage: llama_cpp.py MODEL.gguf THREADS

Reads one command per line from stdin: `PAST NEW WANTED N` feeds NEW tokens after PAST others in the cache, N times, with
logits for the last WANTED of them, and prints the seconds of each pass.
"""
import ctypes, sys, time

import numpy
import xllamacpp

C = ctypes


class Parameters(C.Structure):
    """Parameters, which are passed by value. They are at least as long as in any version, and always the defaults."""

    _fields_ = [("bytes", C.c_uint8 * 1024)]


class Batch(C.Structure):
    _fields_ = [
        ("count", C.c_int32),
        ("token", C.POINTER(C.c_int32)),
        ("embedding", C.c_void_p),
        ("position", C.POINTER(C.c_int32)),
        ("sequences", C.POINTER(C.c_int32)),
        ("sequence", C.POINTER(C.POINTER(C.c_int32))),
        ("wanted", C.POINTER(C.c_int8)),
    ]


class Model:
    """A model with one sequence of up to 512 tokens."""

    def __init__(self, file, threads):
        lib = self.lib = C.CDLL(xllamacpp.xllamacpp.__file__)
        pointer, number = C.c_void_p, C.c_int32
        for name, result, arguments in [
            ("llama_backend_init", None, []),
            ("llama_model_default_params", Parameters, []),
            ("llama_context_default_params", Parameters, []),
            ("llama_model_load_from_file", pointer, [C.c_char_p, Parameters]),
            ("llama_init_from_model", pointer, [pointer, Parameters]),
            ("llama_set_n_threads", None, [pointer, number, number]),
            ("llama_get_memory", pointer, [pointer]),
            ("llama_memory_seq_rm", C.c_bool, [pointer, number, number, number]),
            ("llama_batch_init", Batch, [number, number, number]),
            ("llama_decode", number, [pointer, Batch]),
            ("llama_get_logits_ith", C.POINTER(C.c_float), [pointer, number]),
            ("llama_model_get_vocab", pointer, [pointer]),
            ("llama_vocab_n_tokens", number, [pointer]),
            ("llama_tokenize", number, [pointer, C.c_char_p, number, C.c_void_p, number, C.c_bool, C.c_bool]),
        ]:
            getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
        lib.llama_backend_init()
        model = lib.llama_model_load_from_file(file.encode(), lib.llama_model_default_params())
        self.context = lib.llama_init_from_model(model, lib.llama_context_default_params())
        assert self.context, f"{file} cannot be loaded"
        lib.llama_set_n_threads(self.context, threads, threads)
        self.vocab = lib.llama_model_get_vocab(model)
        self.width = lib.llama_vocab_n_tokens(self.vocab)
        self.batch = lib.llama_batch_init(512, 0, 1)

    def tokenize(self, text):
        text, ids = text.encode(), (C.c_int32 * 512)()
        count = self.lib.llama_tokenize(self.vocab, text, len(text), ids, 512, True, False)
        return list(ids[:count])

    def run(self, ids, past, wanted):
        """Feeds ids after the first `past` tokens of the sequence, in place of those that follow them."""
        self.lib.llama_memory_seq_rm(self.lib.llama_get_memory(self.context), 0, past, -1)
        batch = self.batch
        batch.count = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.position[i], batch.sequences[i] = token, past + i, 1
            batch.sequence[i][0], batch.wanted[i] = 0, i >= len(ids) - wanted
        code = self.lib.llama_decode(self.context, batch)
        assert code == 0, f"llama_decode: {code}"
        # Reading waits for the result.
        return [self.lib.llama_get_logits_ith(self.context, i) for i in range(len(ids) - wanted, len(ids))]

    def logits(self, ids, past):
        rows = self.run(ids, past, len(ids))
        return numpy.stack([numpy.ctypeslib.as_array(row, (self.width,)).copy() for row in rows])


def main():
    model = Model(sys.argv[1], int(sys.argv[2]))
    print("ready", flush=True)
    for line in sys.stdin:
        past, new, wanted, rounds = map(int, line.split())
        ids = [(7 * i * i + 3) % 3000 + 10 for i in range(past + new)]
        if past:
            model.run(ids[:past], 0, 1)
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            model.run(ids[past:], past, wanted)
            seconds.append(time.perf_counter() - start)
        print(*seconds, flush=True)


if __name__ == "__main__":
    main()
