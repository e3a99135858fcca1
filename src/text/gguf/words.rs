//! [`Words`]: how a text is split into words, within which bytes are merged.
//!
//! The name in `tokenizer.ggml.pre` stands for a list of regular expressions. Converters choose it, and llama.cpp has a
//! table of names. Where llama.cpp adapts an expression to its own engine, that of the model's `tokenizer.json` stands
//! here.
use crate::text::patterns::{DIGIT, GPT2, LLAMA3, QWEN2};

/// The rules that a pre-tokenizer's name stands for.
pub(super) struct Words {
    /// The regular expressions. Each splits what the ones before it have left or matched: a match becomes a word, and so
    /// does the text between two matches.
    pub(super) patterns: &'static [&'static str],
    /// Whether words that are tokens are taken whole, without merging.
    pub(super) ignores_merges: bool,
    /// Whether a sequence begins with a begin-of-sequence token, if the file does not say so.
    pub(super) begins: bool,
    /// Whether text is normalised to Unicode's composed form (NFC).
    pub(super) composed: bool,
}

/// That of Qwen 2, but marks belong to letters.
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Ling's: possessive repetitions, and one line break at a time.
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";

/// That of Tekken, with contractions, after runs of Asian writing.
const YOUTU: &[&str] = &[
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// Digits in threes from the right, then the words of GPT-4o.
const TINY_AYA: &[&str] = &[r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O];

/// Words run on over single spaces.
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";

const MINICPM5: &[&str] = &[
    r"\p{N}{1,3}",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

const SEED: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";

const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

const THREE_DIGITS: &str = "[0-9][0-9][0-9]";

/// The words of files that name no rule: llama.cpp's own, which are no model's exactly.
const DEFAULT: &[&str] = &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", THREE_DIGITS];

const FALCON: &[&str] = &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, THREE_DIGITS];

const DEEPSEEK_CODER: &[&str] = &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\u{D7FF}]+", DIGIT];

const DEEPSEEK3: &[&str] = &[
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
];

/// Letters are those of a list, which leaves out the scripts without case; these and Chinese come after marks.
const DEEPSEEK_LLM: &[&str] = &[
    r"[\r\n]",
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿ\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚ\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}ℂℇ\u{210A}-\u{2113}ℕ\u{2119}-\u{211D}ℤ\u{2126}ℨ\u{212A}-\u{212D}\u{212F}-\u{2134}ℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⲲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
    "\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+",
    r"\s+\z",
    "[一-龥ࠀ-一가-\u{D7FF}]+",
    r"\p{N}+",
];

/// That of DeepSeek 3, but line breaks are words of their own.
const SPARK: &[&str] = &[
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"##,
    DIGIT,
];

/// That of Llama 3, but runs of white space are cut by powers of two.
const JAIS2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s";

/// That of Qwen 2 without contractions.
const UFAKZEKA: &str = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The tokens of images first, which are no words.
const CHAMELEON: &[&str] =
    &["<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", r"[\t\n]|    |  ", DIGIT, r"[\p{P}!-/:-@\[-`{-~]", GPT2];

/// Chinese characters, then the words of GPT-4o without them.
const KIMI: &str = r"\p{Han}+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Only numbers are words, cut in threes from the right: all text between them is one word.
const SUPERBPE: &[&str] = &[r"\p{N}+", r"(?=(\d{3})+(?!\d))"];

/// Digits in threes from the right, runs of Asian writing, then the words of DeepSeek 3.
const AFMOE: &[&str] = &[
    r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
    "[一-\u{9FFF}㐀-\u{4DBF}豈-\u{FAFF}\u{3040}-ゟ゠-ヿ･-ﾟ⼀-\u{2FDF}เ-\u{E7F}\u{E80}-\u{EFF}ក-\u{17FF}က-႟ꩠ-ꩿꧠ-\u{A9FF}가-\u{D7AF}ᄀ-ᇿ]+",
    DEEPSEEK3[2],
];

const fn plain(patterns: &'static [&'static str]) -> Words {
    Words { patterns, ignores_merges: false, begins: false, composed: false }
}

/// The rules by the names that stand for them.
const KNOWN: &[(&[&str], Words)] = &[
    (&["default"], plain(DEFAULT)),
    (
        &[
            "gpt-2",
            "phi-2",
            "olmo",
            "mpt",
            "jais",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "exaone4",
            "trillion",
            "granite-docling",
            "modern-bert",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
            "roberta-bpe",
        ],
        plain(&[GPT2]),
    ),
    (
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        plain(&[DIGIT, GPT2]),
    ),
    (
        &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        Words { ignores_merges: true, begins: true, ..plain(&[LLAMA3]) },
    ),
    (&["dbrx", "smaug-bpe"], plain(&[LLAMA3])),
    (&["glm4", "chatglm-bpe"], Words { ignores_merges: true, ..plain(&[LLAMA3]) }),
    (&["qwen2", "deepseek-r1-qwen", "stablelm2"], Words { composed: true, ..plain(&[QWEN2]) }),
    (&["megrez", "kormo", "f2llmv2", "hunyuan", "grok-2", "solar-open"], plain(&[QWEN2])),
    (&["qwen35"], Words { composed: true, ..plain(&[QWEN35]) }),
    (&["tekken"], Words { ignores_merges: true, begins: true, ..plain(&[TEKKEN]) }),
    (&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], plain(&[GPT4O])),
    (&["granite-embed-multi-97m"], Words { ignores_merges: true, ..plain(&[GPT4O]) }),
    (&["deepseek-llm"], plain(DEEPSEEK_LLM)),
    (&["deepseek-coder"], plain(DEEPSEEK_CODER)),
    (&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], plain(DEEPSEEK3)),
    (&["spark2_5"], plain(SPARK)),
    (&["youtu"], Words { ignores_merges: true, ..plain(YOUTU) }),
    (&["tiny_aya", "cohere2moe"], plain(TINY_AYA)),
    (&["exaone-moe"], plain(&[EXAONE_MOE])),
    (&["minicpm5"], Words { ignores_merges: true, ..plain(MINICPM5) }),
    (&["laguna"], plain(&[r"[^\n]+|\n+", QWEN2])),
    (&["kimi-k2"], plain(&[KIMI])),
    (&["superbpe"], plain(SUPERBPE)),
    (&["chameleon"], Words { begins: true, ..plain(CHAMELEON) }),
    (&["afmoe"], plain(AFMOE)),
    (&["jais-2"], plain(&[JAIS2])),
    (&["ufakzeka"], plain(&[UFAKZEKA])),
    (&["falcon"], plain(FALCON)),
    (&["bailingmoe", "bailingmoe2", "llada-moe"], plain(&[BAILING])),
    (&["seed-coder"], plain(&[SEED])),
    (&["bloom", "poro-chat", "gpt3-finnish"], plain(&[BLOOM])),
    (&["viking"], plain(&[BLOOM, DIGIT])),
];

/// The rules of a name; `None` if it is not known. A file without a name has the rules of `default`.
pub(super) fn named(name: Option<&str>) -> Option<&'static Words> {
    let name = name.unwrap_or("default");
    KNOWN.iter().find(|(names, _)| names.contains(&name)).map(|(_, words)| words)
}

/// Why a rule that llama.cpp knows is not supported, in brackets; empty for others.
pub(super) fn unsupported(name: &str) -> &'static str {
    match name {
        "whitespace" => " (its tokens are spelled by characters instead of bytes, and it drops white space)",
        _ => "",
    }
}

/// All known names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().flat_map(|(names, _)| names.iter().copied())
}
