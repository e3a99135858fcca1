//! [`Matrix`]: weights in the layout of their file, and products with them.
use std::ops::Range;

use bytes::Bytes;
use eft_models::{Dtype, RawTensor};
use fearless_simd::Level;

use super::activations::QuantisedActivations;
use super::{instructions, level, packed, plain, shared};

/// The number of multiplications from which a product is split over threads, and of products from which they are reordered on
/// several.
const PARALLEL_THRESHOLD: usize = 1 << 16;

/// The number of parts that a product is split into for each thread. More than one, because threads do not run at equal
/// speed.
const PARTS: usize = 6;

/// A weight matrix of shape outputs × columns, in the layout of its file. Cheap to clone.
///
/// ```
/// use eft_cpu::Matrix;
/// use eft_models::{Dtype, RawTensor};
///
/// let half = half::bf16::from_f32(0.5).to_le_bytes();
/// let raw = RawTensor { name: "w", shape: vec![1, 2], dtype: Dtype::BF16, bytes: half.repeat(2).into() };
/// let rows = Matrix::new(&raw).and_then(|matrix| matrix.rows(&[0]));
/// assert_eq!(rows, eft_cpu::is_supported().then(|| vec![0.5, 0.5]));
/// ```
#[derive(Clone)]
pub struct Matrix {
    dtype: Dtype,
    bytes: Bytes,
    outputs: usize,
    columns: usize,
    /// The width of a head, if the rows of each head are stored in pairs.
    paired: Option<usize>,
}

impl Matrix {
    /// Returns the matrix of a tensor; `None` if the tensor is not two-dimensional, if its rows are not whole blocks,
    /// if its bytes do not match its shape, on a big-endian processor (files are little-endian), or if the processor is
    /// not [supported](crate::is_supported).
    pub fn new(raw: &RawTensor<'_>) -> Option<Self> {
        let [outputs, columns] = raw.shape[..] else { return None };
        let whole = match raw.dtype {
            Dtype::Quantised(kind) => columns.is_multiple_of(kind.entries()),
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => true,
        };
        let fits = columns > 0 && raw.bytes.len() == outputs * raw.dtype.bytes(columns);
        let matrix = Self { dtype: raw.dtype, bytes: raw.bytes.clone(), outputs, columns, paired: None };
        (whole && fits && cfg!(target_endian = "little") && instructions::is_supported()).then_some(matrix)
    }

    /// Returns the matrix whose rows are those of this one after [`RawTensor::unpaired`]; `None` if it does not consist of
    /// runs of `head` rows, an even number. The weights stay where they are, as they are: products are reordered.
    pub fn unpaired(self, head: usize) -> Option<Self> {
        let whole = head > 0 && head.is_multiple_of(2) && self.outputs.is_multiple_of(head);
        (whole && self.paired.is_none()).then_some(Self { paired: Some(head), ..self })
    }

    /// Returns the number of columns, which are the inputs of the layer.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the given rows in f32, one after another; `None` if an index is out of range.
    pub fn rows(&self, rows: &[u32]) -> Option<Vec<f32>> {
        let mut out = vec![0.0; rows.len() * self.columns];
        let size = self.dtype.bytes(self.columns);
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.columns)) {
            let start = self.stored(*row as usize) * size;
            let bytes = self.bytes.get(start..start + size)?;
            match self.dtype {
                Dtype::Quantised(kind) => level::run(packed::Dequantise { kind, blocks: bytes, out }),
                Dtype::F32 => {
                    let numbers = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
                    out.iter_mut().zip(numbers).for_each(|(out, x)| *out = x);
                }
                Dtype::F16 => {
                    let numbers = bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b));
                    out.iter_mut().zip(numbers).for_each(|(out, x)| *out = x.to_f32());
                }
                Dtype::BF16 => {
                    let numbers = bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b));
                    out.iter_mut().zip(numbers).for_each(|(out, x)| *out = x.to_f32());
                }
            }
        }
        Some(out)
    }

    /// The place of a row in the file.
    fn stored(&self, row: usize) -> usize {
        let Some(head) = self.paired else { return row };
        let (channel, half) = (row % head, head / 2);
        row - channel + 2 * (channel % half) + channel / half
    }

    /// Brings products with the rows in the file into the order of the rows.
    fn reorder(&self, products: &mut [f32]) {
        let Some(head) = self.paired else { return };
        let reorder = |products: &mut [f32]| {
            let mut stored = Vec::with_capacity(head);
            for products in products.chunks_exact_mut(head) {
                stored.clear();
                stored.extend_from_slice(products);
                let (first, second) = products.split_at_mut(head / 2);
                let pairs = stored.as_chunks().0.iter().zip(first.iter_mut().zip(second));
                pairs.for_each(|([a, b], (first, second))| (*first, *second) = (*a, *b));
            }
        };
        if shared::pays(products.len(), PARALLEL_THRESHOLD) {
            shared::for_each(products.chunks_mut(self.outputs).collect(), reorder);
        } else {
            reorder(products);
        }
    }
}

