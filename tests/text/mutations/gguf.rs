//! GGUF files: their headers, metadata, tensors and tokenizers; and models in several of them.
use super::gguf_file::{GgufFile, list, number, text, texts, value};
use super::memory::refused;
use super::tensor_files::error_of_model;
use super::*;

fn good(name: &str) -> GgufFile {
    GgufFile::read(&std::fs::read(here(&format!("gguf/{name}.gguf"))).unwrap())
}

/// Writes each file, and checks that loading it is an error with these words and the file's name.
fn check(cases: Vec<(String, Vec<u8>, Vec<&str>)>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.gguf");
    assert!(cases.len() >= 20, "{}", cases.len());
    for (what, bytes, words) in cases {
        std::fs::write(&path, &bytes).unwrap();
        let words: Vec<_> = words.into_iter().chain(["broken.gguf"]).collect();
        refused(&path, &what, &words, || error_of_model(&path));
    }
}

#[test]
fn files_are_put_together_as_they_were() {
    for name in ["llama-bpe", "pieces", "unigram", "word-piece"] {
        let bytes = std::fs::read(here(&format!("gguf/{name}.gguf"))).unwrap();
        assert!(GgufFile::read(&bytes).bytes() == bytes, "{name}");
    }
}

#[test]
fn headers() {
    let file = good("llama-bpe");
    let bytes = file.bytes();
    let mut cases = Vec::new();
    for cut in [0, 3, 4, 8, 20, 24, 30, 100, 5_000, 20_000, bytes.len() / 2, bytes.len() - 1] {
        cases.push((format!("the first {cut} bytes"), bytes[..cut].to_vec(), vec![]));
    }
    let mut patch = |what: &str, at: usize, with: &[u8], words: Vec<&'static str>| {
        let mut bytes = bytes.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        cases.push((what.to_owned(), bytes, words));
    };
    patch("another format", 0, b"GGML", vec!["GGUF"]);
    for version in [0u32, 1, 4, u32::MAX, 3u32.swap_bytes()] {
        patch("a version", 4, &version.to_le_bytes(), vec!["version"]);
    }
    for count in [1 << 20, 1 << 40, u64::MAX] {
        patch("a number of tensors", 8, &count.to_le_bytes(), vec!["tensor"]);
        patch("a number of fields", 16, &count.to_le_bytes(), vec![]);
    }
    for length in [1 << 20, 1 << 40, u64::MAX] {
        patch("the length of a name", 24, &length.to_le_bytes(), vec!["name of a field"]);
    }
    let twice = GgufFile { fields: [&file.fields[..], &file.fields[..1]].concat(), ..file.clone() };
    cases.push(("a field twice".into(), twice.bytes(), vec!["general.architecture", "twice"]));
    let alignment = "general.alignment";
    for (what, bytes) in [
        ("none", number(0)),
        ("a text", text(b"32")),
        ("negative", value(5, &(-32i32).to_le_bytes())),
        ("huge", value(10, &u64::MAX.to_le_bytes())),
    ] {
        cases.push((
            format!("an alignment that is {what}"),
            file.with(alignment, bytes).bytes(),
            vec![alignment],
        ));
    }
    check(cases);
}

