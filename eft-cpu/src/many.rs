//! Products of many rows: the activations of eight or sixteen rows lie side by side, so that a lane belongs to one row, and
//! a few codes of an output are multiplied with all of them at once.
use std::ops::Range;

use fearless_simd::{Simd, SimdBase, SimdFloat, SimdFrom, SimdInt};

use super::activations::{GROUP, QuantisedActivations};
use super::blocks::{Block, Group, OUTPUTS};
use super::level::Dot;
use super::shared;

/// The number of blocks of rows multiplied at once.
const BLOCKS: usize = 4;
/// The largest number of groups of columns that are unpacked at once, with blocks of eight rows. The rows that they are
/// multiplied with, at most [`BLOCKS`] blocks at once, fit into an L1 cache of 32 KB.
const CHUNK: usize = 16;
/// The number of tiles of outputs that are unpacked at once.
const TILES: usize = 4;
/// The number of activations from which arranging them is split over threads.
const PARALLEL_THRESHOLD: usize = 1 << 16;

/// Rows of activations, of which `LANES` lie side by side: as many as a vector has floats.
pub(super) struct RowBlocks<const LANES: usize> {
    /// The number of groups in a row.
    pub(super) groups: usize,
    blocks: Vec<Lanes<LANES>>,
}

/// 32 columns of `LANES` rows.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Lanes<const LANES: usize> {
    /// Four columns of all rows, then the next four columns of these rows, and so on.
    codes: [[[i8; 4]; LANES]; GROUP / 4],
    /// For each row, the scale of its codes.
    scales: [f32; LANES],
    /// For each row, the sum of the dequantised entries of the first 16 columns, then of the last 16, then of all.
    sums: [[f32; LANES]; 3],
}

impl<const LANES: usize> RowBlocks<LANES> {
    /// Rearranges rows. Those that are missing to a multiple of `LANES` are zero.
    pub(super) fn new(x: &QuantisedActivations) -> Self {
        let groups = x.groups;
        let zero = Lanes { codes: [[[0; 4]; LANES]; 8], scales: [0.0; LANES], sums: [[0.0; LANES]; 3] };
        let mut blocks = vec![zero; x.rows().div_ceil(LANES) * groups];
        let fill = |(i, block): (usize, &mut [Lanes<LANES>])| {
            for lane in 0..LANES.min(x.rows() - i * LANES) {
                for (group, lanes) in x.row(i * LANES + lane).iter().zip(&mut *block) {
                    for (codes, all) in group.codes.as_chunks::<4>().0.iter().zip(&mut lanes.codes) {
                        all[lane] = *codes;
                    }
                    let [first, last] = [group.sums[0], group.sums[4]];
                    lanes.scales[lane] = group.scale;
                    for (sums, sum) in lanes.sums.iter_mut().zip([first, last, first + last]) {
                        sums[lane] = sum;
                    }
                }
            }
        };
        if shared::pays(x.rows() * groups * GROUP, PARALLEL_THRESHOLD) {
            shared::for_each(blocks.chunks_mut(groups).enumerate().collect(), fill);
        } else {
            blocks.chunks_mut(groups).enumerate().for_each(fill);
        }
        Self { groups, blocks }
    }

    /// The groups from `start` on of a block of rows.
    fn block(&self, block: usize, start: usize) -> &[Lanes<LANES>] {
        &self.blocks[block * self.groups + start..(block + 1) * self.groups]
    }
}

