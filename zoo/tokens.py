"""The tokenizers of the zoo: byte-level BPE, learned from the corpus. All models share one, but for the pair `other`."""

import functools
import itertools
import json

import tokenizers
import transformers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

import corpus

VOCAB = 1000
# The settings of the other tokenizer. Short tokens make its merges differ from those of the first one.
OTHER = dict(vocab_size=700, max_token_length=5)


@functools.cache
def tokenizer(chat=False, other=False):
    """Returns a tokenizer for transformers, with the template of base or of tuned models."""
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    settings = OTHER if other else dict(vocab_size=VOCAB)
    trainer = trainers.BpeTrainer(**settings, special_tokens=[corpus.END], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    bpe.train_from_iterator(itertools.islice(corpus.documents("tokenizer"), 20_000), trainer)
    bpe.post_processor = processors.TemplateProcessing(single=f"{corpus.END} $A", special_tokens=[(corpus.END, 0)])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=corpus.END, eos_token=corpus.END,
                                                pad_token=corpus.END, model_max_length=512,
                                                clean_up_tokenization_spaces=False)
    fast.chat_template = corpus.CHAT_TEMPLATE if chat else corpus.PLAIN_TEMPLATE
    return fast


def merges():
    """Returns the merges of the tokenizer in their order, as GGUF files list them."""
    return [" ".join(pair) for pair in json.loads(tokenizer().backend_tokenizer.to_str())["model"]["merges"]]


def prompt(question, chat, other=False):
    """Returns the ids of a question, in the chat template or as a plain question."""
    template = corpus.CHAT if chat else corpus.PLAIN
    return tokenizer(other=other)(template.format(question=question))["input_ids"]


def answer(text, other=False):
    """Returns the ids of an answer, with the end token."""
    return tokenizer(other=other)(" " + text, add_special_tokens=False)["input_ids"] + [0]