/// Computes `x·Wᵀ` for several matrices that all have as many columns as `x`. Returns for each matrix its outputs, row
/// after row. Large products are split over this thread and those of rayon's pool. With quantised weights, the activations are
/// quantised to 8 bits in groups of 32.
///
/// # Panics
/// If the matrices do not all have the same number of columns.
pub fn products(x: &[f32], matrices: &[&Matrix]) -> Vec<Vec<f32>> {
    let Some(columns) = matrices.first().map(|m| m.columns) else { return Vec::new() };
    assert!(matrices.iter().all(|m| m.columns == columns), "matrices of different numbers of columns");
    let rows = x.len() / columns;
    let mut outs: Vec<_> = matrices.iter().map(|m| vec![0.0; rows * m.outputs]).collect();
    let is_quantised = matrices.iter().any(|m| matches!(m.dtype, Dtype::Quantised(_)));
    let quantised = is_quantised.then(|| QuantisedActivations::new(x, columns));
    let input = Input { x, quantised: quantised.as_ref(), columns, level: instructions::current() };

    let work: usize = matrices.iter().map(|m| rows * m.outputs * columns).sum();
    if !shared::pays(work, PARALLEL_THRESHOLD) {
        for (matrix, out) in matrices.iter().zip(&mut outs) {
            let mut out: Vec<_> = out.chunks_mut(matrix.outputs.max(1)).collect();
            matrix.product(&input, 0..matrix.outputs, &mut out);
        }
        return in_order(matrices, outs);
    }
    let size = (work / rows / columns).div_ceil(PARTS * rayon::current_num_threads()).next_multiple_of(16);
    let mut slices: Vec<_> =
        matrices.iter().zip(&mut outs).map(|(matrix, out)| slices(out, matrix.outputs, size)).collect();
    let parts = matrices.iter().zip(&mut slices).flat_map(|(matrix, slices)| {
        let ranges = (0..matrix.outputs).step_by(size).map(|start| start..matrix.outputs.min(start + size));
        ranges.zip(slices.chunks_mut(rows)).map(move |(outputs, out)| (*matrix, outputs, out))
    });
    shared::for_each(parts.collect(), |(matrix, outputs, out)| matrix.product(&input, outputs, out));
    in_order(matrices, outs)
}

/// The products, in the order of the matrices' rows.
fn in_order(matrices: &[&Matrix], mut products: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    matrices.iter().zip(&mut products).for_each(|(matrix, products)| matrix.reorder(products));
    products
}

/// The activations, with their quantised form if a matrix is quantised, and the instructions to multiply them with.
struct Input<'a> {
    x: &'a [f32],
    quantised: Option<&'a QuantisedActivations>,
    columns: usize,
    level: Level,
}

impl Matrix {
    fn product(&self, input: &Input<'_>, outputs: Range<usize>, out: &mut [&mut [f32]]) {
        match (self.dtype, input.quantised) {
            (Dtype::Quantised(kind), Some(x)) => {
                let product = packed::Product { kind, weights: &self.bytes, x, outputs, out };
                level::run_at(input.level, product);
            }
            (dtype, _) => {
                let Input { x, columns, .. } = *input;
                let product = plain::Product { dtype, weights: &self.bytes, x, columns, outputs, out };
                level::run_at(input.level, product);
            }
        }
    }
}

/// Splits the outputs of all rows into ranges of `size`. Returns the parts of all rows for the first range, then those for the second, and so
/// on, in one vector. With a vector for each range, freeing them on other threads would take as long as a small part of a product.
fn slices(out: &mut [f32], outputs: usize, size: usize) -> Vec<&mut [f32]> {
    let mut rows: Vec<_> = out.chunks_mut(outputs.max(1)).map(|row| row.chunks_mut(size)).collect();
    let mut slices = Vec::with_capacity(rows.len() * outputs.div_ceil(size));
    for _ in (0..outputs).step_by(size) {
        slices.extend(rows.iter_mut().filter_map(Iterator::next));
    }
    slices
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matrix")
            .field("dtype", &self.dtype)
            .field("outputs", &self.outputs)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}
