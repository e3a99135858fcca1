//! Unpacked weights that have a lane for each output, and what reads blocks into such lanes.
use std::cell::Cell;

use fearless_simd::{Bytes, Simd, SimdBase, SimdFrom};

use super::signs::signed;
use super::{Dot, at};
use crate::level::{BLOCKS, LINE};

/// 32 columns of `LANES` outputs, as many as a vector of floats has lanes.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Unpacked<const LANES: usize> {
    /// Four columns of all outputs, then the next four columns of these outputs, and so on.
    pub(crate) codes: [[[u8; 4]; LANES]; 8],
    /// For each output, the scale of the first 16 columns, then of the last 16. Where they do not differ, only the first are set.
    pub(crate) scales: [[f32; LANES]; 2],
    /// The same for offsets.
    pub(crate) offsets: [[f32; LANES]; 2],
}

impl<const LANES: usize> Default for Unpacked<LANES> {
    fn default() -> Self {
        Self { codes: [[[0; 4]; LANES]; 8], scales: [[0.0; LANES]; 2], offsets: [[0.0; LANES]; 2] }
    }
}

impl<const LANES: usize> Unpacked<LANES> {
    /// Sets the scales and offsets of one half of the columns, or of all columns if they share them.
    #[inline(always)]
    pub(super) fn set<S: Simd, D: Dot<S>>(&mut self, half: usize, scales: D::Floats, offsets: D::Floats) {
        scales.store_slice(&mut self.scales[half]);
        offsets.store_slice(&mut self.offsets[half]);
    }

    /// The same for codes that are signed bytes, and have no offset. Where codes are multiplied as unsigned bytes, 128 is added to them, and
    /// the offset takes it back.
    #[inline(always)]
    pub(super) fn set_signed<S: Simd, D: Dot<S>>(&mut self, half: usize, scales: D::Floats) {
        self.set::<S, D>(half, scales, scales * if D::SIGNED_BYTES { 0.0 } else { -128.0 });
    }

    /// Sets the codes of the columns from `4·four` on.
    #[inline(always)]
    pub(super) fn set_codes<S: Simd, D: Dot<S>>(&mut self, four: usize, codes: D::Codes) {
        codes.store_slice(self.codes[four].as_flattened_mut());
    }

    /// The same with codes that are signed bytes.
    #[inline(always)]
    pub(super) fn set_signed_codes<S: Simd, D: Dot<S>>(&mut self, four: usize, codes: D::Codes) {
        self.set_codes::<S, D>(four, if D::SIGNED_BYTES { codes } else { codes ^ 0x80 });
    }

    /// Looks up all codes in a table of signed bytes. The lower halves of 16 bytes are the indices of the first 16 columns, the upper
    /// halves those of the last 16.
    #[inline(always)]
    pub(super) fn set_from_table<S: Simd, D: Dot<S>>(
        &mut self,
        simd: S,
        table: [i8; 16],
        bytes: [D::Codes; 4],
    ) {
        let table = D::sixteens(simd, [&table.map(i8::cast_unsigned); BLOCKS]);
        for (four, bytes) in bytes.into_iter().enumerate() {
            self.set_signed_codes::<S, D>(four, table.swizzle_dyn_within_blocks(bytes & 0xF));
            self.set_signed_codes::<S, D>(4 + four, table.swizzle_dyn_within_blocks(bytes >> 4));
        }
    }

    /// Looks up all codes in a table of eight signed bytes an index, and negates those whose bits of `signs` are set: each byte of a
    /// lane has the bits of eight columns.
    #[inline(always)]
    pub(super) fn set_eights<S: Simd, D: Dot<S>, const N: usize>(
        &mut self,
        simd: S,
        table: &[[i8; 8]; N],
        indices: [D::Sums; 4],
        signs: D::Codes,
    ) {
        for (eight, indices) in indices.into_iter().enumerate() {
            for (half, codes) in D::eights(simd, table, indices).into_iter().enumerate() {
                let four = 2 * eight + half;
                self.set_signed_codes::<S, D>(four, signed::<S, D>(simd, codes, signs, four));
            }
        }
    }

    /// The same for a table of four signed bytes an index.
    #[inline(always)]
    pub(super) fn set_fours<S: Simd, D: Dot<S>, const N: usize>(
        &mut self,
        simd: S,
        table: &[[i8; 4]; N],
        indices: [D::Sums; 8],
        signs: D::Codes,
    ) {
        for (four, indices) in indices.into_iter().enumerate() {
            let codes = D::fours(simd, table, indices);
            self.set_signed_codes::<S, D>(four, signed::<S, D>(simd, codes, signs, four));
        }
    }
}

/// Blocks of `LANES` outputs with the same columns, and the memory that is asked for while they are read. It may be anywhere: nothing
/// reads it.
pub(crate) struct Column<'a, const LANES: usize, const BYTES: usize> {
    blocks: [&'a [u8; BYTES]; LANES],
    ahead: Cell<*const u8>,
    all: bool,
}

impl<'a, const LANES: usize, const BYTES: usize> Column<'a, LANES, BYTES> {
    /// Memory is asked for from `ahead` on: all of it, or every second cache line.
    pub(crate) fn new(blocks: [&'a [u8; BYTES]; LANES], ahead: *const u8, all: bool) -> Self {
        Self { blocks, ahead: Cell::new(ahead), all }
    }

    /// Asks for as much memory as `bytes` bytes of each output.
    #[inline(always)]
    fn ask<S: Simd, D: Dot<S>>(&self, bytes: usize) {
        let ahead = self.ahead.get();
        for at in (0..bytes * LANES).step_by(2 * LINE) {
            D::prefetch_far(ahead.wrapping_add(at));
            if self.all {
                D::prefetch_far(ahead.wrapping_add(at + LINE));
            }
        }
        self.ahead.set(ahead.wrapping_add(bytes * LANES));
    }

    /// Reads 16 bytes of each block from `start` on: four bytes of each in its lane, then the next four, and so on. The vector `i` that is
    /// transposed has those of the blocks `i`, `4 + i`, and so on, which brings each block to its lane.
    #[inline(always)]
    pub(super) fn sixteens<S: Simd, D: Dot<S>>(&self, simd: S, start: usize) -> [D::Codes; 4] {
        self.ask::<S, D>(16);
        let mut parts = [D::Codes::simd_from(simd, 0); 4];
        for (i, part) in parts.iter_mut().enumerate() {
            let mut bytes = [&[0; 16]; BLOCKS];
            for (bytes, blocks) in bytes.iter_mut().zip(self.blocks.as_chunks::<4>().0) {
                *bytes = at::<16>(blocks[i].as_slice(), start);
            }
            *part = D::sixteens(simd, bytes);
        }
        D::transposed(simd, parts)
    }

    /// The same as numbers of 32 bits.
    #[inline(always)]
    pub(super) fn words<S: Simd, D: Dot<S>>(&self, simd: S, start: usize) -> [D::Sums; 4] {
        let [a, b, c, d] = self.sixteens::<S, D>(simd, start);
        [a.bitcast(), b.bitcast(), c.bitcast(), d.bitcast()]
    }

    /// The first byte of each block.
    #[inline(always)]
    pub(super) fn first_bytes(&self) -> [u8; LANES] {
        self.blocks.map(
            #[inline(always)]
            |block| at::<1>(block.as_slice(), 0)[0],
        )
    }
}
