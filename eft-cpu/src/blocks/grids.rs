//! The tables of numbers that indices stand for, as llama.cpp defines them. Files beside this one hold them packed: two
//! bits for each number, of which the first is in the lowest bits, or four.

/// Unpacks a table. `values` are the numbers that each few bits stand for.
const fn table<const N: usize, const W: usize, const V: usize>(
    packed: &[u8],
    values: [i8; V],
) -> [[i8; W]; N] {
    let bits = if V <= 4 { 2 } else { 4 };
    assert!(packed.len() * 8 == N * W * bits);
    let mut out = [[0; W]; N];
    let mut at = 0;
    while at < N * W {
        let code = packed[at * bits / 8] >> (at * bits % 8) & ((1 << bits) - 1);
        out[at / W][at % W] = values[code as usize];
        at += 1;
    }
    out
}

const LEVELS: [i8; 3] = [8, 25, 43];

/// The numbers plus 1.
pub(super) static IQ1: [[i8; 8]; 2048] = table(include_bytes!("grids/iq1.grid"), [0, 1, 2]);
pub(super) static IQ2_XXS: [[i8; 8]; 256] = table(include_bytes!("grids/iq2_xxs.grid"), LEVELS);
pub(super) static IQ2_XS: [[i8; 8]; 512] = table(include_bytes!("grids/iq2_xs.grid"), LEVELS);
pub(super) static IQ2_S: [[i8; 8]; 1024] = table(include_bytes!("grids/iq2_s.grid"), LEVELS);
pub(super) static IQ3_XXS: [[i8; 4]; 256] =
    table(include_bytes!("grids/iq3_xxs.grid"), [4, 12, 20, 28, 36, 44, 52, 62]);
pub(super) static IQ3_S: [[i8; 4]; 512] =
    table(include_bytes!("grids/iq3_s.grid"), [1, 3, 5, 7, 9, 11, 13, 15]);
