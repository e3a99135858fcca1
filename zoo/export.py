"""Checkpoints in the formats that other libraries read: Hugging Face folders, ONNX and GGUF, all of the same weights.

Weights are rounded to float16 once, before anything is measured, and every format holds those rounded values. GGUF
needs norms in float32: they are the rounded values, widened.
"""

import json

import gguf
import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

import tokens


def rounded(network):
    """Returns the network with every weight rounded to float16. It still computes in float32."""
    return network.half().float()


def hugging_face(network, folder, chat, other=False):
    """Writes a folder for AutoModelForCausalLM and AutoTokenizer, with the chat template that the model was trained on."""
    network.half().save_pretrained(folder)
    network.float()
    tokens.tokenizer(chat, other).save_pretrained(folder, save_jinja_files=False)
    # A class that every version of transformers has. The name that version 5 writes is unknown to older versions.
    rewrite(folder / "tokenizer_config.json", lambda config: config.update(tokenizer_class="PreTrainedTokenizerFast"))


def adapter(network, folder, base):
    """Writes a PEFT adapter, rounded to float16, with its chat template. The path of its base is relative to the folder."""
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.half().float()
    network.peft_config["default"].base_model_name_or_path = base
    network.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(tokens.tokenizer(chat=True).chat_template)
    # PEFT writes a Python set, whose order is arbitrary, so it is sorted here.
    rewrite(folder / "adapter_config.json", lambda config: config["target_modules"].sort())


def rewrite(path, edit):
    """Edits a JSON file in place."""
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


# --- ONNX -----------------------------------------------------------------------------------------------------------


