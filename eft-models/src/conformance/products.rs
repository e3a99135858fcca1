//! Checks of products with weights larger than those of the goldens, which a library may lay out in its own way.
use eft_core::backend::score_rows;
use eft_core::{Backend, TokenId};

use super::{Verdict, require};
use crate::nn::Tensor;
use crate::{Dtype, Nn, RawTensor};

/// Outputs and inputs: more than a library computes at once, and some that are not multiples of that.
const SHAPES: [[usize; 2]; 3] = [[333, 512], [512, 333], [2050, 96]];
/// Numbers of tokens below and above those that a library treats as a block.
const TOKENS: [usize; 9] = [1, 2, 3, 4, 5, 8, 17, 64, 130];

/// Checks products with weights of some hundred thousand entries, in both layouts, with and without a bias, one at a
/// time and several together, and those with an embedding that is also the head. Returns the largest difference,
/// relative to the sum of the absolute values of all terms and the bias; no difference may exceed `tolerance`. All
/// entries are representable in bf16, so that no type that a library computes in rounds them.
///
/// # Errors
/// Returns the first product that differs by more, or a product with rows of another width that was not refused.
pub fn check_products<N: Nn>(nn: &N, tolerance: f64) -> Verdict<f64> {
    let mut worst = 0.0f64;
    for shape in SHAPES {
        let weight = Matrix::new(shape, 1);
        let bias = Matrix::new([1, shape[0]], 2);
        let (plain, transposed) = (weight.raw("weight"), weight.transposed());
        let transposed = transposed.raw("transposed");
        let vector = RawTensor { shape: vec![shape[0]], ..bias.raw("bias") };
        let embedding = nn.load_embedding(&plain)?;
        check_rows(nn, &embedding, &weight)?;
        let linears = [
            ("plain", nn.load_linear(&plain, false, None)?, false),
            ("with a bias", nn.load_linear(&plain, false, Some(&vector))?, true),
            ("transposed", nn.load_linear(&transposed, true, None)?, false),
            ("tied", nn.tied(&embedding), false),
            ("shared", nn.share(&nn.tied(&embedding)), false),
        ];
        let narrow = nn.constant(&vec![1.0; shape[1] - 1], shape[1] - 1)?;
        for (name, linear, _) in &linears {
            let refused = nn.linear(&narrow, linear).is_err();
            require(refused, || format!("{name}, {shape:?}: rows of {} were multiplied", shape[1] - 1))?;
        }
        for tokens in TOKENS {
            let x = Matrix::new([tokens, shape[1]], 3);
            let input = nn.constant(&x.numbers, shape[1])?;
            let expected = x.times(&weight, &bias);
            let together = nn.linears(&input, &linears.each_ref().map(|(_, linear, _)| linear))?;
            let alone = linears.iter().map(|(_, linear, _)| nn.linear(&input, linear));
            let alone = alone.collect::<Result<Vec<_>, _>>()?;
            let outs = linears.iter().chain(&linears).zip(alone.iter().chain(&together));
            for ((name, _, biased), out) in outs {
                let got = download(nn, out)?;
                let all_there = got.len() == expected.len();
                require(all_there, || {
                    format!("{name}, {shape:?}: {} numbers of {tokens} tokens", got.len())
                })?;
                for (got, [without, with, size]) in got.iter().zip(&expected) {
                    let exact = if *biased { with } else { without };
                    let off = (f64::from(*got) - exact).abs() / size;
                    worst = worst.max(off);
                    require(off <= tolerance, || {
                        format!(
                            "{name}, {shape:?}, {tokens} tokens: {got}, not {exact}, differs by {off:.1e}"
                        )
                    })?;
                }
            }
        }
    }
    Ok(worst)
}

/// Embedding lookups return the rows of the weight.
fn check_rows<N: Nn>(nn: &N, embedding: &N::Linear, weight: &Matrix) -> Verdict<()> {
    let [rows, columns] = weight.shape;
    let ids = [0, rows - 1, 7, 7];
    let found = download(nn, &nn.embed(embedding, &ids.map(|id| id as TokenId))?)?;
    let expected: Vec<_> =
        ids.iter().flat_map(|id| &weight.numbers[id * columns..][..columns]).copied().collect();
    require(found == expected, || {
        format!("an embedding of {rows} × {columns}: other rows than were requested")
    })
}

fn download<N: Nn>(nn: &N, tensor: &Tensor<N>) -> Verdict<Vec<f32>> {
    let (rows, width) = nn.backend().shape(tensor);
    Ok(nn.backend().download(&score_rows(tensor, rows), width)?)
}

/// A matrix whose entries have eight significant bits.
struct Matrix {
    shape: [usize; 2],
    numbers: Vec<f32>,
}

impl Matrix {
    fn new(shape: [usize; 2], seed: u32) -> Self {
        let number = |i: u32| {
            let hash = (i ^ (seed << 20)).wrapping_mul(2_654_435_761);
            ((hash ^ (hash >> 15)).wrapping_mul(2_246_822_519) >> 24) as f32 / 64.0 - 2.0
        };
        Self { shape, numbers: (0..(shape[0] * shape[1]) as u32).map(number).collect() }
    }

    fn transposed(&self) -> Self {
        let [rows, columns] = self.shape;
        let numbers = (0..rows * columns).map(|i| self.numbers[i % rows * columns + i / rows]).collect();
        Self { shape: [columns, rows], numbers }
    }

    fn raw(&self, name: &'static str) -> RawTensor<'static> {
        let bytes: Vec<u8> = self.numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        RawTensor { name, shape: self.shape.to_vec(), dtype: Dtype::F32, bytes: bytes.into() }
    }

    /// For each entry of `x·Wᵀ`, in row-major order: the entry, the entry plus the bias, and the sum of the absolute
    /// values of all terms and the bias.
    fn times(&self, weight: &Self, bias: &Self) -> Vec<[f64; 3]> {
        let rows = self.numbers.chunks(self.shape[1]);
        let product = |row: &[f32]| {
            let outputs = weight.numbers.chunks(weight.shape[1]).zip(&bias.numbers);
            let output = |(weight, bias): (&[f32], &f32)| {
                let parts = row.iter().zip(weight).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let (sum, size) = parts.fold((0.0, 0.0), |(sum, size), part| (sum + part, size + part.abs()));
                [sum, sum + f64::from(*bias), size + f64::from(bias.abs())]
            };
            outputs.map(output).collect::<Vec<_>>()
        };
        rows.flat_map(product).collect()
    }
}