/// Multiplies all rows with the weights of a range of outputs.
#[inline(always)]
pub(super) fn product<S: Simd, D: Dot<S>, B: Block, const LANES: usize>(
    simd: S,
    weights: &[u8],
    x: &RowBlocks<LANES>,
    outputs: Range<usize>,
    out: &mut [&mut [f32]],
) {
    let bytes = x.groups / B::GROUPS * B::BYTES;
    let blocks = x.blocks.len() / x.groups;
    // Where sums have 16 bits, those of codes of six bits are full so soon that further registers are needed to add them up.
    let at_most = if D::NARROW_SUMS && B::LARGEST == 63 { BLOCKS - 1 } else { BLOCKS };
    let chunk = CHUNK * 8 / LANES;
    let mut tile = vec![Group::default(); TILES * CHUNK];
    // For each output of the tiles, the products with all rows.
    let mut sums = vec![[0.0; LANES]; TILES * OUTPUTS * blocks];
    for first in outputs.clone().step_by(TILES * OUTPUTS) {
        let count = (TILES * OUTPUTS).min(outputs.end - first);
        sums.fill([0.0; LANES]);
        for start in (0..x.groups).step_by(chunk) {
            let groups = chunk.min(x.groups - start);
            // From the blocks that are unpacked now to those of the same columns, or of the first ones, that are unpacked next.
            let to_next = if start + groups < x.groups {
                groups / B::GROUPS * B::BYTES
            } else {
                TILES * OUTPUTS * bytes - start / B::GROUPS * B::BYTES
            };
            for output in 0..count {
                let weights = &weights[(first + output) * bytes + start / B::GROUPS * B::BYTES..];
                let to = tile[output / OUTPUTS * CHUNK..][..groups].chunks_exact_mut(B::GROUPS);
                for (block, to) in weights.chunks_exact(B::BYTES).zip(to) {
                    // The processor's own prefetching does not follow reads that move on to another output after a few blocks.
                    for line in 0..B::BYTES.div_ceil(64) {
                        D::prefetch(block.as_ptr().wrapping_add(to_next + 64 * line));
                    }
                    B::unpack::<S, D>(simd, block, output % OUTPUTS, to);
                }
            }
            let mut block = 0;
            while block < blocks {
                let at = Tile { tile: &tile, x, start, groups, block, count };
                let sums = &mut sums[block..];
                let at_once = at_most.min(blocks - block);
                block += at_once;
                match at_once {
                    1 => tiles::<S, D, B, LANES, 1>(simd, at, blocks, sums),
                    2 => tiles::<S, D, B, LANES, 2>(simd, at, blocks, sums),
                    3 => tiles::<S, D, B, LANES, 3>(simd, at, blocks, sums),
                    _ => tiles::<S, D, B, LANES, BLOCKS>(simd, at, blocks, sums),
                }
            }
        }
        for (row, out) in out.iter_mut().enumerate() {
            let out = &mut out[first - outputs.start..][..count];
            for (output, out) in out.iter_mut().enumerate() {
                *out = sums[output * blocks + row / LANES][row % LANES];
            }
        }
    }
}

/// What one call of [`tile_sums`] multiplies.
#[derive(Clone, Copy)]
struct Tile<'a, const LANES: usize> {
    tile: &'a [Group],
    x: &'a RowBlocks<LANES>,
    /// The first group of columns, and the number of groups.
    start: usize,
    groups: usize,
    /// The first block of rows.
    block: usize,
    /// The number of outputs.
    count: usize,
}

/// Adds the products of a tile with `M` blocks of rows to `sums`, which has `stride` entries for each output. Depends on
/// the kind of block only by constants, so that it is compiled once for similar kinds.
#[inline(always)]
fn tiles<S: Simd, D: Dot<S>, B: Block, const LANES: usize, const M: usize>(
    simd: S,
    at: Tile<'_, LANES>,
    stride: usize,
    sums: &mut [[f32; LANES]],
) {
    match (B::HALF_SCALES, B::LARGEST) {
        (false, 0..=15) => tile_sums::<S, D, LANES, false, 8, M>(simd, at, stride, sums),
        (false, 16..=31) => tile_sums::<S, D, LANES, false, 4, M>(simd, at, stride, sums),
        (false, 32..=63) => tile_sums::<S, D, LANES, false, 2, M>(simd, at, stride, sums),
        (false, _) if D::ADDS_BYTES => tile_sums::<S, D, LANES, false, 8, M>(simd, at, stride, sums),
        (false, _) => tile_sums::<S, D, LANES, false, 0, M>(simd, at, stride, sums),
        (true, 0..=31) => tile_sums::<S, D, LANES, true, 4, M>(simd, at, stride, sums),
        (true, 32..=63) => tile_sums::<S, D, LANES, true, 2, M>(simd, at, stride, sums),
        (true, _) => tile_sums::<S, D, LANES, true, 0, M>(simd, at, stride, sums),
    }
}

/// See [`tiles`]. Up to `LIMIT` pairs of products fit in 16 bits, even with the largest codes and activations, which matters only
/// where sums have 16 bits. With a limit of 0, each product is added up by itself, since codes have eight bits.
#[inline(always)]
fn tile_sums<
    S: Simd,
    D: Dot<S>,
    const LANES: usize,
    const HALF_SCALES: bool,
    const LIMIT: usize,
    const M: usize,
>(
    simd: S,
    at: Tile<'_, LANES>,
    stride: usize,
    sums: &mut [[f32; LANES]],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut rows: [&[Lanes<LANES>]; M] = [&[]; M];
            for (m, row) in rows.iter_mut().enumerate() {
                *row = &at.x.block(at.block + m, at.start)[..at.groups];
            }
            for output in 0..at.count {
                let tile = &at.tile[output / OUTPUTS * CHUNK..][..at.groups];
                let sums = &mut sums[output * stride..][..M];
                output_sums::<S, D, LANES, HALF_SCALES, LIMIT, M>(simd, tile, output % OUTPUTS, &rows, sums);
            }
        },
    );
}

