use eft_backend_candle::Candle;
use eft_core::*;
use std::time::Instant;
const W: usize = 151_936;
fn noise(seed: u32) -> Vec<f32> {
    let h = |i: u32| (i.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)).wrapping_mul(2_246_822_519);
    let u = |i: u32| ((h(i) >> 8) as f32 + 0.5) / (1 << 24) as f32;
    (0..W as u32)
        .map(|i| {
            2.5 * (-2.0 * u(2 * i).ln()).sqrt() * (6.28 * u(2 * i + 1)).cos()
                + if i % 9973 == seed { 9.0 } else { 0.0 }
        })
        .collect()
}
fn best(mut f: impl FnMut()) -> String {
    for _ in 0..5 {
        f();
    }
    let mut t: Vec<f64> = (0..60)
        .map(|_| {
            let s = Instant::now();
            f();
            s.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    t.sort_by(f64::total_cmp);
    format!("min {:.3} med {:.3}", t[0], t[30])
}
fn run<B: Backend>(name: &str, b: B) {
    let rows: Vec<_> = (0..3).map(|s| b.upload(&noise(s), W).unwrap()).collect();
    let term = |k: usize, weight| Term { weight, rows: vec![Row::new(&rows[k], 0)] };
    let sum = || b.linear(&[term(0, 1.0), term(1, 1.0), term(2, -1.0)], W).unwrap();
    let s = sum();
    println!("{name} linear {}", best(|| drop(sum())));
    println!("{name} argmax {}", best(|| drop(b.argmax(&[Row::new(&s, 0)], W).unwrap())));
    println!(
        "{name} linear+argmax {}",
        best(|| {
            let s = sum();
            b.argmax(&[Row::new(&s, 0)], W).unwrap();
        })
    );
    let f = Filter { top_p: Some(0.9), ..Filter::default() };
    println!("{name} filter {}", best(|| drop(b.filter(&[Row::new(&s, 0)], &f, W).unwrap())));
    let fk = Filter { top_k: Some(50), ..f };
    println!(
        "{name} filter top_k 50 top_p .9 {}",
        best(|| drop(b.filter(&[Row::new(&s, 0)], &fk, W).unwrap()))
    );
    println!("{name} draw {}", best(|| drop(b.draw(&[Row::new(&s, 0)], &[0.3], W).unwrap())));
    println!("{name} top 5 {}", best(|| drop(b.top(&[Row::new(&s, 0)], 5, W).unwrap())));
    println!("{name} top 100 {}", best(|| drop(b.top(&[Row::new(&s, 0)], 100, W).unwrap())));
    println!("{name} download (one copy) {}", best(|| drop(b.download(&[Row::new(&s, 0)], W).unwrap())));
    println!(
        "{name} linear+filter+draw {}",
        best(|| {
            let s = sum();
            let t = b.filter(&[Row::new(&s, 0)], &f, W).unwrap();
            b.draw(&[Row::new(&t, 0)], &[0.3], W).unwrap();
        })
    );
}
#[test]
#[ignore]
fn timing() {
    run("host", Host);
    run("fast", Candle::cpu());
    run("generic", Candle::cpu().generic(true));
}
