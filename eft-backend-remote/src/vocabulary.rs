//! Texts whose token ids show whether two tokenizers are the same.

/// Mixed scripts, spaces, digits, line breaks, and characters outside the basic plane.
const PROBES: [&str; 8] = [
    "The quick brown fox jumps over 13 lazy dogs, doesn't it? Yes.",
    "  two spaces,\ttabs\t\tand\n\nline breaks \n ",
    "1234567890 3.14159 1,000,000 0x7F",
    "fn main() { let x: Vec<u8> = vec![0; 16]; } // snake_case, CamelCase",
    "Größe, naïve, façade, Ωmega, Привет, мир",
    "日本語のテキスト 한국어 中文字符",
    "مرحبا بالعالم नमस्ते 🙂🏽 👩‍👩‍👧",
    "<|x|> </s> [INST] <unk> ▁ Ġ",
];

/// The texts to compare: fixed ones, and one with each of these special tokens between words.
pub(crate) fn probes(specials: &[String]) -> impl Iterator<Item = String> + '_ {
    let fixed = PROBES.into_iter().map(str::to_owned);
    fixed.chain(specials.iter().map(|special| format!("one{special}two {special} three")))
}