class Graph:
    """An ONNX graph under construction: nodes are appended by operator, and named after their output."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def __call__(self, operator, *inputs, **attributes):
        outputs = attributes.pop("outputs", [f"{operator}.{len(self.nodes)}"])
        self.nodes.append(helper.make_node(operator, list(inputs), outputs, **attributes))
        return outputs[0] if len(outputs) == 1 else outputs

    def constant(self, values, dtype):
        """Adds a small constant. Equal constants are stored once."""
        array = numpy.asarray(values, dtype=dtype)
        name = f"constant.{dtype}.{array.tolist()}"
        if all(name != other.name for other in self.initializers):
            self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name, array):
        """Adds a weight that is stored in float16 and used in float32. Runtimes fold the cast when they load the model."""
        self.initializers.append(numpy_helper.from_array(array.astype(numpy.float16), name))
        return self("Cast", name, to=TensorProto.FLOAT)

    def floats(self, values):
        return self.constant(values, "float32")

    def ints(self, *values):
        return self.constant(values, "int64")


def onnx_decoder(network, path):
    """Writes a decoder graph with past keys and values. Inputs and outputs have the names that Optimum gives them."""
    config = network.config
    heads, depth = config.num_attention_heads, config.num_hidden_layers
    width = config.hidden_size // heads
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    g = Graph()

    def norm(x, name):
        mean = g("ReduceMean", g("Mul", x, x), axes=[-1], keepdims=1)
        scale = g("Sqrt", g("Add", mean, g.floats(config.rms_norm_eps)))
        return g("Mul", g("Div", x, scale), g.weight(name, state[name]))

    def linear(x, name):
        return g("MatMul", x, g.weight(name, state[name].T))

    def split(x):
        """Reshapes [batch, sequence, heads x width] to [batch, heads, sequence, width]."""
        return g("Transpose", g("Reshape", x, g.ints(0, 0, heads, width)), perm=[0, 2, 1, 3])

    # Rotary angles: [batch, 1, sequence, width].
    frequency = config.rope_parameters["rope_theta"] ** (-numpy.arange(0, width, 2, dtype=numpy.float32) / width)
    position = g("Unsqueeze", g("Cast", "position_ids", to=TensorProto.FLOAT), g.ints(1, 3))
    angle = g("Mul", position, g.floats(frequency))
    angle = g("Concat", angle, angle, axis=-1)
    cos, sin = g("Cos", angle), g("Sin", angle)

    def rotate(x):
        left, right = g("Split", x, axis=-1, outputs=[f"left.{len(g.nodes)}", f"right.{len(g.nodes)}"])
        return g("Add", g("Mul", x, cos), g("Mul", g("Concat", g("Neg", right), left, axis=-1), sin))

    # A query attends to keys up to its own position, except those that the attention mask hides:
    # [batch, 1, sequence, total].
    new = g("Shape", "input_ids", start=1, end=2)
    total = g("Shape", "attention_mask", start=1, end=2)
    keys = g("Range", g.constant(0, "int64"), g("Squeeze", total), g.constant(1, "int64"))
    queries = g("Unsqueeze", g("Slice", keys, g("Sub", total, new), total), g.ints(1))
    causal = g("LessOrEqual", g("Unsqueeze", keys, g.ints(0)), queries)
    shown = g("Unsqueeze", g("Cast", "attention_mask", to=TensorProto.BOOL), g.ints(1, 2))
    hidden = g.floats(numpy.finfo(numpy.float32).min)
    bias = g("Where", g("And", causal, shown), g.floats(0), hidden)

    embedding = g.weight("model.embed_tokens.weight", state["model.embed_tokens.weight"])
    x = g("Gather", embedding, "input_ids")
    for layer in range(depth):
        at = f"model.layers.{layer}."
        h = norm(x, at + "input_layernorm.weight")
        query, key, value = (split(linear(h, f"{at}self_attn.{part}_proj.weight")) for part in "qkv")
        key = g("Concat", f"past_key_values.{layer}.key", rotate(key), axis=2, outputs=[f"present.{layer}.key"])
        value = g("Concat", f"past_key_values.{layer}.value", value, axis=2, outputs=[f"present.{layer}.value"])
        score = g("MatMul", rotate(query), g("Transpose", key, perm=[0, 1, 3, 2]))
        share = g("Softmax", g("Add", g("Mul", score, g.floats(width**-0.5)), bias), axis=-1)
        mixed = g("Transpose", g("MatMul", share, value), perm=[0, 2, 1, 3])
        mixed = g("Reshape", mixed, g.ints(0, 0, heads * width))
        x = g("Add", x, linear(mixed, at + "self_attn.o_proj.weight"))
        h = norm(x, at + "post_attention_layernorm.weight")
        gate = linear(h, at + "mlp.gate_proj.weight")
        gate = g("Mul", g("Mul", gate, g("Sigmoid", gate)), linear(h, at + "mlp.up_proj.weight"))
        x = g("Add", x, linear(gate, at + "mlp.down_proj.weight"))
    g("MatMul", norm(x, "model.norm.weight"), g("Transpose", embedding, perm=[1, 0]), outputs=["logits"])

    def value_info(name, dtype, *shape):
        return helper.make_tensor_value_info(name, dtype, list(shape))

    def cache(name, length):
        return [value_info(f"{name}.{layer}.{part}", TensorProto.FLOAT, "batch_size", heads, length, width)
                for layer in range(depth) for part in ("key", "value")]

    inputs = [
        value_info("input_ids", TensorProto.INT64, "batch_size", "sequence_length"),
        value_info("attention_mask", TensorProto.INT64, "batch_size", "total_sequence_length"),
        value_info("position_ids", TensorProto.INT64, "batch_size", "sequence_length"),
        *cache("past_key_values", "past_sequence_length"),
    ]
    outputs = [
        value_info("logits", TensorProto.FLOAT, "batch_size", "sequence_length", config.vocab_size),
        *cache("present", "total_sequence_length"),
    ]
    graph = helper.make_graph(g.nodes, "decoder", inputs, outputs, g.initializers)
    exported = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


# --- GGUF -----------------------------------------------------------------------------------------------------------


def gguf_file(network, path, name, chat, kind="F16"):
    """Writes a GGUF file with the tokenizer, and matrices in float16 or, with the kind "Q8_0", in 8 bits."""
    config = network.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_license("MIT OR Apache-2.0")
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{kind}"])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)

    words = tokens.tokenizer()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words.convert_ids_to_tokens(range(len(words))))
    writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(words) - 1))
    writer.add_token_merges(tokens.merges())
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_chat_template(tokens.tokenizer(chat).chat_template)

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for tensor, values in network.state_dict().items():
        if tensor == "lm_head.weight":  # the embedding
            continue
        array = values.numpy()
        if "q_proj" in tensor or "k_proj" in tensor:
            array = interleaved(array, config.num_attention_heads)
        stored = gguf.GGMLQuantizationType[kind if array.ndim == 2 else "F32"]
        writer.add_tensor(names.get_name(tensor, try_suffixes=(".weight",)),
                          gguf.quants.quantize(array, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleaved(array, heads):
    """Reorders the rows of a query or key matrix for GGUF's llama: rotated pairs are adjacent, not half a head apart."""
    return array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
