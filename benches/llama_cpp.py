"""llama.cpp, through the C interface in the wheel `xllamacpp`, and its side of the `decode` benchmark.

usage: llama_cpp.py MODEL.gguf THREADS

Reads one command per line from stdin: `pass PAST NEW WANTED ROWS N` feeds NEW tokens after PAST others in the cache, in
each of ROWS sequences, N times, with logits for the last WANTED of them, and prints the seconds of each pass.
"""
import ctypes, sys, time

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
    """A model with some sequences, each of up to `context` tokens."""

    def __init__(self, file, threads, context=512, rows=1):
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
            ("llama_free", None, [pointer]),
            ("llama_batch_init", Batch, [number, number, number]),
            ("llama_batch_free", None, [Batch]),
            ("llama_decode", number, [pointer, Batch]),
            ("llama_get_logits_ith", C.POINTER(C.c_float), [pointer, number]),
            ("llama_model_get_vocab", pointer, [pointer]),
            ("llama_vocab_n_tokens", number, [pointer]),
            ("llama_tokenize", number, [pointer, C.c_char_p, number, C.c_void_p, number, C.c_bool, C.c_bool]),
        ]:
            getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(file.encode(), lib.llama_model_default_params())
        assert self.model, f"{file} cannot be loaded"
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.width = lib.llama_vocab_n_tokens(self.vocab)
        self.threads, self.context = threads, None
        self.open(context, rows)

    def open(self, context, rows):
        """Makes empty sequences in place of those there are."""
        lib, parameters = self.lib, self.lib.llama_context_default_params()
        # The first fields: tokens of all sequences together, of one call, and of one pass; the number of sequences.
        fields = C.cast(C.pointer(parameters), C.POINTER(C.c_uint32))
        assert fields[0] == 512 and fields[2] == 512 and fields[3] == 1, "another version, with other fields"
        fields[0], fields[1], fields[3] = context * rows, max(512, context * rows), rows
        if self.context:
            lib.llama_free(self.context)
            lib.llama_batch_free(self.batch)
        self.context = lib.llama_init_from_model(self.model, parameters)
        assert self.context, f"no memory for {rows} sequences of {context} tokens"
        lib.llama_set_n_threads(self.context, self.threads, self.threads)
        self.batch = lib.llama_batch_init(max(512, context * rows), 0, 1)
        self.size, self.held = (context, rows), None

    def tokenize(self, text):
        text, ids = text.encode(), (C.c_int32 * 512)()
        count = self.lib.llama_tokenize(self.vocab, text, len(text), ids, 512, True, False)
        return list(ids[:count])

    def run(self, ids, past, wanted):
        """Feeds ids after the first `past` tokens of the only sequence, in place of those that follow them. Returns
        their last `wanted` rows of logits."""
        return self.run_rows([ids], past, wanted)

    def run_rows(self, rows, past, wanted):
        """The same with several sequences, which get as many ids each."""
        self.fill(rows, past, wanted)
        return self.decode(past)

    def fill(self, rows, past, wanted):
        batch = self.batch
        batch.count = sum(map(len, rows))
        at = 0
        for row, ids in enumerate(rows):
            for i, token in enumerate(ids):
                batch.token[at], batch.position[at], batch.sequences[at] = token, past + i, 1
                batch.sequence[at][0], batch.wanted[at] = row, i >= len(ids) - wanted
                at += 1

    def decode(self, past):
        memory = self.lib.llama_get_memory(self.context)
        for row in range(self.size[1]):
            self.lib.llama_memory_seq_rm(memory, row, past, -1)
        code = self.lib.llama_decode(self.context, self.batch)
        assert code == 0, f"llama_decode: {code}"
        # Reading waits for the result.
        wanted = [i for i in range(self.batch.count) if self.batch.wanted[i]]
        return [self.lib.llama_get_logits_ith(self.context, i) for i in wanted]

    def passes(self, past, new, wanted, rows, count):
        """Returns the seconds of each pass. The cache of the last call is kept for the next with the same past."""
        ids = [[(7 * i * i + 13 * row + 3) % 3000 + 10 for i in range(past + new)] for row in range(rows)]
        if self.size[1] != rows or self.size[0] < past + new:
            self.open(max(512, past + new), rows)
        if self.held != (past, rows):
            for at in range(0, past, 512):
                self.run_rows([row[at:min(at + 512, past)] for row in ids], at, 1)
            self.held = (past, rows)
        self.fill([row[past:] for row in ids], past, wanted)
        seconds = []
        for _ in range(count):
            start = time.perf_counter()
            self.decode(past)
            seconds.append(time.perf_counter() - start)
        return seconds

    def logits(self, ids, past):
        import numpy

        rows = self.run(ids, past, len(ids))
        return numpy.stack([numpy.ctypeslib.as_array(row, (self.width,)).copy() for row in rows])


def main():
    model = Model(sys.argv[1], int(sys.argv[2]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(*model.passes(*map(int, line.split()[1:])), flush=True)


if __name__ == "__main__":
    main()
