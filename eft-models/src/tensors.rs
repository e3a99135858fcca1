//! [`RawTensor`]: a tensor as a file stores it.
//!
//! ```
//! use eft_models::{Checkpoint, Dtype};
//!
//! let checkpoint = Checkpoint::open(concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/llama"))?;
//! assert_eq!(checkpoint.tensor("model.norm.weight", &[32])?.dtype, Dtype::F32);
//! # Ok::<(), eft_models::Error>(())
//! ```
use bytes::Bytes;
use half::{bf16, f16};

/// A tensor as a file stores it.
#[derive(Debug, Clone)]
pub struct RawTensor<'a> {
    /// The tensor's name.
    pub name: &'a str,
    /// The sizes of its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The type of its entries.
    pub dtype: Dtype,
    /// The entries in row-major order, little-endian. This is a handle: a mapped file stays mapped as long as one
    /// exists.
    pub bytes: Bytes,
}

/// The type that weights are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point, IEEE 754.
    F16,
    /// 16-bit floating point with the exponent range of 32-bit.
    BF16,
    /// Quantised blocks. A row consists of whole blocks.
    Quantised(Blocks),
}

/// The kinds of quantised blocks in GGUF files: the digit is the number of bits for an entry. Each run of 16 or 32
/// entries has a scale, and in some kinds an offset. In kinds whose names begin with `IQ`, entries or runs of entries are
/// indices into tables; `TQ` are ternary; MXFP4 is that of the Open Compute Project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "these are the names of the file format")]
pub enum Blocks {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    IQ1S,
    IQ1M,
    IQ2XXS,
    IQ2XS,
    IQ2S,
    IQ3XXS,
    IQ3S,
    IQ4NL,
    IQ4XS,
    TQ1_0,
    TQ2_0,
    MXFP4,
}

impl Blocks {
    /// Returns the number of entries in a block.
    pub fn entries(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::IQ4NL | Self::MXFP4 => 32,
            _ => 256,
        }
    }

    /// Returns the size of a block in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::IQ1S => 50,
            Self::IQ1M => 56,
            Self::IQ2XXS | Self::TQ2_0 => 66,
            Self::IQ2XS => 74,
            Self::IQ2S => 82,
            Self::IQ3XXS => 98,
            Self::IQ3S => 110,
            Self::IQ4NL => 18,
            Self::IQ4XS => 136,
            Self::TQ1_0 => 54,
            Self::MXFP4 => 17,
        }
    }
}

impl Dtype {
    /// Returns entries in this type as numbers; `None` if they are quantised blocks.
    pub(crate) fn numbers(self, bytes: &[u8]) -> Option<Vec<f32>> {
        Some(match self {
            Self::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Self::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Self::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
            Self::Quantised(_) => return None,
        })
    }

    /// Returns the size of `entries` entries in bytes. For quantised types, `entries` must be a multiple of the entries
    /// in a block.
    pub fn bytes(self, entries: usize) -> usize {
        match self {
            Self::F32 => 4 * entries,
            Self::F16 | Self::BF16 => 2 * entries,
            Self::Quantised(blocks) => entries / blocks.entries() * blocks.bytes(),
        }
    }
}

impl<'a> RawTensor<'a> {
    /// A tensor of f32.
    pub(crate) fn of_numbers(name: &'a str, shape: &[usize], numbers: &[f32]) -> Self {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Self { name, shape: shape.into(), dtype: Dtype::F32, bytes: bytes.into() }
    }
}

impl RawTensor<'_> {
    /// Returns the entries as numbers; `None` if they are quantised blocks.
    pub fn numbers(&self) -> Option<Vec<f32>> {
        self.dtype.numbers(&self.bytes)
    }

    /// The part of this index along the first dimension, a handle to the same bytes.
    ///
    /// # Panics
    /// Panics if the tensor has no such part, or no dimension.
    #[must_use]
    pub(crate) fn part(&self, index: usize) -> Self {
        let size = self.dtype.bytes(self.shape[1..].iter().product());
        let bytes = self.bytes.slice(index * size..(index + 1) * size);
        Self { shape: self.shape[1..].into(), bytes, ..self.clone() }
    }

    /// Returns a tensor whose row `i` is row `order[i]` of this one, where a row is a slice along the first dimension.
    /// It has as many rows as the order names.
    ///
    /// # Panics
    /// Panics if the order names a row that the tensor does not have.
    pub fn reordered(&self, order: impl Iterator<Item = usize>) -> Self {
        let width = self.dtype.bytes(self.shape[1..].iter().product());
        let rows: Vec<_> = order.map(|row| &self.bytes[row * width..(row + 1) * width]).collect();
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        // As large as it must be: a vector that grows keeps room for up to twice as many rows.
        let bytes = rows.concat();
        Self { shape, bytes: bytes.into(), ..self.clone() }
    }

    /// Returns the transpose of a matrix. The entries must not be quantised blocks.
    ///
    /// # Panics
    /// Panics if the tensor is not a matrix.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let (size, [rows, columns]) = (self.dtype.bytes(1), [self.shape[0], self.shape[1]]);
        let entry = |at: usize| &self.bytes[at * size..(at + 1) * size];
        let of_column = |column| (0..rows).flat_map(move |row| entry(row * columns + column));
        let mut bytes = Vec::with_capacity(rows * columns * size);
        (0..columns).for_each(|column| bytes.extend(of_column(column)));
        Self { shape: vec![columns, rows], bytes: bytes.into(), ..self.clone() }
    }

    /// The columns of a matrix from this one on, with a distance of `every`. The entries must not be quantised blocks.
    #[must_use]
    pub(crate) fn columns(&self, from: usize, every: usize) -> Self {
        let (size, width) = (self.dtype.bytes(1), self.shape[1]);
        let chosen = |row: &[u8]| -> Vec<u8> {
            row.chunks_exact(size).skip(from).step_by(every).flatten().copied().collect()
        };
        let bytes: Vec<u8> = self.bytes.chunks_exact((width * size).max(1)).flat_map(chosen).collect();
        let shape = vec![self.shape[0], (from..width).step_by(every).count()];
        Self { shape, bytes: bytes.into(), ..self.clone() }
    }

    /// Returns a tensor in which, in each run of `head` rows, the even rows come before the odd ones. The original Llama
    /// and Cohere rotate neighbouring channels of a head together, where [`Nn::rope`](crate::Nn::rope) pairs channels of
    /// the two halves of a head.
    #[must_use]
    pub fn unpaired(&self, head: usize) -> Self {
        let heads = self.shape[0] / head.max(1);
        let halves =
            move |h: usize| (0..2).flat_map(move |odd| (0..head / 2).map(move |i| h * head + 2 * i + odd));
        self.reordered((0..heads).flat_map(halves))
    }
}
