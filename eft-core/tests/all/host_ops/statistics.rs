//! The frequencies of drawn tokens follow the distribution.
use eft_core::{Backend, Filter, Host};

use super::rows::{refs, tensor};

/// A hash of seed and index (splitmix64), random enough for these tests.
fn uniform(seed: u64, i: u64) -> f64 {
    let mut x = (seed << 32 ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) >> 11) as f64 / (1u64 << 53) as f64
}

/// The chi-square statistic as a normal deviate, by the approximation of Wilson and Hilferty.
fn deviate(counts: &[u32], probabilities: &[f64]) -> f64 {
    let total = f64::from(counts.iter().sum::<u32>());
    let cells = counts.iter().zip(probabilities).filter(|(_, p)| **p > 0.0);
    let terms: Vec<_> = cells.map(|(n, p)| (f64::from(*n) - total * p).powi(2) / (total * p)).collect();
    let freedom = (terms.len() - 1) as f64;
    let spread = 2.0 / (9.0 * freedom);
    ((terms.iter().sum::<f64>() / freedom).cbrt() - (1.0 - spread)) / spread.sqrt()
}

#[test]
fn draws_follow_the_distribution() {
    let probabilities: [f64; 8] = [0.3, 0.02, 0.0, 0.18, 0.1, 0.25, 0.05, 0.1];
    let row: Vec<_> = probabilities.iter().map(|p| p.ln() as f32).collect();
    let scores = tensor(&row);
    for seed in 0..5 {
        let mut counts = [0; 8];
        let uniforms: Vec<_> = (0..20_000).map(|i| uniform(seed, i)).collect();
        let rows = vec![refs(&scores, 1)[0]; uniforms.len()];
        for pick in Host.draw(&rows, &uniforms, row.len()).unwrap() {
            counts[pick.token as usize] += 1;
        }
        assert_eq!(counts[2], 0);
        // A normal deviate of 3.09 has p = 0.001.
        assert!(deviate(&counts, &probabilities) < 3.09, "seed {seed}: {counts:?}");
    }
}

#[test]
fn filtered_draws_follow_the_rest_of_the_distribution() {
    // The row spans several chunks. The filter keeps the 16 likeliest tokens.
    let mut row = vec![0.0f32; 10_000];
    (0..16).for_each(|i| row[i * 600] = 6.5);
    let scores = tensor(&row);
    let filter = Filter { top_k: Some(16), temperature: 0.5, ..Filter::default() };
    let kept = Host.filter(&refs(&scores, 1), &filter, row.len()).unwrap();
    let mut counts = [0; 16];
    let uniforms: Vec<_> = (0..16_000).map(|i| uniform(9, i)).collect();
    for pick in Host.draw(&vec![refs(&kept, 1)[0]; uniforms.len()], &uniforms, row.len()).unwrap() {
        assert_eq!(pick.token % 600, 0);
        counts[pick.token as usize / 600] += 1;
    }
    assert!(deviate(&counts, &[1.0 / 16.0; 16]) < 3.09, "{counts:?}");
}
