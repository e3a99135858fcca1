//! Weights that are quantised while they are loaded.
use std::path::Path;
use std::sync::Arc;

use eft_backend_candle::{Candle, CandleNn, WeightType};
use eft_core::decode::Generation;
use eft_core::{Decoding, Sampling, Source, Vocab};
use eft_models::{Adapter, Blocks, Checkpoint, DecoderEngine, Dtype, Nn, RawTensor};
use half::{bf16, f16};
use safetensors::{SafeTensors, tensor::TensorView};

const QUANTISED: [WeightType; 3] = [WeightType::Q8_0, WeightType::Q5_0, WeightType::Q4_0];

fn nn(weight_type: WeightType) -> CandleNn {
    CandleNn::new(Candle::cpu()).weight_type(weight_type)
}

/// As on a GPU.
fn tensors(weight_type: WeightType) -> CandleNn {
    CandleNn::new(Candle::cpu().generic(true)).weight_type(weight_type)
}

/// Numbers of many sizes that bf16 and f16 can represent.
fn numbers(count: usize) -> Vec<f32> {
    let size = |i: usize| [0.03, 0.5, 2.0][i / 32 % 3];
    (0..count).map(|i| bf16::from_f32(size(i) * ((i as f32 * 0.7).sin() + 0.01)).to_f32()).collect()
}

fn raw(shape: [usize; 2], dtype: Dtype, numbers: &[f32]) -> RawTensor<'static> {
    let bytes: Vec<u8> = match dtype {
        Dtype::F32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Dtype::F16 => numbers.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::BF16 => numbers.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::Quantised(_) => unreachable!("the tests quantise by loading"),
    };
    RawTensor { name: "weight", shape: shape.to_vec(), dtype, bytes: bytes.into() }
}

/// The weights that a layer multiplies with, row after row.
fn weights(nn: &CandleNn, raw: &RawTensor<'_>, transposed: bool) -> Vec<f32> {
    let outputs = raw.shape[usize::from(transposed)];
    let linear = nn.load_linear(raw, transposed, None).unwrap();
    let rows = nn.embed(&linear, &(0..outputs as u32).collect::<Vec<_>>()).unwrap();
    rows.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn weights_are_rounded_to_their_type() {
    // More entries than one thread quantises at once, and a last part with fewer rows.
    let shape = [301, 1024];
    let exact = numbers(shape[0] * shape[1]);
    for (kind, steps) in [(WeightType::Q8_0, 127.0), (WeightType::Q5_0, 16.0), (WeightType::Q4_0, 8.0)] {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            let raw = raw(shape, dtype, &exact);
            let stored = weights(&nn(WeightType::Stored), &raw, false);
            let rounded = weights(&nn(kind), &raw, false);
            assert_eq!(rounded.len(), exact.len());
            for (rounded, stored) in rounded.chunks(32).zip(stored.chunks(32)) {
                let largest = stored.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
                // Half a step, or a whole one at the end where a code is missing (there are as many codes below 0 as from 0 on); and
                // what rounding the factor to f16 adds, at most 2⁻¹¹ of the largest number.
                let step =
                    if kind == WeightType::Q8_0 { 0.5 } else { 1.0 } * largest / steps + largest / 2048.0;
                let off = rounded.iter().zip(stored).fold(0.0f32, |off, (a, b)| off.max((a - b).abs()));
                assert!(0.0 < off && off <= step, "{kind}, {dtype:?}: {off} is more than {step}");
            }
            assert_eq!(weights(&tensors(kind), &raw, false), rounded, "{kind}, {dtype:?}");
        }
    }
}

#[test]
fn transposed_weights_are_quantised_along_their_inputs() {
    let (outputs, inputs) = (192, 96);
    let exact = numbers(outputs * inputs);
    let transposed: Vec<_> =
        (0..inputs * outputs).map(|i| exact[i % outputs * inputs + i / outputs]).collect();
    for kind in QUANTISED {
        let plain = weights(&nn(kind), &raw([outputs, inputs], Dtype::F32, &exact), false);
        let raw = raw([inputs, outputs], Dtype::F32, &transposed);
        assert_eq!(weights(&nn(kind), &raw, true), plain, "{kind}");
    }
}

#[test]
fn paired_weights_are_quantised() {
    let (shape, head) = ([192, 96], 64);
    let raw = raw(shape, Dtype::F32, &numbers(shape[0] * shape[1]));
    for kind in QUANTISED {
        let [paired, unpaired] = [
            nn(kind).load_paired(&raw, head, None).unwrap(),
            nn(kind).load_linear(&raw.unpaired(head), false, None).unwrap(),
        ]
        .map(|linear| {
            let rows = nn(kind).embed(&linear, &(0..192).collect::<Vec<_>>()).unwrap();
            rows.to_vec2::<f32>().unwrap()
        });
        assert_eq!(paired, unpaired, "{kind}");
        assert_ne!(paired.concat(), weights(&nn(WeightType::Stored), &raw.unpaired(head), false));
    }
}

