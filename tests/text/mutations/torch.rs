//! Files that PyTorch saved.
use std::io::{Cursor, Write};
use std::path::Path;

use eft::models::Checkpoint;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::memory::refused;

/// The name of the tensor of the files that are written here.
const NAME: &str = "model.norm.weight";

/// An archive of files, as `torch.save` writes them.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in files {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The file of a pickle, with a storage of 128 bytes.
fn of_pickle(pickle: &[u8]) -> Vec<u8> {
    archive(&[("m/data.pkl", pickle), ("m/data/0", &[0; 128])])
}

/// The instructions for a text.
fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The pickle of a dictionary with a tensor of 32 numbers, of which any part may be something else.
struct Parts {
    function: &'static str,
    storage: &'static str,
    key: Vec<u8>,
    offset: Vec<u8>,
    shape: Vec<u8>,
    strides: Vec<u8>,
}

impl Parts {
    fn new() -> Self {
        Self {
            function: "torch._utils\n_rebuild_tensor_v2\n",
            storage: "torch\nFloatStorage\n",
            key: text("0"),
            offset: b"K\0".into(),
            shape: b"K\x20\x85".into(),
            strides: b"K\x01\x85".into(),
        }
    }

    fn pickle(&self) -> Vec<u8> {
        let name = text(NAME);
        let (function, storage) = (format!("c{}", self.function), format!("c{}", self.storage));
        let parts: [&[u8]; 14] = [
            b"\x80\x02}",
            &name,
            function.as_bytes(),
            b"((",
            &text("storage"),
            storage.as_bytes(),
            &self.key,
            &text("cpu"),
            b"K\x20tQ",
            &self.offset,
            &self.shape,
            &self.strides,
            b"\x89ccollections\nOrderedDict\n)RtR",
            b"s.",
        ];
        parts.concat()
    }
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("eft-models/goldens/qwen2");
    std::fs::copy(golden.join("config.json"), dir.path().join("config.json")).unwrap();
    let path = dir.path().join("pytorch_model.bin");
    let read = || {
        let checkpoint = Checkpoint::open(dir.path()).map_err(|error| error.to_string())?;
        checkpoint.tensor(NAME, &[32]).map(drop).map_err(|error| error.to_string())
    };
    let mut count = 0;
    let mut wrong = |what: &str, bytes: &[u8], words: &[&str]| {
        std::fs::write(&path, bytes).unwrap();
        refused(dir.path(), what, &[words, &["pytorch_model.bin"]].concat(), read);
        count += 1;
    };