#[test]
fn metadata() {
    let file = good("llama-bpe");
    let mut cases = Vec::new();
    let mut add = |field: &'static str, what: &str, bytes: Vec<u8>| {
        cases.push((format!("{field} is {what}"), file.with(field, bytes).bytes(), vec![field]));
    };
    for field in ["llama.embedding_length", "llama.block_count", "llama.attention.head_count"] {
        add(field, "zero", number(0));
        add(field, "huge", number(u32::MAX));
        add(field, "negative", value(5, &(-1i32).to_le_bytes()));
        add(field, "a text", text(b"32"));
        add(field, "a flag", value(7, &[1]));
        add(field, "a fraction", value(6, &1.5f32.to_le_bytes()));
    }
    let epsilon = "llama.attention.layer_norm_rms_epsilon";
    add(epsilon, "no number", value(6, &f32::NAN.to_le_bytes()));
    add(epsilon, "infinite", value(6, &f32::INFINITY.to_le_bytes()));
    add(epsilon, "a list", list(6, 1, &[0; 4]));
    add("llama.rope.freq_base", "a text", text(b"many"));
    add("general.architecture", "a number", number(1));
    add("general.architecture", "a list", texts(["llama"]));
    let new = "new.field";
    add(new, "of an unknown type", value(13, &[0; 8]));
    add(new, "of an unknown type", value(u32::MAX, &[0; 8]));
    add(new, "a flag of 2", value(7, &[2]));
    add(new, "a text past the end", value(8, &(1u64 << 40).to_le_bytes()));
    add(new, "a text of all bytes", value(8, &u64::MAX.to_le_bytes()));
    add(new, "a list of lists", list(9, 1, &list(0, 1, &[0])[4..]));
    add(new, "a deep list", value(9, &9u32.to_le_bytes().repeat(1000)));
    add(new, "a list of an unknown type", list(99, 1, &[0; 8]));
    add(new, "a list of flags", list(7, 3, &[0, 1, 2]));
    for kind in [0, 6, 7, 8, 12] {
        add(new, "a list past the end", list(kind, 1 << 40, &[0; 64]));
        add(new, "a list of all bytes", list(kind, u64::MAX, &[0; 64]));
        add(new, "a list that is a little too long", list(kind, file.bytes().len() as u64, &[0; 64]));
    }
    for field in
        ["general.architecture", "llama.context_length", "llama.embedding_length", "llama.block_count"]
    {
        cases.push((format!("no {field}"), file.without(field).bytes(), vec![field]));
    }
    let invalid = file.with("general.architecture", text(b"ll\xffma")).bytes();
    cases.push(("an architecture that is no text".into(), invalid, vec!["model type"]));
    check(cases);
}

/// Lists take no more memory than in the file, whatever their entries are.
#[test]
fn large_lists_take_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.gguf");
    let count = 4 << 20;
    let file = good("llama-bpe").without("llama.block_count");
    for list in [
        list(0, count, &vec![1; 4 << 20]),
        list(7, count, &vec![1; 4 << 20]),
        list(8, 1 << 19, &vec![0; 4 << 20]),
    ] {
        std::fs::write(&path, file.with("new.field", list).bytes()).unwrap();
        refused(&path, "a large list", &["llama.block_count", "is missing"], || error_of_model(&path));
    }
}

#[test]
fn tensors() {
    let file = good("llama-bpe");
    let mut cases = Vec::new();
    let up = "blk.0.ffn_up.weight";
    for name in [up, "token_embd.weight", "output_norm.weight"] {
        let mut add = |what: &str, change: &dyn Fn(&mut super::gguf_file::Tensor)| {
            cases.push((format!("{name} {what}"), file.tensor(name, change).bytes(), vec![name]));
        };
        add("of no dimensions", &|tensor| tensor.dims.clear());
        add("of nine dimensions", &|tensor| tensor.dims = vec![1; 9]);
        add("of many dimensions", &|tensor| tensor.dims = vec![1; 1000]);
        add("without entries", &|tensor| tensor.dims = vec![0, 32]);
        add("of huge dimensions", &|tensor| tensor.dims = vec![u64::MAX; 2]);
        add("whose size overflows", &|tensor| tensor.dims = vec![1 << 32, 1 << 32]);
        add("that is too wide", &|tensor| tensor.dims[0] += 1);
        add("that is too narrow", &|tensor| tensor.dims[0] -= 1);
        add("of an unknown type", &|tensor| tensor.kind = 99);
        add("of integers", &|tensor| tensor.kind = 26);
        add("of blocks", &|tensor| tensor.kind = 12);
        add("past the end", &|tensor| tensor.offset = 1 << 40);
        add("at the end of all", &|tensor| tensor.offset = u64::MAX);
        add("a little past the end", &|tensor| tensor.offset = file.data.len() as u64 - 32);
    }
    cases.push((
        "no tensor".into(),
        GgufFile { tensors: Vec::new(), ..file.clone() }.bytes(),
        vec!["0 tensors"],
    ));
    let renamed = file.tensor(up, |tensor| tensor.name = b"blk.0.ffn_down.weight".to_vec());
    cases.push(("a name twice".into(), renamed.bytes(), vec!["blk.0.ffn_down.weight"]));
    let lost = file.tensor(up, |tensor| tensor.name = b"\xff\xfe".to_vec());
    cases.push(("a name that is no text".into(), lost.bytes(), vec![up]));
    check(cases);
}