#[test]
fn small_matrices_and_rows_of_no_whole_blocks_stay_as_they_are() {
    for shape in [[128, 64], [300, 48]] {
        let exact = numbers(shape[0] * shape[1]);
        let raw = raw(shape, Dtype::F32, &exact);
        for kind in QUANTISED {
            assert_eq!(weights(&nn(kind), &raw, false), exact, "{shape:?} in {kind}");
        }
    }
}

#[test]
fn weights_become_smaller_and_never_larger() {
    let shape = [192, 256];
    let exact = raw(shape, Dtype::F32, &numbers(shape[0] * shape[1]));
    let block = |codes: Vec<u8>| [&f16::from_f32(0.25).to_le_bytes()[..], &codes].concat();
    let blocks = shape[0] * shape[1] / 32;
    let of_bytes = |kind, bytes: Vec<u8>| RawTensor {
        dtype: Dtype::Quantised(kind),
        bytes: bytes.into(),
        ..exact.clone()
    };
    let small = of_bytes(Blocks::Q4_0, block((0..16).map(|i| 17 * i).collect()).repeat(blocks));
    let large = of_bytes(Blocks::Q8_0, block((0..32).map(|i| 7 * i).collect()).repeat(blocks));
    let stored = |raw: &RawTensor<'_>| weights(&nn(WeightType::Stored), raw, false);
    for kind in QUANTISED {
        assert_eq!(weights(&nn(kind), &small, false), stored(&small), "{kind}");
        let same = weights(&nn(kind), &large, false) == stored(&large);
        assert_eq!(same, kind == WeightType::Q8_0, "{kind}");
    }
}

#[test]
fn damaged_weights_are_errors() {
    let raw = raw([192, 64], Dtype::F32, &numbers(192 * 64));
    let short = RawTensor { bytes: raw.bytes.slice(..100), ..raw.clone() };
    for kind in WeightType::ALL {
        for transposed in [false, true] {
            assert!(nn(kind).load_linear(&short, transposed, None).is_err(), "{kind}, {transposed}");
        }
    }
    let mut broken = numbers(192 * 64);
    broken[7000] = f32::NAN;
    let raw = self::raw([192, 64], Dtype::BF16, &broken);
    for kind in QUANTISED {
        let error = eft_core::error::with_sources(&nn(kind).load_linear(&raw, false, None).unwrap_err());
        assert!(error.contains("`weight`") && error.contains("not a finite number"), "{kind}: {error}");
    }
}

#[test]
fn products_are_those_of_the_rounded_weights() {
    let (shape, tokens) = ([301, 128], 5);
    let raw = raw(shape, Dtype::BF16, &numbers(shape[0] * shape[1]));
    let x = numbers(tokens * shape[1]);
    for kind in QUANTISED {
        let rounded = weights(&nn(kind), &raw, false);
        for nn in [nn(kind), tensors(kind)] {
            let linear = nn.load_linear(&raw, false, None).unwrap();
            let out = nn.linear(&nn.constant(&x, shape[1]).unwrap(), &linear).unwrap();
            for (x, out) in x.chunks(shape[1]).zip(out.to_vec2::<f32>().unwrap()) {
                for (weights, out) in rounded.chunks(shape[1]).zip(out) {
                    let exact: f32 = x.iter().zip(weights).map(|(x, w)| x * w).sum();
                    let size: f32 = x.iter().zip(weights).map(|(x, w)| (x * w).abs()).sum();
                    // Activations are rounded to 8 bits.
                    assert!((out - exact).abs() < 0.01 * size, "{kind}: {out}, {exact}");
                }
            }
        }
    }
}

/// Writes tensors in f32.
fn write(file: &Path, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    let bytes = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    let data: Vec<_> = tensors.iter().map(|(_, _, numbers)| bytes(numbers)).collect();
    let views = tensors.iter().zip(&data).map(|((name, shape, _), data)| {
        (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap())
    });
    safetensors::serialize_to_file(views, None, file).unwrap();
}