    let pickle = Parts::new().pickle();
    let good = of_pickle(&pickle);
    for cut in [0, 1, 4, 30, 100, 200, good.len() / 2, good.len() - 22, good.len() - 1] {
        wrong("cut off", &good[..cut], &[]);
    }
    wrong("of an old format", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", &["1.6"]);
    // The method of compression stands in the header of a file, and in the table of all files.
    let mut deflated = good.clone();
    let table = good.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    (deflated[8], deflated[table + 10]) = (8, 8);
    wrong("compressed", &deflated, &["compressed"]);
    wrong("without a pickle", &archive(&[("m/data/0", &[0; 8])]), &["data.pkl"]);
    wrong("without a storage", &archive(&[("m/data.pkl", &pickle)]), &[NAME, "missing"]);
    let short = archive(&[("m/data.pkl", &pickle), ("m/data/0", &[0; 64])]);
    wrong("of a short storage", &short, &[NAME, "outside"]);
    let big = [("m/data.pkl", &pickle[..]), ("m/byteorder", b"big"), ("m/data/0", &[0; 128])];
    wrong("of other bytes", &archive(&big), &["little-endian"]);
    for (what, parts, words) in [
        ("a call", Parts { function: "os\nsystem\n", ..Parts::new() }, vec!["`os.system`"]),
        ("another call", Parts { function: "builtins\neval\n", ..Parts::new() }, vec!["`builtins.eval`"]),
        ("a type", Parts { storage: "torch\nQInt8Storage\n", ..Parts::new() }, vec!["`torch.QInt8Storage`"]),
        (
            "no type",
            Parts { storage: "torch._utils\n_rebuild_tensor_v2\n", ..Parts::new() },
            vec!["malformed"],
        ),
        ("another storage", Parts { key: text("1"), ..Parts::new() }, vec![NAME]),
        ("a path", Parts { key: text("../../config.json"), ..Parts::new() }, vec![NAME]),
        ("no name of a storage", Parts { key: b"K\0".into(), ..Parts::new() }, vec!["malformed"]),
        ("an offset", Parts { offset: b"K\x01".into(), ..Parts::new() }, vec![NAME, "outside"]),
        (
            "a huge offset",
            Parts { offset: b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f".into(), ..Parts::new() },
            vec![NAME],
        ),
        (
            "a negative offset",
            Parts { offset: b"J\xff\xff\xff\xff".into(), ..Parts::new() },
            vec!["malformed"],
        ),
        ("no offset", Parts { offset: b"N".into(), ..Parts::new() }, vec!["malformed"]),
        ("a long shape", Parts { shape: b"K\x21\x85".into(), ..Parts::new() }, vec![NAME, "outside"]),
        (
            "a negative shape",
            Parts { shape: b"J\xff\xff\xff\xff\x85".into(), ..Parts::new() },
            vec!["malformed"],
        ),
        (
            "a huge shape",
            Parts {
                shape: b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x87".into(),
                ..Parts::new()
            },
            vec![NAME],
        ),
        (
            "another shape",
            Parts { shape: b"K\x10K\x02\x86".into(), strides: b"K\x02K\x01\x86".into(), ..Parts::new() },
            vec![NAME, "[16, 2]"],
        ),
        (
            "a shape of texts",
            Parts { shape: [text("32"), b"\x85".into()].concat(), ..Parts::new() },
            vec!["malformed"],
        ),
        ("no shape", Parts { shape: b"N".into(), ..Parts::new() }, vec!["malformed"]),
        ("more strides", Parts { strides: b"K\x01K\x01\x86".into(), ..Parts::new() }, vec![NAME]),
        ("huge strides", Parts { strides: b"J\xff\xff\xff\x7f\x85".into(), ..Parts::new() }, vec![NAME]),
        ("a type of integers", Parts { storage: "torch\nIntStorage\n", ..Parts::new() }, vec![NAME, "I32"]),
    ] {
        wrong(what, &of_pickle(&parts.pickle()), &words);
    }
    // Tensors that repeat their entries would be larger than the file.
    let repeated = Parts { shape: b"J\0\0\0\x40\x85".into(), strides: b"K\0\x85".into(), ..Parts::new() };
    wrong("repeated entries", &of_pickle(&repeated.pickle()), &[NAME]);

    for (what, pickle) in [
        ("nothing", Vec::new()),
        ("only an end", b".".into()),
        ("no dictionary", b"\x80\x02N.".into()),
        ("numbers as keys", b"\x80\x02}K\x01K\x02s.".into()),
        ("no memory", b"\x80\x02h\x05.".into()),
        ("no mark", b"\x80\x02}u.".into()),
        ("a text past the end", b"\x80\x02X\xff\xff\xff\xff.".into()),
        ("a text that is none", b"\x80\x02X\x02\0\0\0\xff\xfe.".into()),
        ("a long integer", b"\x80\x02\x8a\xff.".into()),
        ("an instruction", b"\x80\x02i.".into()),
        ("a name without an end", b"\x80\x02ctorch".into()),
        ("deep nesting", [&b"\x80\x02"[..], &b"(".repeat(100_000), &b"t".repeat(100_000), b"."].concat()),
        (
            "deep nesting of lists",
            [&b"\x80\x02"[..], &b"]".repeat(100_000), &b"a".repeat(99_999), b"."].concat(),
        ),
        ("many objects", [&b"\x80\x02"[..], &b"N".repeat(100_000), b"."].concat()),
        ("many lists", [&b"\x80\x02"[..], &b"]".repeat(100_000), b"."].concat()),
        ("many dictionaries", [&b"\x80\x02"[..], &b"}".repeat(100_000), b"."].concat()),
        ("one list many times", [&b"\x80\x02]q\0"[..], &b"h\0".repeat(100_000), b"."].concat()),
    ] {
        wrong(what, &of_pickle(&pickle), &[]);
    }
    // The end of an archive gives the number of its files, and the size and place of their table. Some can be done without.
    let end = good.len() - 22;
    for at in [8, 10, 12, 16] {
        let mut bytes = good.clone();
        bytes[end + at..end + at + 4].fill(0xFF);
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = super::memory::bounded(dir.path(), read) {
            assert!(error.contains("pytorch_model.bin"), "{error}");
        }
    }
    assert!(count >= 50, "{count}");
    std::fs::write(&path, &good).unwrap();
    assert_eq!(read(), Ok(()));
}