#[inline(always)]
fn output_sums<
    S: Simd,
    D: Dot<S>,
    const LANES: usize,
    const HALF_SCALES: bool,
    const LIMIT: usize,
    const M: usize,
>(
    simd: S,
    tile: &[Group],
    output: usize,
    rows: &[&[Lanes<LANES>]; M],
    to: &mut [[f32; LANES]],
) {
    let mut sums = [D::Floats::simd_from(simd, 0.0); M];
    for m in 0..M {
        sums[m] = D::Floats::from_slice(simd, &to[m]);
    }
    for (i, group) in tile.iter().enumerate() {
        let codes = group.codes[output].as_chunks::<4>().0;
        let [first_scale, last_scale] = group.scales[output];
        let (first_offset, last_offset) = (group.offsets[output], group.offsets[OUTPUTS + output]);
        if HALF_SCALES {
            for (half, (scale, offset)) in
                [(first_scale, first_offset), (last_scale, last_offset)].into_iter().enumerate()
            {
                let mut dot = [D::Sums::simd_from(simd, 0); M];
                dots::<S, D, LANES, LIMIT, M, 4>(simd, codes, rows, i, 4 * half, &mut dot);
                for m in 0..M {
                    let x = &rows[m][i];
                    let scaled = dot[m].to_float::<D::Floats>() * scale;
                    sums[m] = scaled.mul_add(D::Floats::from_slice(simd, &x.scales), sums[m]);
                    sums[m] = D::Floats::from_slice(simd, &x.sums[half]).mul_add(offset, sums[m]);
                }
            }
        } else {
            let mut all = [D::Sums::simd_from(simd, 0); M];
            dots::<S, D, LANES, LIMIT, M, 8>(simd, codes, rows, i, 0, &mut all);
            for m in 0..M {
                let x = &rows[m][i];
                let scaled = all[m].to_float::<D::Floats>() * first_scale;
                sums[m] = scaled.mul_add(D::Floats::from_slice(simd, &x.scales), sums[m]);
                sums[m] = D::Floats::from_slice(simd, &x.sums[2]).mul_add(first_offset, sums[m]);
            }
        }
    }
    for m in 0..M {
        sums[m].store_slice(&mut to[m]);
    }
}

/// Adds the products of `N` times four columns, from the four of index `from` on, of group `i`, to `to`.
#[inline(always)]
fn dots<S: Simd, D: Dot<S>, const LANES: usize, const LIMIT: usize, const M: usize, const N: usize>(
    simd: S,
    codes: &[[u8; 4]],
    rows: &[&[Lanes<LANES>]; M],
    i: usize,
    from: usize,
    to: &mut [D::Sums; M],
) {
    if LIMIT == 0 || D::NARROW_SUMS && LIMIT <= 4 {
        // Codes rather than sums are held in registers, because the sums are soon complete.
        let step = if LIMIT == 0 { 1 } else { LIMIT };
        for from in (from..from + N).step_by(step) {
            let mut held = [D::Codes::simd_from(simd, 0); 4];
            for (held, codes) in held.iter_mut().zip(&codes[from..from + step]) {
                *held = D::four_codes(simd, *codes);
            }
            for m in 0..M {
                let mut sum = D::zero(simd);
                for (n, held) in held.iter().enumerate().take(step) {
                    let x = activations::<S, D, LANES>(simd, &rows[m][i], from + n);
                    if LIMIT == 0 {
                        to[m] += D::dot_bytes(simd, *held, x);
                    } else {
                        sum = D::add_products(simd, sum, *held, x);
                    }
                }
                if LIMIT > 0 {
                    to[m] += D::summed(simd, sum);
                }
            }
        }
    } else {
        let mut sums = [D::zero(simd); M];
        for n in from..from + N {
            let codes = D::four_codes(simd, codes[n]);
            for m in 0..M {
                let x = activations::<S, D, LANES>(simd, &rows[m][i], n);
                sums[m] = D::add_products(simd, sums[m], codes, x);
            }
        }
        for m in 0..M {
            to[m] += D::summed(simd, sums[m]);
        }
    }
}

/// The four columns from `4·four` on of all rows.
#[inline(always)]
fn activations<S: Simd, D: Dot<S>, const LANES: usize>(
    simd: S,
    lanes: &Lanes<LANES>,
    four: usize,
) -> D::Activations {
    D::Activations::from_slice(simd, lanes.codes[four].as_flattened())
}
