//! Gates against their definition.
use eft_cpu::Instructions;
use eft_cpu::ops::gated;
use eft_models::spec::Activation;

#[test]
fn clamped_gates_are_those_of_the_definition() {
    let (alpha, limit) = (1.7f32, 1.0f32);
    let numbers: Vec<f32> = (-40..40).map(|i| i as f32 / 10.0).collect();
    let (gates, ups): (Vec<f32>, Vec<f32>) =
        numbers.iter().flat_map(|gate| numbers.iter().map(move |up| (*gate, *up))).unzip();
    let activation = Activation::ClampedSwish { alpha, limit };
    for instructions in Instructions::available() {
        let got = instructions.run(|| gated(&gates, &ups, activation)).unwrap();
        for ((gate, up), got) in gates.iter().zip(&ups).zip(got) {
            let gate = f64::from(gate.min(limit));
            let factor = f64::from(up.clamp(-limit, limit)) + 1.0;
            let expected = gate / (1.0 + (-f64::from(alpha) * gate).exp()) * factor;
            let wrong = (f64::from(got) - expected).abs();
            assert!(wrong < 1e-6, "{instructions:?}, {gate} {up}: {got}, not {expected}");
        }
        for (gate, up) in [(f32::NAN, 0.0), (0.5, f32::NAN)] {
            let got = instructions.run(|| gated(&[gate], &[up], activation)).unwrap();
            assert!(got[0].is_nan(), "{instructions:?}: a NaN was lost");
        }
    }
}