#[test]
fn tokenizers() {
    let mut cases = Vec::new();
    let (bytes, pieces) = (good("llama-bpe"), good("pieces"));
    let (unigram, words) = (good("unigram"), good("word-piece"));
    let mut add = |file: &GgufFile, field: &'static str, what: &str, bytes: Vec<u8>| {
        cases.push((format!("{field} is {what}"), file.with(field, bytes).bytes(), vec![field]));
    };
    let half = |file: &GgufFile, field: &str| {
        let (_, bytes) = file.fields.iter().find(|(name, _)| name == field.as_bytes()).unwrap();
        let count = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) / 2;
        list(u32::from_le_bytes(bytes[4..8].try_into().unwrap()), count, &bytes[16..16 + 4 * count as usize])
    };
    const TOKENS: &str = "tokenizer.ggml.tokens";
    const KINDS: &str = "tokenizer.ggml.token_type";
    const SCORES: &str = "tokenizer.ggml.scores";
    const MERGES: &str = "tokenizer.ggml.merges";
    const CHARACTERS: &str = "tokenizer.ggml.precompiled_charsmap";
    for file in [&bytes, &pieces, &unigram, &words] {
        add(file, "tokenizer.ggml.model", "a number", number(1));
        add(file, TOKENS, "a number", number(1));
        add(file, TOKENS, "a list of numbers", list(4, 3, &[0; 12]));
        add(file, KINDS, "too short", half(file, KINDS));
        add(file, KINDS, "a text", text(b"normal"));
        add(file, KINDS, "a list of texts", texts(["a", "b"]));
        add(file, "tokenizer.ggml.add_bos_token", "a number", number(1));
        add(file, "tokenizer.chat_template", "a number", number(1));
    }
    for file in [&pieces, &unigram] {
        add(file, SCORES, "too short", half(file, SCORES));
        add(file, SCORES, "a number", number(1));
        add(file, SCORES, "empty", list(6, 0, &[]));
        let count = half(file, SCORES).len() as u64 / 2 - 8;
        add(file, SCORES, "no numbers", list(6, count, &f32::NAN.to_le_bytes().repeat(count as usize)));
    }
    add(&bytes, MERGES, "a number", number(1));
    add(&bytes, MERGES, "a list of numbers", list(4, 3, &[0; 12]));
    add(&bytes, MERGES, "empty", texts([]));
    for wrong in ["", " ", "a", "a ", "no merge", "nothing here"] {
        add(&bytes, MERGES, "of no tokens", texts(["t h", wrong]));
    }
    add(&bytes, "tokenizer.ggml.pre", "not known", text(b"my-tokens"));
    add(&bytes, "tokenizer.ggml.pre", "a number", number(5));
    add(&bytes, "tokenizer.ggml.bos_token_id", "a text", text(b"<s>"));
    add(&bytes, "tokenizer.ggml.bos_token_id", "not there", number(u32::MAX));
    add(&unigram, "tokenizer.ggml.remove_extra_whitespaces", "a number", number(1));
    add(&words, "tokenizer.ggml.seperator_token_id", "not there", number(u32::MAX));
    add(&words, "tokenizer.ggml.unknown_token_id", "not there", number(u32::MAX));
    add(&words, "tokenizer.ggml.normalizer.lowercase", "a text", text(b"yes"));
    let trie = |size: u32, nodes: &[u32], texts: &[u8]| {
        let nodes: Vec<u8> = nodes.iter().flat_map(|node| node.to_le_bytes()).collect();
        let all = [&size.to_le_bytes(), &nodes[..], texts].concat();
        list(0, all.len() as u64, &all)
    };
    add(&unigram, CHARACTERS, "a text", text(b"abc"));
    add(&unigram, CHARACTERS, "of numbers that are no bytes", list(4, 1, &300u32.to_le_bytes()));
    add(&unigram, CHARACTERS, "two bytes", list(0, 2, &[0; 2]));
    add(&unigram, CHARACTERS, "shorter than it says", trie(1 << 20, &[0; 256], b"a\0"));
    add(&unigram, CHARACTERS, "a huge trie", trie(u32::MAX, &[0; 256], b"a\0"));
    add(&unigram, CHARACTERS, "without a node", trie(0, &[], b"a\0"));
    add(&unigram, CHARACTERS, "a trie of too few nodes", trie(16, &[0; 4], b"a\0"));
    add(&unigram, CHARACTERS, "a root that points elsewhere", trie(1024, &[1 << 20; 256], b"a\0"));
    // A node for the byte 65, which ends a text whose replacement is at node 65 ^ 64.
    let mut nodes = [0u32; 256];
    nodes[65] = 64 << 10 | 1 << 8 | 65;
    for (value, texts) in [(9, &b"a\0"[..]), (0, b"a"), (1, "é\0".as_bytes()), (u32::MAX >> 1, b"a\0")] {
        nodes[1] = 1 << 31 | value;
        add(&unigram, CHARACTERS, "of a wrong text", trie(1024, &nodes, texts));
    }
    add(&unigram, CHARACTERS, "of texts that are none", trie(1024, &[0; 256], b"\xff\0"));
    check(cases);
}