/// Rounded to 4 bits beside 1000, the other columns of this adapter's matrix would be 0, and the column of 1000 is not used.
#[test]
fn adapters_are_not_quantised() {
    let (folder, rank) = (tempfile::tempdir().unwrap(), 32);
    let config = r#"{"peft_type": "LORA", "r": 32, "lora_alpha": 32, "target_modules": ["gate_proj"]}"#;
    std::fs::write(folder.path().join("adapter_config.json"), config).unwrap();
    let down: Vec<_> =
        numbers(rank * 64).into_iter().enumerate().map(|(i, x)| if i < 64 { 0.0 } else { x }).collect();
    let up: Vec<_> = (0..192 * rank).map(|i| if i % rank == 0 { 1000.0 } else { (i as f32).cos() }).collect();
    let name = |layer: usize, which: &str| {
        format!("base_model.model.model.layers.{layer}.mlp.gate_proj.lora_{which}.weight")
    };
    let of_layer = |layer| {
        [(name(layer, "A"), vec![rank, 64], down.clone()), (name(layer, "B"), vec![192, rank], up.clone())]
    };
    write(&folder.path().join("adapter_model.safetensors"), &[of_layer(0), of_layer(1)].concat());
    let base = Checkpoint::open(format!("{}/../zoo/base-small", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for kind in WeightType::ALL {
        let adapter = Adapter::open(folder.path()).unwrap().named("adapter");
        let base = Source::new(DecoderEngine::with_adapters(nn(kind), &base, &[adapter], None).unwrap());
        let [with, without] = [&base.adapter("adapter").unwrap(), &base]
            .map(|model| model.score([300], &[17, 512, 9]).unwrap().tokens);
        let off = with.iter().zip(&without).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off > 0.1, "{kind}: {with:?}, without the adapter {without:?}");
    }
}

#[test]
fn learned_positions_are_not_quantised() {
    let golden = format!("{}/../eft-models/goldens/gpt2", env!("CARGO_MANIFEST_DIR"));
    let config = std::fs::read_to_string(format!("{golden}/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    // More positions than the outputs of a matrix that is not quantised in any case. All other matrices of the model have no more.
    config["n_positions"] = 192.into();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let bytes = std::fs::read(format!("{golden}/model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| {
            let mut numbers: Vec<_> =
                tensor.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let mut shape = tensor.shape().to_vec();
            if name.ends_with("wpe.weight") {
                shape[0] = 192;
                numbers.resize(192 * shape[1], 0.5);
            }
            (name.to_owned(), shape, numbers)
        })
        .collect();
    write(&folder.path().join("model.safetensors"), &tensors);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let scores = WeightType::ALL.map(|kind| {
        let model = Source::new(DecoderEngine::load(nn(kind), &checkpoint, None).unwrap());
        model.score([1, 5, 9], &[33, 7, 12]).unwrap()
    });
    scores.iter().for_each(|score| assert_eq!(score, &scores[0]));
}

#[test]
fn a_quantised_copy_drafts_the_same_texts() {
    let vocab = Arc::new(Vocab::anonymous("of the zoo", 1000).unwrap());
    let model = |name: &str, nn: CandleNn| {
        let checkpoint = Checkpoint::open(format!("{}/../zoo/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        Source::new(DecoderEngine::load(nn, &checkpoint, Some(vocab.clone())).unwrap())
    };
    let stored = || nn(WeightType::Stored);
    let (large, tuned, small) =
        (model("base-large", stored()), model("tuned-small", stored()), model("base-small", stored()));
    let upscaled = &large + (&tuned - &small);
    let decoding = Decoding::from(Sampling::greedy()).max_tokens(40);
    let prompt = [300, 17, 512];
    let text = |tokens: &mut Generation<Candle>| tokens.map(|t| t.unwrap().id).collect::<Vec<_>>();
    let plain = text(&mut upscaled.generate(prompt, &decoding).unwrap());
    for kind in QUANTISED {
        let draft = model("tuned-small", nn(kind));
        let [copied, own] = [&draft, &tuned].map(|m| m.score(prompt, &plain).unwrap().tokens);
        assert_ne!(copied, own, "{kind} rounds");
        let off = copied.iter().zip(&own).map(|(a, b)| (a - b).abs()).sum::<f32>() / own.len() as f32;
        assert!(off < if kind == WeightType::Q8_0 { 0.05 } else { 1.0 }, "{kind}: {off} nats a token");
        let mut drafted = upscaled.speculate().draft(&draft).block(4).generate(prompt, &decoding).unwrap();
        assert_eq!(text(&mut drafted), plain, "{kind}");
        let report = drafted.report().unwrap();
        assert!(report.acceptance().unwrap() > 0.3, "{kind}: {report:?}");
    }
}

#[test]
fn types_have_names() {
    for kind in WeightType::ALL {
        assert_eq!(kind.name().parse::<WeightType>().unwrap(), kind);
    }
    let error = "q4_k".parse::<WeightType>().unwrap_err().to_string();
    assert!(error.contains("`q4_k`") && error.contains("stored, q8_0, q5_0 or q4_0"), "{error}");
}
