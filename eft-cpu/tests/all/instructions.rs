//! The choice of vector instructions.
use eft_cpu::ops::{Heads, NewTokens, RowCache, attend};
use eft_cpu::{Instructions, Matrix, products};
use eft_models::spec::Reach;
use eft_models::{Blocks, Dtype, RawTensor};
use rayon::ThreadPoolBuilder;

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect()
}

/// Results that depend on the instructions by their rounding: of products with plain and with quantised weights, and of
/// attention. All are large enough to be split over the threads of a pool.
fn results(plain: &Matrix, quantised: &Matrix) -> [Vec<f32>; 3] {
    let x = numbers(160 * 512);
    let spec = Heads {
        heads: 8,
        kv_heads: 8,
        head_dim: 64,
        scale: 0.3,
        softcap: None,
        reach: Reach::default(),
        sinks: None,
    };
    let mut attention = vec![0.0; x.len()];
    let (query, key, value, cache) = (&x[..], &x[..], &x[..], &mut RowCache::default());
    attend(vec![NewTokens { query, key, value, past: 0, cache, out: &mut attention }], &spec);
    let [mut plain, mut quantised] = [products(&x, &[plain]), products(&x, &[quantised])];
    [plain.remove(0), quantised.remove(0), attention]
}

#[test]
fn parts_of_the_work_on_other_threads_use_the_chosen_instructions() {
    let (outputs, columns) = (40, 512);
    let matrix = |dtype, bytes: Vec<u8>| {
        let raw = RawTensor { name: "w", shape: vec![outputs, columns], dtype, bytes: bytes.into() };
        Matrix::new(&raw).unwrap()
    };
    let bytes = numbers(outputs * columns).iter().flat_map(|x| x.to_le_bytes()).collect();
    let plain = matrix(Dtype::F32, bytes);
    let kind = Blocks::Q8_0;
    let mut blocks: Vec<u8> = (0..outputs * columns / 32 * kind.bytes()).map(|i| (i * 7) as u8).collect();
    for block in blocks.chunks_mut(kind.bytes()) {
        block[..2].copy_from_slice(&half::f16::from_f32(0.01).to_le_bytes());
    }
    let quantised = matrix(Dtype::Quantised(kind), blocks);

    let threads = |count| ThreadPoolBuilder::new().num_threads(count).build().unwrap();
    let (one, several) = (threads(1), threads(3));
    let chosen = |instructions: Instructions| instructions.run(|| results(&plain, &quantised));
    let all = Instructions::available();
    let widest = one.install(|| results(&plain, &quantised));
    for (i, instructions) in all.iter().enumerate() {
        let expected = one.install(|| chosen(*instructions));
        assert!(several.install(|| chosen(*instructions)) == expected, "{instructions:?}");
        assert_eq!(expected == widest, i == 0, "{instructions:?} round as the widest do");
    }
}

#[test]
fn a_choice_ends_with_its_function() {
    let all = Instructions::available();
    let (Some(widest), Some(narrowest)) = (all.first(), all.last()) else { return };
    let x = numbers(1000);
    let norm = || eft_cpu::ops::rms_norm(&x, &vec![0.7; x.len()], 1e-5);
    let [by_default, wide, narrow] = [norm(), widest.run(norm), narrowest.run(norm)];
    assert_eq!(by_default, wide);
    let nested = narrowest.run(|| (widest.run(norm), norm()));
    assert_eq!(nested, (wide, narrow));
    let panicked = std::panic::catch_unwind(|| narrowest.run(|| std::panic::panic_any("planned")));
    assert!(panicked.is_err());
    assert_eq!(norm(), by_default);
}
