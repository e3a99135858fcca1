//! GGUF files, taken apart and put together.

/// A file in parts, of which each can be changed by itself.
#[derive(Clone)]
pub(super) struct GgufFile {
    /// The names of the fields, and the bytes of their types and values.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) tensors: Vec<Tensor>,
    pub(super) data: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Tensor {
    pub(super) name: Vec<u8>,
    pub(super) dims: Vec<u64>,
    pub(super) kind: u32,
    pub(super) offset: u64,
}

/// Takes bytes off the front of a file.
struct Front<'a>(&'a [u8]);

impl<'a> Front<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(count);
        self.0 = rest;
        front
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn text(&mut self) -> &'a [u8] {
        let length = self.u64() as usize;
        self.take(length)
    }

    /// Takes a value of this type.
    fn value(&mut self, kind: u32) {
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => {
                self.text();
                return;
            }
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                return (0..count).for_each(|_| self.value(kind));
            }
            other => panic!("the type {other}"),
        };
        self.take(size);
    }
}

impl GgufFile {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut front = Front(bytes);
        assert_eq!(front.take(8), b"GGUF\x03\0\0\0");
        let (tensors, fields) = (front.u64(), front.u64());
        let field = |front: &mut Front<'_>| {
            let name = front.text().to_vec();
            let before = front.0;
            let kind = front.u32();
            front.value(kind);
            (name, before[..before.len() - front.0.len()].to_vec())
        };
        let fields = (0..fields).map(|_| field(&mut front)).collect();
        let tensor = |front: &mut Front<'_>| {
            let name = front.text().to_vec();
            let dims = front.u32();
            let dims = (0..dims).map(|_| front.u64()).collect();
            Tensor { name, dims, kind: front.u32(), offset: front.u64() }
        };
        let tensors = (0..tensors).map(|_| tensor(&mut front)).collect();
        let data = bytes[(bytes.len() - front.0.len()).next_multiple_of(32)..].to_vec();
        Self { fields, tensors, data }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.fields.len() as u64).to_le_bytes());
        let text = |bytes: &mut Vec<u8>, text: &[u8]| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text);
        };
        for (name, value) in &self.fields {
            text(&mut bytes, name);
            bytes.extend(value);
        }
        for tensor in &self.tensors {
            text(&mut bytes, &tensor.name);
            bytes.extend((tensor.dims.len() as u32).to_le_bytes());
            bytes.extend(tensor.dims.iter().flat_map(|size| size.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }

    /// The same with another value of a field, or with a new field.
    pub(super) fn with(&self, name: &str, value: Vec<u8>) -> Self {
        let mut changed = self.clone();
        match changed.fields.iter_mut().find(|(field, _)| field == name.as_bytes()) {
            Some((_, old)) => *old = value,
            None => changed.fields.push((name.into(), value)),
        }
        changed
    }

    pub(super) fn without(&self, name: &str) -> Self {
        let mut changed = self.clone();
        changed.fields.retain(|(field, _)| field != name.as_bytes());
        changed
    }

    /// The same with a change of the tensor of this name.
    pub(super) fn tensor(&self, name: &str, change: impl FnOnce(&mut Tensor)) -> Self {
        let mut changed = self.clone();
        change(changed.tensors.iter_mut().find(|tensor| tensor.name == name.as_bytes()).expect("a tensor"));
        changed
    }
}

/// The bytes of a value, after those of the number of its type.
pub(super) fn value(kind: u32, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes(), bytes].concat()
}

pub(super) fn number(number: u32) -> Vec<u8> {
    value(4, &number.to_le_bytes())
}

pub(super) fn text(text: &[u8]) -> Vec<u8> {
    value(8, &[&(text.len() as u64).to_le_bytes(), text].concat())
}

/// A list of `count` values of this type, with these bytes.
pub(super) fn list(kind: u32, count: u64, bytes: &[u8]) -> Vec<u8> {
    value(9, &[&kind.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat())
}

pub(super) fn texts<'a>(all: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let all: Vec<_> = all.into_iter().collect();
    list(
        8,
        all.len() as u64,
        &all.iter().flat_map(|one| text(one.as_bytes())[4..].to_vec()).collect::<Vec<_>>(),
    )
}
