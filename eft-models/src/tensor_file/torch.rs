//! The table of tensors of a file that PyTorch's `torch.save` wrote: an uncompressed zip archive of a pickle, which
//! describes the tensors, and a file for each storage.
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::Stored;
use super::pickle::{self, Object, Tensor};

/// The names under which training scripts put a model's tensors beside other objects.
const NESTED: [&str; 2] = ["state_dict", "model"];

/// The number of objects that any pickle may hold; a larger file may hold more.
const MANY_OBJECTS: usize = 1 << 13;

/// Returns the tensors and their size in bytes, or a description of the file's fault.
pub(super) fn table(bytes: &[u8]) -> Result<(BTreeMap<String, Stored>, u64), String> {
    if !bytes.starts_with(b"PK") {
        let old = "it is not a zip archive, as PyTorch writes since version 1.6";
        return Err(format!("{old}: load it with PyTorch and save it again, best as safetensors"));
    }
    let files = files(bytes).map_err(|error| format!("it is not a valid zip archive: {error}"))?;
    let Some((prefix, range)) =
        files.iter().find_map(|(name, range)| Some((name.strip_suffix("data.pkl")?, range)))
    else {
        return Err("it is a zip archive without `data.pkl`, so not one of PyTorch's".into());
    };
    let content = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
    if files.get(&format!("{prefix}byteorder")).is_some_and(|range| content(range) != b"little") {
        return Err("its numbers are not little-endian".into());
    }
    // A tensor takes some forty objects, and hundreds of bytes even if it is tiny.
    let pickle = pickle::read(content(range), MANY_OBJECTS + bytes.len() / 32)?;
    let entries = pickle.entries().ok_or("its pickle holds no dictionary of tensors")?;
    let (mut tensors, mut size) = (BTreeMap::new(), 0);
    let mut add = |name: &str, object: &Object| {
        if let Object::Tensor(tensor) = object {
            let storage = files.get(&format!("{prefix}data/{}", tensor.storage.key));
            let storage = storage.ok_or_else(|| format!("the storage of its tensor `{name}` is missing"))?;
            let stored = stored(tensor, storage)
                .ok_or_else(|| format!("its tensor `{name}` lies outside of its storage"))?;
            size += stored.bytes.len() as u64;
            tensors.insert(name.to_string(), stored);
        }
        Ok::<_, String>(())
    };
    for (name, object) in entries {
        add(name, object)?;
        if NESTED.contains(&name) {
            for (name, object) in pickle.pairs(object).into_iter().flatten() {
                add(name, object)?;
            }
        }
    }
    Ok((tensors, size))
}

/// The range of bytes of each file of an archive.
fn files(bytes: &[u8]) -> Result<HashMap<String, Range<usize>>, Box<dyn std::error::Error>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    let mut files = HashMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index_raw(index)?;
        let name = file.name()?.into_owned();
        if file.compression() != CompressionMethod::Stored {
            return Err(format!("its file `{name}` is compressed").into());
        }
        // Reading nothing makes the reader find where the file begins.
        let _ = file.read(&mut [])?;
        let start = usize::try_from(file.data_start().unwrap_or_default())?;
        let end = start.checked_add(usize::try_from(file.size())?).filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(|| format!("its file `{name}` is truncated"))?;
        files.insert(name, start..end);
    }
    Ok(files)
}

/// Where a tensor lies in the file; `None` if it does not fit into its storage.
fn stored(tensor: &Tensor, storage: &Range<usize>) -> Option<Stored> {
    let Tensor { storage: kind, offset, shape, strides } = tensor;
    let width = kind.dtype.bitsize() / 8;
    let start = storage.start.checked_add(offset.checked_mul(width)?)?;
    let entries = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size))?;
    let row_major = row_major(shape, strides);
    let end = match row_major {
        true => start.checked_add(entries.checked_mul(width)?)?,
        false => storage.end,
    };
    (start <= end && end <= storage.end).then(|| Stored {
        dtype: kind.dtype,
        shape: shape.clone(),
        strides: (!row_major).then(|| strides.clone()),
        bytes: start..end,
    })
}

/// Whether the entries of a tensor lie in row-major order without gaps. The strides of dimensions of size 1 do not
/// matter.
fn row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == expected;
            expected = expected.saturating_mul(*size);
            fits
        })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

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

    /// The fault of an archive with this pickle and a storage of eight bytes.
    fn fault(pickle: &[u8]) -> String {
        let files: [(&str, &[u8]); 2] = [("m/data.pkl", pickle), ("m/data/0", &[0; 8])];
        table(&archive(&files)).map(drop).expect_err("it was accepted")
    }

    /// The pickle of a dictionary with a tensor of f32 of these offset, shape and stride in the storage `0`.
    fn tensor(offset: u8, size: u8, stride: u8) -> Vec<u8> {
        let mut pickle =
            b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage".to_vec();
        pickle.extend(b"ctorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ");
        pickle.extend([b'K', offset, b'K', size, 0x85, b'K', stride, 0x85, 0x89]);
        pickle.extend(b"ccollections\nOrderedDict\n)RtRs.");
        pickle
    }

    #[test]
    fn pickles_that_do_more_than_describe_tensors_are_refused_by_name() {
        // What `os.system("ls")` is pickled to.
        assert!(fault(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.").contains("`os.system`"));
        assert!(fault(b"\x80\x02ctorch\nload\n.").contains("`torch.load`"));
        assert!(fault(b"\x80\x04\x95\0\0\0\0\0\0\0\0.").contains("0x95"), "frames of later protocols");
        assert!(fault(b"\x80\x02(i").contains("0x69"));
    }

    #[test]
    fn tensors_lie_within_their_storage() {
        let files = |pickle: &[u8]| archive(&[("m/data.pkl", pickle), ("m/data/0", &[7; 8])]);
        for (offset, size, stride) in [(0, 2, 1), (1, 1, 1), (0, 1, 9)] {
            let bytes = files(&tensor(offset, size, stride));
            let (tensors, _) = table(&bytes).unwrap();
            assert_eq!(tensors["w"].shape, [usize::from(size)]);
            assert!(bytes[tensors["w"].bytes.clone()].iter().all(|byte| *byte == 7));
        }
        for (offset, size) in [(0, 3), (1, 2), (3, 0), (2, 1)] {
            assert!(fault(&tensor(offset, size, 1)).contains("`w` lies outside"), "{offset} {size}");
        }
    }

    #[test]
    fn damaged_archives_are_described() {
        let whole = archive(&[("m/data.pkl", &tensor(0, 2, 1)), ("m/data/0", &[7; 8])]);
        for length in 0..whole.len() {
            assert!(table(&whole[..length]).is_err(), "the first {length} bytes were accepted");
        }
        for at in 0..whole.len() {
            for with in [0, 1, 0x2e, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = with;
                let _ = table(&bytes);
            }
        }
        let pickle = tensor(0, 2, 1);
        for length in 0..pickle.len() {
            let fault = fault(&pickle[..length]);
            assert!(fault.contains("truncated") || fault.contains("malformed"), "{length}: {fault}");
        }
        assert!(table(b"\x80\x02\x8a").is_err_and(|fault| fault.contains("1.6")));
        assert!(table(&archive(&[("x", b"")])).is_err_and(|fault| fault.contains("data.pkl")));
        let big = [("m/data.pkl", &b"\x80\x02}."[..]), ("m/byteorder", b"big")];
        assert!(table(&archive(&big)).is_err_and(|fault| fault.contains("little-endian")));
    }
}