#[test]
fn split_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = good("llama-bpe");
    let short = |number: u16| value(2, &number.to_le_bytes());
    let part = |number: u16| {
        let mut own = file.clone();
        if number > 0 {
            own.fields.clear();
        }
        own.tensors = file.tensors.iter().skip(number.into()).step_by(3).cloned().collect();
        let own = own.with("split.no", short(number)).with("split.count", short(3));
        own.with("split.tensors.count", value(5, &(file.tensors.len() as u32).to_le_bytes()))
    };
    let path = |number: u16| dir.path().join(format!("broken-{:05}-of-00003.gguf", number + 1));
    let parts = [0, 1, 2].map(part);
    let restore = || {
        (0..3).zip(&parts).for_each(|(number, part)| std::fs::write(path(number), part.bytes()).unwrap());
    };
    restore();
    assert_eq!(error_of_model(&path(1)), Ok(()));
    let mut count = 0;
    // Whichever part is broken, and whichever is named.
    for number in 0..3u16 {
        let part = &parts[usize::from(number)];
        let bytes = part.bytes();
        let other = part.tensors[0].name.clone();
        let of_next = &parts[usize::from(number + 1) % 3].tensors[0].name;
        let doubled =
            part.tensor(std::str::from_utf8(&other).unwrap(), |tensor| tensor.name.clone_from(of_next));
        let cases: Vec<(&str, Option<Vec<u8>>, &str)> = vec![
            ("missing", None, if number == 0 { "" } else { "split.count" }),
            ("empty", Some(Vec::new()), ""),
            ("truncated", Some(bytes[..100].to_vec()), "truncated"),
            ("cut off", Some(bytes[..bytes.len() - file.data.len()].to_vec()), "past the end"),
            ("of another format", Some(b"GGML".to_vec()), "GGUF"),
            ("of another number", Some(part.with("split.no", short(7)).bytes()), "split.no"),
            (
                "of a negative number",
                Some(part.with("split.no", value(3, &(-1i16).to_le_bytes())).bytes()),
                "split.no",
            ),
            ("of no number", Some(part.without("split.no").bytes()), "split.no"),
            ("of another count", Some(part.with("split.count", short(4)).bytes()), "split.count"),
            (
                "of a huge count",
                Some(part.with("split.count", value(10, &u64::MAX.to_le_bytes())).bytes()),
                "split.count",
            ),
            ("of a count that is a text", Some(part.with("split.count", text(b"3")).bytes()), "split.count"),
            ("with a tensor of another", Some(doubled.bytes()), "another part"),
        ];
        for (what, content, word) in cases {
            match content {
                Some(content) => std::fs::write(path(number), content).unwrap(),
                None => std::fs::remove_file(path(number)).unwrap(),
            }
            let what = format!("the part {} is {what}", number + 1);
            refused(dir.path(), &what, &[word, ".gguf"], || error_of_model(&path(0)));
            count += 1;
            restore();
        }
    }
    let first = parts[0].with("split.tensors.count", number(99));
    std::fs::write(path(0), first.bytes()).unwrap();
    refused(dir.path(), "a number of tensors", &["split.tensors.count", "99"], || error_of_model(&path(0)));
    assert!(count >= 20);
}
